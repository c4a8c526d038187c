"""``napari-hrsr upscale``: a file into a file."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_hrsr.cli.shared import explained, progress, trust_model


class Per(enum.StrEnum):
    """What shares one measurement of range and noise."""

    channel = "channel"
    image = "image"
    frame = "frame"


class Sampling(enum.StrEnum):
    """What a pixel of the source collects."""

    area = "area"
    bicubic = "bicubic"
    point = "point"


def _sigma(text: str) -> tuple[float, ...]:
    try:
        widths = tuple(float(width) for width in text.split(","))
    except ValueError:
        widths = (-1.0,)
    if len(widths) > 3 or not all(0 <= width < float("inf") for width in widths):
        msg = f"{text!r} is not one number from 0 up, or one per axis such as 0.8,0.5,0.5"
        raise typer.BadParameter(msg)
    return widths


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
    then: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="A model that goes on with the result, in the same run; may be repeated.",
        ),
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
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent",
            help="Hold the result to IN: degraded again it equals a clean image, and agrees with "
            "a noisy one to within its noise.",
        ),
    ] = False,
    psf_sigma: Annotated[
        Any,
        typer.Option(
            parser=_sigma,
            metavar="S|S,S,S",
            help="With --consistent: standard deviation of the blur, source pixels. Default: none.",
        ),
    ] = None,
    sampling: Annotated[
        Sampling | None,
        typer.Option(help="With --consistent: what a pixel of IN collects. Default: area."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Repeat what made this result (or a JSON file of its record)."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Run the code in the --model file (TorchScript), in a process of its own.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Super-resolve an image from a file into a file, at any size."""
    with explained() as cancelled:
        from napari_hrsr.errors import InputError

        if trust:
            trust_model(model)
        from napari_hrsr.forward import Instrument
        from napari_hrsr.replay import read_recipe
        from napari_hrsr.upscale_file import Settings, upscale_file

        if not consistent and (psf_sigma is not None or sampling is not None):
            msg = (
                "--psf-sigma and --sampling say what --consistent holds the result to: give it too"
            )
            raise InputError(msg)
        if then and model is None:
            msg = "--then goes on with what --model made: give --model too"
            raise InputError(msg)
        instrument = Instrument(psf_sigma or (), sampling.value if sampling else "area")
        settings = Settings(
            model=[model, *then] if model and then else model,
            axes=axes,
            tile=tile,
            device=device,
            precision=precision,
            noise=noise,
            intensity=intensity.value if intensity else None,
            dtype=dtype,
            consistent=instrument if consistent else None,
            recipe=read_recipe(recipe) if recipe else None,
            overwrite=overwrite,
        )
        with progress(quiet=quiet) as report:
            upscale_file(source, target, settings, report=report, cancelled=cancelled)
