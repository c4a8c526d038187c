"""``napari-hrsr train``: a network of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGES", help="Files and folders of sharp images to learn from."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder of the run. Default: hrsr-runs/NAME."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings as TOML; the options here go before them.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with a run that was stopped or killed."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: my-model.")] = None,
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
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimiser.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="How long to train. Default: 10.")
    ] = None,
    coarse: Annotated[
        list[Path] | None,
        typer.Option(help="Low-resolution images of the same fields, if there are any."),
    ] = None,
    unpaired: Annotated[
        list[Path] | None,
        typer.Option(help="Low-resolution images of other fields, with --adversarial."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Sharp images to measure on. Default: a part of IMAGES."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="Sources in IMAGES not to use.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Go on from a trained model (fine-tuning).")
    ] = None,
    adversarial: Annotated[
        bool,
        typer.Option("--adversarial", help="Train against a discriminator; see --start-from."),
    ] = False,
    rgb: Annotated[bool, typer.Option("--rgb", help="Learn colours together.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps. Default: auto.")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Number of GPUs. Default: 1.")] = None,
    install: Annotated[
        bool, typer.Option(help="List the model in napari and in 'napari-hrsr models'.")
    ] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write what torch's profiler saw into the run.")
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", hidden=True, help="Events as JSON lines; stdin closes.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
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
