"""What all commands share: errors in one line, Ctrl-C, progress."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import typer

from napari_hrsr.errors import CancelledError, HrsrError

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
    stops it at once. Either way nothing is left of the result.
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

    Raises
    ------
    HrsrError
        If no file is named, or it cannot be read.
    """
    from pathlib import Path

    from napari_hrsr.errors import InputError
    from napari_hrsr.models.foreign.trust import ask_trust, trust

    if model is None:
        msg = "--trust is for one file: name it with --model"
        raise InputError(msg)
    asked = ask_trust(Path(model))
    typer.echo(f"{asked.file}, sha256 {asked.sha256}: {asked.risk}", err=True)
    trust(asked.sha256)
