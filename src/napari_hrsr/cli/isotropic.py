"""``napari-hrsr isotropic``: a stack in a file into an isotropic volume in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_hrsr.cli.shared import explained, progress


def isotropic(
    source: Annotated[Path, typer.Argument(metavar="IN", help="TIFF, OME-Zarr or NIfTI.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The suffix says the format: .ome.tif, .ome.zarr, .nii.gz."
        ),
    ],
    spacing: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar="Z Y X",
            help="Distances of the voxels, where the file does not say or is wrong.",
        ),
    ] = None,
    axis: Annotated[
        str, typer.Option(metavar="z|y|x", help="The coarse axis, along which slices were taken.")
    ] = "z",
    voxel: Annotated[
        float | None,
        typer.Option(
            "--target",
            metavar="VOXEL",
            help="Voxel size of the result, in the unit of the spacing. Default: the pixels'.",
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            metavar="gaussian|box|FILE",
            help="What a slice collects; a file holds a measured profile, or the image of a point.",
        ),
    ] = "gaussian",
    fwhm: Annotated[
        float | None,
        typer.Option(
            help="Thickness of the slices (full width at half maximum), in the unit of the "
            "spacing. Default: estimated. Too thin does little harm, too thick makes "
            "structure up."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="How long to learn. Default: 3.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A network kept before, in place of learning: its name or file."),
    ] = None,
    save_model: Annotated[
        str | None, typer.Option(help="Keep the learned network under this name, or in this file.")
    ] = None,
    consistency: Annotated[
        str,
        typer.Option(
            metavar="auto|exact|none|SHARE",
            help="How far the result, sliced again, gives the measured slices.",
        ),
    ] = "auto",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over mirrored views too: slower.")
    ] = False,
    doubt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a map of where the result can be doubted, too."),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, for example CZYX, where the file does not say."),
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the noise. Default: measured.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="Type of the result's voxels, for example float32.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing result.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")] = False,
) -> None:
    """Refine the coarse axis of a stack, learned from the stack itself."""
    if axis.lower() not in ("z", "y", "x"):
        msg = f"{axis!r} is none of z, y and x"
        raise typer.BadParameter(msg, param_hint="--axis")
    with explained() as asked:
        from napari_hrsr.isotropic.measuring import Wishes
        from napari_hrsr.isotropic.running import Choices
        from napari_hrsr.isotropic_file import isotropic_file

        wishes = Wishes(spacing or (), "zyx".index(axis.lower()), voxel, profile, fwhm, noise)
        choices = Choices(
            model=model,
            keep=save_model,
            minutes=minutes,
            seed=seed,
            consistency=_share(consistency),
            ensemble=ensemble,
            device=device,
            dtype=dtype,
        )
        with progress(quiet=quiet) as report:
            isotropic_file(
                source,
                target,
                wishes,
                choices,
                axes=axes,
                doubt=doubt,
                overwrite=overwrite,
                say=(lambda text: None) if quiet else (lambda text: typer.echo(text, err=True)),
                report=report,
                cancelled=asked,
            )
    if not quiet:
        typer.echo(f"wrote {target}")


def _share(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
