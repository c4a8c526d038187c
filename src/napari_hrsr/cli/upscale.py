"""``napari-hrsr upscale``: a file into a file."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_hrsr.cli.shared import explained, progress


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
    with explained() as cancelled:
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
        with progress(quiet=quiet) as report:
            upscale_file(source, target, settings, report=report, cancelled=cancelled)
