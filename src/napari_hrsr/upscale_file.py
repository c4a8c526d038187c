"""From an image in a file to its result in a file."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.api import check_memory, drain, settle_intensity
from napari_hrsr.axes import check_names
from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import DeviceError, InputError, OutputError
from napari_hrsr.files import (
    OmeZarrResult,
    check_output,
    is_zarr_name,
    read_image,
    temporary_result,
    write_image,
)
from napari_hrsr.forward import ForwardModel, Instrument
from napari_hrsr.intensity import Intensity, Per
from napari_hrsr.jobs import Job, describe_job, plan_job, start_job
from napari_hrsr.metadata import ImageMetadata, upscaled_metadata
from napari_hrsr.projecting import Projections
from napari_hrsr.projection_weight import settle_projection
from napari_hrsr.replay import Recipe
from napari_hrsr.watching import Watched

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose; as for `api.upscale`, None where nothing was.

    Attributes
    ----------
    model, axes, tile, device, precision, noise, dtype
        As for `api.upscale`.
    intensity : {"channel", "image", "frame"} or None
        As for `api.upscale`.
    consistent : Instrument or None
        Hold the result to its source, which this instrument recorded.
    recipe : Recipe or None
        Settings and numbers of an earlier run; a choice made here wins.
    overwrite : bool
        Replace an existing result.
    """

    model: str | Sequence[str] | None = None
    axes: str | None = None
    tile: int | Sequence[int] | None = None
    device: str | None = None
    precision: str | None = None
    noise: float | None = None
    intensity: Per | None = None
    dtype: str | None = None
    consistent: Instrument | None = None
    recipe: Recipe | None = None
    overwrite: bool = False


def upscale_file(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Upscale an image in a file into a file, in flat memory.

    An OME-Zarr is written tile by tile. Other formats are written plane by
    plane, from memory where the result fits, else from temporary files beside
    it.

    Parameters
    ----------
    source, target : Path
        The suffix of `target` says its format.
    settings : Settings
        What the user chose.
    report : callable
        Called with what is being done, and how many parts are done of how
        many.
    cancelled : callable
        Polled; nothing is left of the result when it returns True.

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
    check_paths(source, target, overwrite=settings.overwrite)
    job, metadata = _plan(image.data, image.metadata, settings)
    check_output(target, metadata, job.dtype)
    run = functools.partial(
        _run, job, settings=settings, name=image.name, report=report, cancelled=cancelled
    )
    return into_file(
        target,
        job,
        metadata,
        run,
        overwrite=settings.overwrite,
        report=report,
        cancelled=cancelled,
    )


def check_paths(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a result that would replace its source, or what nobody allowed it to.

    Parameters
    ----------
    source, target : Path
        Files.
    overwrite : bool
        Whether an existing result may be replaced.

    Raises
    ------
    OutputError
        If it must not be written there.
    """
    if target.exists():
        if target.samefile(source):
            msg = "the result would replace its source: choose another name"
            raise OutputError(msg)
        if not overwrite:
            msg = f"{target.name} exists: choose another name, or allow it to be overwritten"
            raise OutputError(msg)
    check_output(target)


def into_file(
    target: Path,
    job: Job,
    metadata: ImageMetadata,
    run: Callable[[Any], dict[str, Any]],
    *,
    overwrite: bool,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Run a job into a file; nothing is left of one that is not complete.

    Parameters
    ----------
    target : Path
        The suffix says its format.
    job : Job
        The run.
    metadata : ImageMetadata
        Of the result.
    run : callable
        Takes an array to write into, and returns the record.
    overwrite : bool
        Replace an existing result.
    report, cancelled : callable
        As for `upscale_file`.

    Returns
    -------
    dict
        The record of how the result was made.

    Raises
    ------
    HrsrError
        If it cannot be written.
    """
    if is_zarr_name(target):
        with OmeZarrResult(
            target,
            shape=job.shape,
            dtype=job.dtype,
            chunks=job.chunks,
            metadata=metadata,
            overwrite=overwrite,
        ) as result:
            record = run(result.array)
            result.finish(record, cancelled)
        return record
    with contextlib.ExitStack() as stack:
        try:
            check_memory(job)
        except InputError:
            out: Any = stack.enter_context(
                temporary_result(target.parent, job.shape, job.dtype, job.chunks)
            )
        else:
            out = np.zeros(job.shape, job.dtype)
        record = run(out)
        write_image(
            target,
            out,
            metadata,
            record=record,
            progress=functools.partial(report, "Writing"),
            cancelled=cancelled,
        )
    return record


def _plan(data: Any, metadata: ImageMetadata, settings: Settings) -> tuple[Job, ImageMetadata]:
    """Plan the run; return it with the metadata of its result."""
    recipe = settings.recipe
    axes = settings.axes or (recipe.axes if recipe else metadata.axes)
    axes = check_names(axes, data.ndim)
    if recipe is None:
        job = plan_job(
            data,
            settings.model,
            consistent=settings.consistent or False,
            axes=axes,
            tile=settings.tile,
            device=settings.device or "auto",
            precision=settings.precision or "auto",
            dtype=settings.dtype,
        )
    else:
        job = plan_job(
            data,
            settings.model or recipe.model,
            consistent=settings.consistent or _known_instrument(recipe),
            axes=axes,
            tile=settings.tile or recipe.tile,
            device=settings.device or _available(recipe.device),
            precision=settings.precision or recipe.precision,
            dtype=settings.dtype or recipe.dtype,
            region=recipe.region_for(data.shape),
        )
        recipe.check_model(job.model.spec)
        if settings.intensity is None:
            recipe.check_intensity(job.axes.pick_looped(data.shape))
    return job, upscaled_metadata(metadata.with_axes(axes), job.factor, job.origin)


def _known_instrument(recipe: Recipe) -> ForwardModel | bool:
    return False if recipe.consistent is None else recipe.consistent.forward


def _known_projections(settings: Settings) -> Projections | None:
    """Return those of the recipe, unless something was chosen that changes them."""
    changed = (settings.consistent, settings.model, settings.noise, settings.intensity)
    if settings.recipe is None or any(choice is not None for choice in changed):
        return None
    return settings.recipe.consistent


def _available(device: str) -> str:
    try:
        resolve_device(device)
    except DeviceError:
        return "auto"
    return device


def _run(
    job: Job,
    out: Any,
    *,
    settings: Settings,
    name: str,
    report: Report,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    measured: Per | Intensity | None = settings.intensity
    if measured is None and settings.recipe is not None:
        measured = settings.recipe.intensity
    intensity = settle_intensity(
        job,
        measured,
        "auto" if settings.noise is None else settings.noise,
        progress=functools.partial(report, "Measuring"),
        cancelled=cancelled,
    )
    job = settle_projection(job, intensity, known=_known_projections(settings), cancelled=cancelled)
    seen = Watched(job)
    drain(
        seen.through(start_job(job, out, intensity, cancelled=cancelled)),
        job.total,
        functools.partial(report, "Upscaling"),
    )
    return seen.added_to(describe_job(job, intensity, source_name=name))
