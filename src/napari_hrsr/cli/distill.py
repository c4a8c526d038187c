"""``napari-hrsr distill``: a small network that learns from a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.following import json_lines, or_closed_input, shown
from napari_hrsr.cli.shared import explained


def distill(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGES", help="Files and folders of sharp images to learn from."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Name or file of the trained model to learn from."),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK", help="small, plain, srcnn, fsrcnn, edsr, attention or large."
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the teacher in the loss. Default: 0.5; the rest is the truth.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of the run. Default: hrsr-runs/NAME."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings as TOML; the options here go before them.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: my-model.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="How long to train. Default: 10.")
    ] = None,
    coarse: Annotated[
        list[Path] | None,
        typer.Option(help="Low-resolution images of the same fields, if there are any."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Sharp images to measure on. Default: a part of IMAGES."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="Sources in IMAGES not to use.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A trained model the student starts from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. Default: auto.")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Number of GPUs. Default: 1.")] = None,
    install: Annotated[
        bool, typer.Option(help="List the model in napari and in 'napari-hrsr models'.")
    ] = True,
    events: Annotated[
        bool, typer.Option("--events", hidden=True, help="Events as JSON lines; stdin closes.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a small network on images of your own and on what a larger one makes of them.

    Factor and channels are those of the teacher. RUN holds the same as after
    'napari-hrsr train'; the card compares teacher, student and cubic
    interpolation. Ctrl-C stops; 'napari-hrsr train --resume RUN' goes on.
    """
    with explained("stopped; 'napari-hrsr train --resume' goes on with it") as asked:
        from napari_hrsr.training.distill import start_distillation
        from napari_hrsr.training.start import Choices

        choices = Choices(
            images=tuple(images or ()),
            coarse=tuple(coarse or ()),
            validation=tuple(validation or ()),
            leave_out=tuple(leave_out or ()),
            config=config,
            name=name,
            network=student,
            steps=steps,
            minutes=minutes,
            start_from=start_from,
            seed=seed,
            device=device,
            devices=devices,
            teacher=teacher,
            teacher_weight=weight,
        )
        cancelled = or_closed_input(asked) if events else asked
        with json_lines() if events else shown(quiet=quiet) as report:
            start_distillation(choices, out, report=report, cancelled=cancelled, install=install)
