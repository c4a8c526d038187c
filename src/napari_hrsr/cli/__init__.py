"""The command line: ``napari-hrsr upscale``, ``isotropic``, ``fuse``, ``train`` and more.

torch and everything that needs it are imported inside the commands, so that
``--help`` and ``models`` answer at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from napari_hrsr.cli.demo import demo
from napari_hrsr.cli.distill import distill
from napari_hrsr.cli.evaluate import evaluate
from napari_hrsr.cli.export import export
from napari_hrsr.cli.fuse import fuse
from napari_hrsr.cli.isotropic import isotropic
from napari_hrsr.cli.models import models
from napari_hrsr.cli.train import train
from napari_hrsr.cli.upscale import upscale

app = typer.Typer(
    name="napari-hrsr",
    help="Learned super-resolution of 2D and 3D images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from napari_hrsr import __version__

        typer.echo(f"napari-hrsr {__version__}")
        raise typer.Exit


for _command in (upscale, isotropic, fuse, evaluate, train, distill, export, demo):
    app.command()(_command)
app.add_typer(models, name="models")


def main() -> None:
    """Run the command line: the console script ``napari-hrsr``."""
    app(prog_name="napari-hrsr")
