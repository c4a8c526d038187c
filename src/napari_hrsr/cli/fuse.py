"""``napari-hrsr fuse``: several frames of one scene into one finer image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained, progress


def fuse(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN... OUT",
            help="One file with an axis of frames, or one file a frame; then the result. The "
            "suffix says its format: .ome.tif, .ome.zarr, .nii.gz.",
        ),
    ],
    scale: Annotated[int, typer.Option(help="Fine pixels in a pixel of the frames.")] = 2,
    axes: Annotated[
        str | None,
        typer.Option(
            help="One letter per axis, T for the frames, for example TZYX, where the file does "
            "not say."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="robust|average|shift-and-add|drizzle",
            help="robust: reconstruction. The others are the simple ways.",
        ),
    ] = "robust",
    transform: Annotated[
        str,
        typer.Option(metavar="translation|rigid|affine", help="How frames may lie on each other."),
    ] = "translation",
    reference: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of the frame that the result lies on, from 0. Default: the first."
        ),
    ] = None,
    shifts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Text file of known shifts, a line a frame, a number an axis, in pixels: frame "
            "k shows at x + shift what the reference shows at x. Default: found.",
        ),
    ] = None,
    psf: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Blur of the instrument: standard deviation in pixels of the frames.",
        ),
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the noise. Default: measured.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How smooth the result shall be. Default: chosen by held-out frames."),
    ] = None,
    motion: Annotated[
        bool,
        typer.Option(
            "--motion/--no-motion", help="Whether what moves falls back to the reference."
        ),
    ] = True,
    moving: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Write the map of what moved.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=1, help="Longest tile, in pixels of the frames.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="Type of the result's pixels, for example float32.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing result.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")] = False,
) -> None:
    """Fuse several frames of one scene into one finer image."""
    if len(paths) < 2:
        msg = "give the frames, and where to write the result"
        raise typer.BadParameter(msg, param_hint="IN... OUT")
    with explained() as asked:
        from napari_hrsr.frames_file import Settings, fuse_file, read_shifts

        settings = Settings(
            scale=scale,
            shifts=None if shifts is None else read_shifts(shifts),
            psf=psf,
            noise=noise,
            method=method,
            axes=axes,
            reference=reference,
            transform=transform,
            motion=motion,
            strength=strength,
            tile=tile,
            device=device,
            dtype=dtype,
            moving=moving,
            overwrite=overwrite,
        )
        with progress(quiet=quiet) as report:
            fusion = fuse_file(paths[:-1], paths[-1], settings, report=report, cancelled=asked)
    if not quiet:
        typer.echo(fusion.message, err=True)
        typer.echo(f"wrote {paths[-1]}")
