"""What a user may choose for an image in a file, and the run that follows from it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from napari_hrsr.api import settle_intensity
from napari_hrsr.axes import check_names
from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import DeviceError
from napari_hrsr.file_results import Report
from napari_hrsr.forward import ForwardModel, Instrument
from napari_hrsr.intensity import Intensity, Per
from napari_hrsr.jobs import Job, plan_job
from napari_hrsr.metadata import ImageMetadata, upscaled_metadata
from napari_hrsr.models.describing import doing
from napari_hrsr.projecting import Projections
from napari_hrsr.projection_weight import settle_projection
from napari_hrsr.replay import Recipe


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
    region : tuple of (int, int) or None
        As for `api.upscale`; a recipe has its own.
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
    region: tuple[tuple[int, int] | None, ...] | None = None
    recipe: Recipe | None = None
    overwrite: bool = False


def plan_file(data: Any, metadata: ImageMetadata, settings: Settings) -> tuple[Job, ImageMetadata]:
    """Plan the run on an image of a file.

    Parameters
    ----------
    data : array-like
        Pixels of the image.
    metadata : ImageMetadata
        Of the image.
    settings : Settings
        What the user chose.

    Returns
    -------
    job : Job
        The run, not settled yet.
    metadata : ImageMetadata
        Of the result.

    Raises
    ------
    HrsrError
        With what does not fit.
    """
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
            region=settings.region,
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


def settle_file(
    job: Job,
    settings: Settings,
    *,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Job, Intensity]:
    """Measure what the recipe does not say, and check every value of the image.

    Parameters
    ----------
    job : Job
        From `plan_file`.
    settings : Settings
        What the user chose.
    report, cancelled : callable
        As for `upscale_file.upscale_file`.

    Returns
    -------
    job : Job
        Ready to start.
    intensity : Intensity
        Range and noise of the image.
    """
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
    known = _known_projections(settings)
    return settle_projection(job, intensity, known=known, cancelled=cancelled), intensity


def name_task(job: Job) -> str:
    """Say in a word what a run does, for its progress."""
    return doing(job.model.spec)


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
