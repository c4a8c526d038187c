"""``napari-hrsr distill``: a small network that learns from a larger one."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_hrsr.cli import training_options as options
from napari_hrsr.cli.following import json_lines, or_closed_input, shown
from napari_hrsr.cli.shared import explained


def distill(
    images: options.Images = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Name or file of the trained model to learn from."),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK", help="plain, small, srcnn, fsrcnn, edsr, attention or large."
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
    out: options.Out = None,
    config: options.Config = None,
    name: options.Name = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    coarse: options.Coarse = None,
    validation: options.Validation = None,
    leave_out: options.LeaveOut = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A trained model the student starts from.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    devices: options.Devices = None,
    install: options.Install = True,
    events: options.Events = False,
    quiet: options.Quiet = False,
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
