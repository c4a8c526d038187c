"""Calibrate a model's uncertainty on pairs of an image and its truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.calibration import Calibration, name_of, weights_of
from napari_hrsr.evaluation.conformal import (
    Scores,
    blocks_of,
    check_coverage,
    grouped_factor,
)
from napari_hrsr.evaluation.images import Cancelled, as_callable
from napari_hrsr.evaluation.uncertainty import (
    Maps,
    Model,
    Progress,
    drain,
    loaded_models,
    settled_intensity,
    stopper,
)
from napari_hrsr.jobs import Job, plan_job, start_job
from napari_hrsr.models.spec import Upscaler
from napari_hrsr.models.spread import average_models, view_spread

BLOCK = {2: 16, 3: 8}
"""Side of a block in source pixels, by the number of spatial axes."""

_KEPT = 256
"""Scores that are kept of a block: more would not change a quantile over many blocks."""


def calibrate(
    pairs: Iterable[tuple[Any, Any]],
    model: Model | Sequence[Model],
    *,
    coverage: float = 0.9,
    axes: str | None = None,
    groups: Sequence[str] | None = None,
    calibrated_on: str = "",
    noise: str | float = "auto",
    device: str = "auto",
    tile: int | Sequence[int] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Calibration:
    """Measure how wide intervals must be to hold a share of the truth.

    Split conformal prediction: the units are blocks of 16 source pixels a side, of 8 in
    volumes.
    The images must not have been used to train the model; then the coverage
    holds for images that are exchangeable with them: recorded alike, of alike
    specimens, equally noisy.

    Parameters
    ----------
    pairs : iterable of (array-like, array-like)
        A low-resolution image and its truth, larger by the model's factor and in
        the same units. Where there are only sharp images, degrade them as the
        instrument would (`napari_hrsr.training.degrade`).
    model : str, Path, Upscaler, or sequence of them
        As for `measure_uncertainty`.
    coverage : float
        Between 0 and 1.
    axes : str, optional
        Of all images, one letter per axis.
    groups : sequence of str, optional
        One name a pair, such as the modality: the coverage is then reached in every
        group. By default all pairs are one.
    calibrated_on : str
        What the images are, for people.
    noise, device, tile
        As for `napari_hrsr.upscale`.
    progress : callable, optional
        Called with the number of pairs done and in total.
    cancelled : threading.Event or callable, optional
        Stops when set, or when it returns True.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If the images do not fit, or there are too few blocks for the coverage.
    CancelledError
        If `cancelled` stopped it.
    """
    check_coverage(coverage)
    every = list(pairs)
    names = ["all"] * len(every) if groups is None else list(groups)
    if len(names) != len(every):
        msg = f"groups must name one group for each of the {len(every)} pairs, got {len(names)}"
        raise InputError(msg)
    models = loaded_models(model)
    units: dict[str, list[Scores]] = {}
    for number, ((source, truth), name) in enumerate(zip(every, names, strict=True)):
        scores = scored_blocks(
            source, truth, models, axes=axes, noise=noise, device=device, tile=tile,
            cancelled=cancelled,
        )  # fmt: skip
        units.setdefault(name, []).extend(scores)
        if progress is not None:
            progress(number + 1, len(every))
    factor, factors = grouped_factor(units, coverage)
    specs = [each.spec for each in models]
    return Calibration(
        factor=factor,
        coverage=coverage,
        model=name_of(specs),
        weights_sha256=weights_of(specs),
        calibrated_on=calibrated_on,
        images=len(every),
        blocks=sum(map(len, units.values())),
        groups=factors,
    )


def scored_blocks(
    source: Any, truth: Any, models: Sequence[Upscaler], **options: Any
) -> list[Scores]:
    """Return the scores of a pair, block by block: errors over the normaliser.

    Parameters
    ----------
    source, truth : array-like
        See `calibrate`.
    models : sequence of Upscaler
        Likewise, loaded.
    **options
        As for `measure_errors`.

    Raises
    ------
    InputError, CancelledError
        Likewise.
    """
    error, unit = measure_errors(source, truth, models, **options)
    return cut_scores(error / unit, models[0].spec.scale)


def cut_scores(scores: NDArray[np.floating], scale: Sequence[int]) -> list[Scores]:
    """Cut an image of scores into blocks, and keep some scores of each.

    Parameters
    ----------
    scores : ndarray, shape (n, *spatial)
        On the grid of a result.
    scale : sequence of int
        Its factor, per spatial axis.
    """
    rng = np.random.default_rng(0)
    kept = []
    for block in blocks_of(scores, [BLOCK[len(scale)] * k for k in scale]):
        flat = block.ravel().astype(np.float64)
        kept.append(rng.choice(flat, _KEPT, replace=False) if flat.size > _KEPT else flat)
    return kept


def measure_errors(
    source: Any,
    truth: Any,
    models: Sequence[Upscaler],
    *,
    axes: str | None = None,
    noise: str | float = "auto",
    device: str = "auto",
    tile: int | Sequence[int] | None = None,
    cancelled: Cancelled | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return how wrong a result is, and the normaliser that shall tell it beforehand.

    Parameters
    ----------
    source, truth, models
        As for `scored_blocks`.
    axes, noise, device, tile, cancelled
        As for `calibrate`.

    Returns
    -------
    error, unit : ndarray, shape (n, *spatial)
        In the source's units; all axes but the spatial ones are in the first.

    Raises
    ------
    InputError, CancelledError
        As `calibrate`.
    """
    options: dict[str, Any] = {
        "axes": axes, "device": device, "tile": tile, "precision": "float32", "dtype": np.float32,
    }  # fmt: skip
    spread_job = plan_job(source, view_spread(models), **options)
    result_job = plan_job(source, average_models(models), **options)
    expected = _checked_truth(truth, result_job)
    intensity = settled_intensity(spread_job, None, noise, cancelled)
    stop = stopper(as_callable(cancelled))
    spread, unit, result = (np.zeros(result_job.shape, np.float32) for _ in range(3))
    maps = Maps(spread_job, intensity, spread, unit, 1.0)
    drain(start_job(spread_job, maps, intensity, cancelled=stop), spread_job.total, None)
    drain(start_job(result_job, result, intensity, cancelled=stop), result_job.total, None)
    error = np.abs(expected - result)
    return _spatial_last(error, spread_job), _spatial_last(unit, spread_job)


def _checked_truth(truth: Any, job: Job) -> NDArray[np.floating]:
    """Refuse a truth that a result cannot be compared with."""
    values = np.asarray(truth)
    if values.shape != job.shape:
        msg = (
            f"the truth has shape {values.shape}, but the result of model "
            f"{job.model.spec.name!r} has {job.shape}: crop or resample it to that grid"
        )
        raise InputError(msg)
    if values.dtype.kind not in "uif" or not np.isfinite(values).all():
        msg = "the truth holds values that are not finite numbers: crop or fill them"
        raise InputError(msg)
    # Wide integers would lose their last digits in single precision.
    return values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)


def _spatial_last(values: NDArray[np.floating], job: Job) -> NDArray[np.floating]:
    """Return shape (everything else, *spatial), without opacity."""
    axes = job.axes
    if axes.samples is not None and axes.has_alpha(job.source.shape):
        values = np.take(values, range(values.shape[axes.samples] - 1), axis=axes.samples)
    ndim = len(axes.spatial)
    values = np.moveaxis(values, axes.spatial, range(-ndim, 0))
    return values.reshape(-1, *values.shape[-ndim:])
