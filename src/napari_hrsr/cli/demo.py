"""``napari-hrsr demo``: see it work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained, progress

_DEMO_FOLDER = Path("demo-output")


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
    with explained() as cancelled:
        from napari_hrsr.headless_demo import run_demo

        with progress(quiet=quiet) as report:
            shown = run_demo(headless or _DEMO_FOLDER, report=report, cancelled=cancelled)
        typer.echo(f"result:     {shown.result}")
        typer.echo(f"comparison: {shown.comparison}")
        typer.echo(
            f"made with {shown.record['model']} on {shown.record['device']} "
            f"in {shown.seconds:.1f} s"
        )


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
