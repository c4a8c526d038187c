"""What all commands share: errors in one line, Ctrl-C, progress."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from napari_hrsr.errors import CancelledError, HrsrError, PausedError

if TYPE_CHECKING:
    from napari_hrsr.models.foreign.trust import TrustRequest

_CANCELLED = 130


@contextlib.contextmanager
def explained(cancelled: str = "cancelled, nothing was written") -> Iterator[Callable[[], bool]]:
    """Turn expected failures into one line and an exit code; yield whether to stop.

    Parameters
    ----------
    cancelled : str
        What to say of a run that was cancelled.

    Notes
    -----
    Ctrl-C asks the run to stop, which it does between two tiles; a second one
    stops it at once. What is left of the result is nothing, or a run that
    says that it can be resumed.
    """
    stop = threading.Event()

    def ask(signum: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.is_set
    except PausedError as error:
        typer.echo(f"napari-hrsr: {error}", err=True)
        raise typer.Exit(_CANCELLED) from None
    except (CancelledError, KeyboardInterrupt):
        typer.echo(f"napari-hrsr: {cancelled}", err=True)
        raise typer.Exit(_CANCELLED) from None
    except HrsrError as error:
        typer.echo(f"napari-hrsr: error: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with the time that remains on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report


def trust_model(model: str | None) -> None:
    """Trust a model's file for this run, and say what that means.

    Parameters
    ----------
    model : str or None
        A file, or a name from ``napari-hrsr models``.

    Raises
    ------
    HrsrError
        If no file is named, or it cannot be read.
    """
    from pathlib import Path

    from napari_hrsr.errors import InputError
    from napari_hrsr.models.catalog import find_spec
    from napari_hrsr.models.foreign.asking import ask_trust
    from napari_hrsr.models.foreign.trust import trust

    if model is None:
        msg = "--trust is for one file: name it with --model"
        raise InputError(msg)
    path = Path(model)
    if not path.exists() and not path.suffix:
        weights = find_spec(model).weights
        path = path if weights is None else Path(weights.file)
    asked = ask_trust(path)
    if asked is None:
        typer.echo(f"{model} needs no code of its author's: --trust changes nothing", err=True)
        return
    tell_risk(asked)
    trust(asked.sha256)


def tell_risk(asked: TrustRequest) -> bool:
    """Say what it means to trust a file; return True, which is that it is."""
    typer.echo(f"{asked.file}: {asked.risk}", err=True)
    for name, sha256 in asked.digests:
        typer.echo(f"sha256 {sha256}  {name}", err=True)
    return True
