"""The command line: ``napari-hrsr upscale | models | demo``.

torch and everything that needs it are imported inside the commands, so that
``--help`` and ``models`` answer at once.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_hrsr.errors import CancelledError, HrsrError

_DEMO_FOLDER = Path("demo-output")
_CANCELLED = 130

app = typer.Typer(
    name="napari-hrsr",
    help="Learned super-resolution of 2D and 3D images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Per(enum.StrEnum):
    """What shares one measurement of range and noise."""

    channel = "channel"
    image = "image"
    frame = "frame"


def _tile(text: str) -> tuple[int, ...] | int:
    try:
        sides = tuple(int(side) for side in text.split(","))
    except ValueError:
        sides = (0,)
    if len(sides) > 3 or min(sides) < 1:
        msg = f"{text!r} is not one positive whole number, or one per axis such as 32,128,128"
        raise typer.BadParameter(msg)
    return sides[0] if len(sides) == 1 else sides


def _noise(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not 0 <= level < float("inf"):
        msg = f"{text!r} is neither 'auto' nor a number from 0 up"
        raise typer.BadParameter(msg)
    return level


def _dtype(text: str) -> str:
    import numpy as np

    try:
        dtype = np.dtype(text)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "iuf":
        msg = f"{text!r} is no type of pixels such as uint8, uint16 or float32"
        raise typer.BadParameter(msg)
    return dtype.name


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from napari_hrsr import __version__

        typer.echo(f"napari-hrsr {__version__}")
        raise typer.Exit


@app.command()
def upscale(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="TIFF, OME-Zarr, NIfTI, PNG or JPEG.")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The suffix says the format: .ome.tif, .ome.zarr, .nii.gz, .png."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Name from 'napari-hrsr models', or a file.")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, for example TCZYX, where the file does not say."),
    ] = None,
    tile: Annotated[
        Any,
        typer.Option(
            parser=_tile, metavar="N|N,N,N", help="Longest tile in source pixels. Default: auto."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. Default: auto.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, float32, bfloat16 or float16. Default: auto."),
    ] = None,
    noise: Annotated[
        Any,
        typer.Option(
            parser=_noise,
            metavar="auto|FLOAT",
            help="Standard deviation of the noise in the image's units. Default: auto.",
        ),
    ] = None,
    intensity: Annotated[
        Per | None,
        typer.Option(help="What shares one measurement of range and noise. Default: channel."),
    ] = None,
    dtype: Annotated[
        Any,
        typer.Option(
            parser=_dtype, metavar="TYPE", help="Type of the result. Default: the image's."
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Repeat what made this result (or a JSON file of its record)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Super-resolve an image from a file into a file, at any size."""
    with _explained() as cancelled:
        from napari_hrsr.replay import read_recipe
        from napari_hrsr.upscale_file import Settings, upscale_file

        settings = Settings(
            model=model,
            axes=axes,
            tile=tile,
            device=device,
            precision=precision,
            noise=noise,
            intensity=intensity.value if intensity else None,
            dtype=dtype,
            recipe=read_recipe(recipe) if recipe else None,
            overwrite=overwrite,
        )
        with _progress(quiet=quiet) as report:
            upscale_file(source, target, settings, report=report, cancelled=cancelled)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print every fact as JSON.")] = False,
) -> None:
    """List the installed models."""
    with _explained():
        from napari_hrsr.models.catalog import list_models
        from napari_hrsr.models.spec import spec_to_dict

        specs = list_models()
        if as_json:
            typer.echo(json.dumps([spec_to_dict(spec) for spec in specs], indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "axes", "factor", "gain over cubic", "trained on")
        table.columns[0].no_wrap = True
        for spec in specs:
            gains = ", ".join(f"{kind} {gain:+.1f} dB" for kind, gain in spec.gains.items())
            factor = " x ".join(map(str, spec.scale))
            table.add_row(spec.name, f"{spec.ndim}D", factor, gains, spec.trained_on)
        Console().print(table)


@app.command()
def demo(
    headless: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write pictures to this folder; open no window."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Show what super-resolution does to an image that ships with the package.

    With a display napari opens. Without one, pictures are written to
    'demo-output' in this folder.
    """
    if headless is None and _has_display():
        raise typer.Exit(subprocess.call([sys.executable, "-m", "napari_hrsr._napari.demo"]))
    with _explained() as cancelled:
        from napari_hrsr.headless_demo import run_demo

        with _progress(quiet=quiet) as report:
            shown = run_demo(headless or _DEMO_FOLDER, report=report, cancelled=cancelled)
        typer.echo(f"result:     {shown.result}")
        typer.echo(f"comparison: {shown.comparison}")
        typer.echo(
            f"made with {shown.record['model']} on {shown.record['device']} "
            f"in {shown.seconds:.1f} s"
        )


def main() -> None:
    """Run the command line: the console script ``napari-hrsr``."""
    app(prog_name="napari-hrsr")


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def _explained() -> Iterator[Callable[[], bool]]:
    """Turn expected failures into one line and an exit code; yield whether to stop.

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
        typer.echo("napari-hrsr: cancelled, nothing was written", err=True)
        raise typer.Exit(_CANCELLED) from None
    except HrsrError as error:
        typer.echo(f"napari-hrsr: error: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
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


if __name__ == "__main__":
    main()
