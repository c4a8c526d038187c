"""``napari-hrsr models``: what is installed, and what others published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained, tell_risk, trust_model

models = typer.Typer(help="List, show, add, convert and remove models.", no_args_is_help=False)


@models.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print every fact as JSON.")] = False,
) -> None:
    """List the installed models; see the commands for adding and removing some."""
    if context.invoked_subcommand is not None:
        return
    with explained():
        from napari_hrsr.models.catalog import list_models
        from napari_hrsr.models.describing import gain_baseline
        from napari_hrsr.models.spec import spec_to_dict

        specs = list_models()
        if as_json:
            typer.echo(json.dumps([spec_to_dict(spec) for spec in specs], indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "task", "axes", "factor", "gain", "trained on")
        table.columns[0].no_wrap = True
        for spec in specs:
            gains = ", ".join(f"{kind} {gain:+.1f} dB" for kind, gain in spec.gains.items())
            gains += f" over {gain_baseline(spec)}" if gains else ""
            factor = " x ".join(map(str, spec.scale))
            table.add_row(spec.name, spec.task, f"{spec.ndim}D", factor, gains, spec.trained_on)
        Console().print(table)


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="Name from 'napari-hrsr models', or a file.")],
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Run the code in the file, now, in a process of its own."),
    ] = False,
) -> None:
    """Show what is known of a model; a file is checked and measured for it."""
    with explained():
        if trust:
            trust_model(name)
        from napari_hrsr.models.describing import describe_model
        from napari_hrsr.models.foreign.loading import SUFFIXES
        from napari_hrsr.models.foreign.opening import PROGRAM_SUFFIXES

        if Path(name).is_dir() or name.lower().endswith((*SUFFIXES, *PROGRAM_SUFFIXES)):
            from napari_hrsr.models.load import load_model

            spec = load_model(Path(name)).spec
        else:
            from napari_hrsr.models.catalog import find_spec

            spec = find_spec(name)
        for label, text in describe_model(spec):
            typer.echo(f"{label + ':':<18}{text}")


@models.command()
def add(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|FOLDER...",
            help=".safetensors, .pth, .pt, .ckpt, .onnx, or a package of the BioImage Model Zoo.",
        ),
    ],
    factor: Annotated[int | None, typer.Option(help="Of ONNX files, where it is known.")] = None,
    channels: Annotated[int | None, typer.Option(help="Likewise: 1 or 3.")] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(
            metavar="none|percentile|photo|range|standard",
            help="How values are brought to 0 to 1 for ONNX files. Default: photo.",
        ),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Run the code in the file (TorchScript, Python), now and whenever the model is "
            "used, in a process of its own, until it is removed.",
        ),
    ] = False,
) -> None:
    """Add models that were trained or published, so that they are listed by name."""
    with explained("cancelled") as cancelled:
        from napari_hrsr.errors import InputError
        from napari_hrsr.models.foreign.packages import is_package
        from napari_hrsr.models.installing import add_models

        if trust and (len(paths) > 1 or (paths[0].is_dir() and not is_package(paths[0]))):
            msg = "--trust is for one file: add it on its own"
            raise InputError(msg)
        given = {"factor": factor, "channels": channels, "normalisation": normalisation}
        for path in paths:
            added = add_models(
                path, given=given, ask=lambda asked: trust and tell_risk(asked), cancelled=cancelled
            )
            for spec in added:
                typer.echo(f"added {spec.name}: {spec.title}")


@models.command()
def remove(names: Annotated[list[str], typer.Argument(metavar="NAME...")]) -> None:
    """Delete models that were added or trained."""
    with explained():
        from napari_hrsr.models.installing import remove_model

        for name in names:
            remove_model(name)
            typer.echo(f"removed {name}")


@models.command()
def default(name: Annotated[str, typer.Argument(help="Name from 'napari-hrsr models'.")]) -> None:
    """Use a model where none is named."""
    with explained():
        from napari_hrsr.models.catalog import find_spec
        from napari_hrsr.models.user_models import set_default

        spec = find_spec(name)
        set_default(spec)
        typer.echo(f"{spec.name} is used for {spec.ndim}D where no model is named")


@models.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help=".pth, .pt or .ckpt, old or new.")],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Default: IN with .safetensors.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Copy the weights in a file as safetensors, which cannot hold code."""
    with explained():
        from napari_hrsr.models.foreign.legacy import convert as convert_file

        target = target or source.with_suffix(".safetensors")
        count = convert_file(source, target, overwrite=overwrite)
        typer.echo(f"{target.name}: {count} tensors")
