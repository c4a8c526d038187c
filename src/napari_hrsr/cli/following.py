"""What commands that train share: the events of a run on a terminal, or for another program."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from napari_hrsr.cli.shared import progress

if TYPE_CHECKING:
    from napari_hrsr.training.events import Event


@contextlib.contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Print what matters; a bar with the time that remains if this is a terminal.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        Takes each event.
    """
    from napari_hrsr.training.events import Finished, Measured, Preparing, Progress, Started

    with progress(quiet=quiet) as bar:

        def report(event: Event) -> None:
            if isinstance(event, Progress):
                bar("training", event.step, event.steps)
            if quiet:
                return
            match event:
                case Preparing(text):
                    typer.echo(f"{text} ...", err=True)
                case Started():
                    for name, reason in event.left_out:
                        typer.echo(f"left out: {name}: {reason}", err=True)
                    typer.echo(
                        f"{event.images} images to learn from, {event.validation_images} to "
                        f"measure on; {event.parameters} parameters; {event.steps - event.step} "
                        f"steps on {event.device}; writing {event.folder}"
                    )
                case Measured():
                    typer.echo(measured_line(event.step, event.values))
                    if event.warning:
                        typer.echo(f"warning: {event.warning}", err=True)
                case Finished() if event.model:
                    typer.echo(f"model: {event.model}")

        yield report


def measured_line(step: int, values: dict[str, float]) -> str:
    """Return a measurement as one line of the log.

    Parameters
    ----------
    step : int
        Steps done.
    values : dict
        See `Measured`.
    """
    return (
        f"step {step}: loss {values['loss']:.5f}, PSNR {values['psnr']:.2f} dB, "
        f"cubic {values['cubic_psnr']:.2f} dB, gain {values['gain']:+.2f} dB"
    )


@contextlib.contextmanager
def json_lines() -> Iterator[Callable[[Event], None]]:
    """Write events as JSON lines, errors among them, for a program that started this one.

    Yields
    ------
    callable
        Takes each event.
    """
    from napari_hrsr.errors import CancelledError, HrsrError
    from napari_hrsr.training.events import Failed, event_to_json

    def report(event: Event) -> None:
        sys.stdout.write(event_to_json(event) + "\n")
        sys.stdout.flush()

    try:
        yield report
    except CancelledError:
        raise
    except HrsrError as error:
        report(Failed(str(error)))
        raise


def or_closed_input(asked: Callable[[], bool]) -> Callable[[], bool]:
    """Stop, too, when standard input is closed: the program that started this one is gone.

    Parameters
    ----------
    asked : callable
        Whether to stop for another reason.
    """
    closed, descriptor = threading.Event(), sys.stdin.fileno()

    def watch() -> None:
        # Not by sys.stdin: at its end Python waits in vain for the lock of a thread that reads.
        while os.read(descriptor, 1024):
            pass
        closed.set()

    threading.Thread(target=watch, daemon=True).start()
    return lambda: asked() or closed.is_set()
