"""From a stack in a file to an isotropic volume in a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.axes import check_names
from napari_hrsr.errors import InputError
from napari_hrsr.file_results import Report, check_paths, into_file
from napari_hrsr.files import check_output, read_image
from napari_hrsr.isotropic.measuring import Wishes
from napari_hrsr.isotropic.reporting import describe_restoration, describe_width
from napari_hrsr.isotropic.running import (
    Choices,
    map_doubt,
    prepare,
    rehearse,
    restoration_job,
    restore,
)
from napari_hrsr.jobs import Job
from napari_hrsr.metadata import ImageMetadata, upscaled_metadata


def isotropic_file(
    source: Path,
    target: Path,
    wishes: Wishes,
    choices: Choices,
    *,
    axes: str | None = None,
    doubt: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Make a stack in a file isotropic, into a file, in flat memory.

    Parameters
    ----------
    source, target : Path
        The suffix of `target` says its format.
    wishes : Wishes
        What was said of the slices; an empty spacing takes the file's.
    choices : Choices
        How to learn and how to restore.
    axes : str, optional
        One letter per axis, where the file does not say.
    doubt : Path, optional
        Where to write, too, where the result can be doubted (see `doubting`).
    overwrite : bool
        Replace an existing result.
    say : callable
        Told what people may want to know on the way.
    report, cancelled : callable
        As for `upscale_file`.

    Returns
    -------
    dict
        The record of how the result was made.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it.
    """
    image = read_image(source)
    check_paths(source, target, overwrite=overwrite)
    metadata = image.metadata
    if axes is not None:
        metadata = metadata.with_axes(check_names(axes, image.data.ndim))
    metadata, wishes = with_spacing(metadata, wishes)
    rehearsed = rehearse(image.data, metadata.axes, wishes, choices)
    check_output(target, _placed(metadata, rehearsed), rehearsed.dtype)
    if doubt is not None:
        check_paths(source, doubt, overwrite=overwrite)
        check_output(doubt, _placed(metadata, rehearsed), np.dtype(np.float32))
    measured, model = prepare(image.data, metadata.axes, wishes, choices, report, cancelled)
    say(describe_width(measured))
    job = restoration_job(measured, model, choices)
    record = describe_restoration(job, measured, model, source_name=image.name)
    say(record["caution"])

    def run(out: Any) -> dict[str, Any]:
        restore(job, measured, out, report, cancelled)
        return record

    def map_it(out: Any) -> dict[str, Any]:
        map_doubt(measured, model, choices, report, cancelled, out)
        return record | {"task": "doubt of isotropic", "dtype": "float32"}

    into = functools.partial(into_file, overwrite=overwrite, report=report, cancelled=cancelled)
    into(target, job, _placed(metadata, job), run)
    if doubt is not None:
        into(doubt, replace(job, dtype=np.dtype(np.float32)), _placed(metadata, job), map_it)
    return record


def with_spacing(metadata: ImageMetadata, wishes: Wishes) -> tuple[ImageMetadata, Wishes]:
    """Settle the voxel sizes: those that were given, else the file's.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the file.
    wishes : Wishes
        What was said.

    Returns
    -------
    metadata : ImageMetadata
        With the voxel sizes that hold.
    wishes : Wishes
        Likewise.

    Raises
    ------
    InputError
        If neither says.
    """
    places = [metadata.axes.find(letter) for letter in "ZYX"]
    if min(places) < 0:
        msg = f"a stack of slices has the axes Z, Y and X; the file has {metadata.axes!r}"
        raise InputError(msg)
    own = tuple(metadata.scale[a] for a in places)
    if not wishes.spacing:
        if all(metadata.units[a] == "pixel" for a in places) and len(set(own)) == 1:
            msg = (
                "the file does not say how far its slices are apart: give the voxel sizes, "
                "for example --spacing 3.0 0.7 0.7"
            )
            raise InputError(msg)
        return metadata, replace(wishes, spacing=own)
    if len(wishes.spacing) != 3 or not all(s > 0 for s in wishes.spacing):
        msg = f"spacing is three numbers above 0 (z, y, x), got {wishes.spacing}"
        raise InputError(msg)
    scale, affine = list(metadata.scale), metadata.affine
    for place, size in zip(places, wishes.spacing, strict=True):
        scale[place] = size
    if affine is not None:
        affine = np.array(affine)
        affine[:3, :3] *= np.array(wishes.spacing) / np.array(own)
    return replace(metadata, scale=tuple(scale), affine=affine), wishes


def _placed(metadata: ImageMetadata, job: Job) -> ImageMetadata:
    return upscaled_metadata(metadata, job.factor, job.origin)
