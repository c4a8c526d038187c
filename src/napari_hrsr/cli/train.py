"""``napari-hrsr train``: a network of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_hrsr.cli import training_options as options
from napari_hrsr.cli.following import json_lines, or_closed_input, shown
from napari_hrsr.cli.shared import explained


def _scale(text: str) -> tuple[int, ...]:
    try:
        factors = tuple(int(k) for k in text.lower().split("x"))
    except ValueError:
        factors = ()
    if len(factors) not in (2, 3) or min(factors) < 1:
        msg = f"{text!r} is not a factor per axis such as 2x2, 2x2x2 or 4x1x1"
        raise typer.BadParameter(msg)
    return factors


def train(
    images: options.Images = None,
    out: options.Out = None,
    config: options.Config = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with a run that was stopped or killed."),
    ] = None,
    name: options.Name = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="upscale, or denoise or deblur, which keep the size (factor 1 on all axes)."
        ),
    ] = None,
    psf: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="Beads or a point spread function, in pixels of IMAGES: what blurs them, "
            "above all with --task deblur. 3D with --scale 1x1x1.",
        ),
    ] = None,
    scale: Annotated[
        Any,
        typer.Option(
            parser=_scale, metavar="KxK|KxKxK", help="Factor per axis, (Z), Y, X. Default: 2x2."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="plain, small, srcnn, fsrcnn, edsr, attention or large."),
    ] = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    coarse: options.Coarse = None,
    unpaired: Annotated[
        list[Path] | None,
        typer.Option(help="Low-resolution images of other fields, with --adversarial."),
    ] = None,
    validation: options.Validation = None,
    leave_out: options.LeaveOut = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Go on from a trained model (fine-tuning).")
    ] = None,
    adversarial: Annotated[
        bool,
        typer.Option("--adversarial", help="Train against a discriminator; see --start-from."),
    ] = False,
    rgb: Annotated[bool, typer.Option("--rgb", help="Learn colours together.")] = False,
    seed: options.Seed = None,
    device: options.Device = None,
    devices: options.Devices = None,
    install: options.Install = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write what torch's profiler saw into the run.")
    ] = False,
    events: options.Events = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a network on images of your own.

    RUN holds the settings, a table of measurements, pictures of a validation
    image, and the model, which 'napari-hrsr upscale --model NAME' then takes.
    Ctrl-C stops; --resume goes on.
    """
    stopped = "stopped; --resume goes on with it"
    with explained(stopped) as asked:
        from napari_hrsr.training.start import Choices, continue_run, start_run

        choices = Choices(
            images=tuple(images or ()),
            coarse=tuple(coarse or ()),
            unpaired=tuple(unpaired or ()),
            validation=tuple(validation or ()),
            leave_out=tuple(leave_out or ()),
            config=config,
            name=name,
            task=task,
            point_spread=psf,
            scale=scale,
            network=network,
            steps=steps,
            minutes=minutes,
            start_from=start_from,
            adversarial=adversarial,
            channels=3 if rgb else None,
            seed=seed,
            device=device,
            devices=devices,
        )
        cancelled = or_closed_input(asked) if events else asked
        with json_lines() if events else shown(quiet=quiet) as report:
            if resume is not None:
                continue_run(resume, report=report, cancelled=cancelled, install=install)
            else:
                start_run(
                    choices, out, report=report, cancelled=cancelled, install=install,
                    profile=profile,
                )  # fmt: skip
