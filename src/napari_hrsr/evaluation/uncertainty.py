"""Where a result is uncertain: how much it depends on how the image is turned.

A network that is sure of a structure makes the same of an image and of its
mirror images. The spread over these views, multiplied by a factor that was
calibrated on images with a known truth, gives intervals that hold a stated
share of it. What the network gets wrong in every view alike is not seen.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation.calibration import (
    ASSUMPTION,
    UNCALIBRATED,
    Calibration,
    find_calibration,
    name_of,
)
from napari_hrsr.evaluation.conformal import check_coverage, normaliser
from napari_hrsr.evaluation.images import Cancelled, as_callable, plain
from napari_hrsr.files import OmeZarrResult
from napari_hrsr.intensity import Intensity, Per, check_values, measure_intensity, wanted_levels
from napari_hrsr.jobs import Job, Region, describe_job, plan_job, start_job
from napari_hrsr.metadata import plain_metadata, upscaled_metadata
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import ModelSpec, Upscaler
from napari_hrsr.models.spread import count_views, view_spread
from napari_hrsr.upscaling import normalisation

Model = str | Path | Upscaler
Progress = Callable[[int, int], None]

DOUBT = 0.1
"""A pixel is doubtful if it may be off by more than this share of the image's range."""


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """How uncertain every pixel of a result is.

    Attributes
    ----------
    spread : array-like
        Standard deviation over mirrored views (and models) of the image, smoothed
        over neighbouring pixels, in the source's units, on the result's grid.
    half_width : array-like or None
        The result, plus or minus this, holds the truth in the share `coverage` of
        the pixels; same shape and units. None without a calibration.
    coverage : float or None
        That share, 0 to 1; None without a calibration.
    calibration : Calibration or None
        Where the intervals come from.
    doubtful : float or None
        Share of the pixels, 0 to 1, whose `half_width` is more than a tenth of the
        range of the image (0.1 to 99.9 percentile): they may be off by more than
        that. None without a calibration.
    doubt : float
        That tenth.
    assumption : str
        What has to hold for `coverage` to be right; to be shown beside the figure.
    model : str
        Name of the model, or of several joined by ``|``.
    views : int
        Number of results that the spread is over.
    """

    spread: Any
    half_width: Any
    coverage: float | None
    calibration: Calibration | None
    doubtful: float | None
    doubt: float
    assumption: str
    model: str
    views: int

    def __str__(self) -> str:
        if self.doubtful is None or self.coverage is None:
            return self.assumption
        return (
            f"{100 * self.doubtful:.1f} % of the pixels are to be doubted: their "
            f"{100 * self.coverage:g} % interval reaches further than {100 * self.doubt:g} % of "
            f"the image's range. {self.assumption}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the maps, in values that JSON can hold."""
        written: dict[str, Any] = plain(
            {
                "model": self.model, "views": self.views, "coverage": self.coverage,
                "doubtful": self.doubtful, "doubt": self.doubt, "assumption": self.assumption,
            }
        )  # fmt: skip
        calibration = None if self.calibration is None else self.calibration.to_dict()
        return written | {"calibration": calibration}


def measure_uncertainty(
    source: Any,
    model: Model | Sequence[Model],
    *,
    axes: str | None = None,
    coverage: float = 0.9,
    calibration: Calibration | None = None,
    noise: str | float = "auto",
    intensity: Per | Intensity | None = None,
    device: str = "auto",
    tile: int | Sequence[int] | None = None,
    out: str | Path | None = None,
    region: Region | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Uncertainty:
    """Map how uncertain the result of a model is, tile by tile, at any size.

    Geometric self-ensemble (Timofte et al., CVPR 2016) for the spread, split
    conformal prediction for the intervals. Takes as long as the upscaling times
    the number of views.

    The coverage holds if the image is exchangeable with those of the calibration:
    recorded alike, of alike specimens, equally noisy.

    Parameters
    ----------
    source : array-like
        The low-resolution image, as `napari_hrsr.upscale` takes it.
    model : str, Path, Upscaler, or sequence of them
        The model of the result. Of several, which must have the same factor, the
        result is the mean; their spread is over models and views.
    axes, noise, intensity, device, tile, region, progress
        As for `napari_hrsr.upscale`.
    coverage : float
        Share of the truth that the intervals shall hold, 0 to 1.
    calibration : Calibration, optional
        From `calibrate`; by default the one that ships for the model. Its coverage
        stands above `coverage`.
    out : str or Path, optional
        A folder to create, for ``spread.ome.zarr`` and ``half_width.ome.zarr``; by
        default both are held in memory.
    cancelled : threading.Event or callable, optional
        Stops the run when set, or when it returns True.

    Returns
    -------
    Uncertainty

    Raises
    ------
    InputError, ModelError, DeviceError
        If something does not fit, with the remedy, before any work starts.
    CancelledError
        If `cancelled` stopped it.
    """
    check_coverage(coverage)
    models = loaded_models(model)
    specs = [each.spec for each in models]
    if calibration is None:
        calibration = find_calibration(specs, coverage)
    else:
        _check_calibration(calibration, specs)
    job = plan_job(
        source,
        view_spread(models),
        axes=axes,
        tile=tile,
        device=device,
        precision="float32",
        dtype=np.float32,
        region=region,
    )
    check = as_callable(cancelled)
    measured = settled_intensity(job, intensity, noise, cancelled)
    factor = None if calibration is None else calibration.factor
    with contextlib.ExitStack() as stack:
        spread = _opened(stack, out, "spread", job)
        half_width = None if factor is None else _opened(stack, out, "half_width", job)
        target = Maps(job, measured, spread.array, half_width and half_width.array, factor)
        drain(start_job(job, target, measured, cancelled=stopper(check)), job.total, progress)
        record = describe_job(job, measured)
        maps = [each and each.finish(record) for each in (spread, half_width)]
    count = math.prod(job.shape) - target.left_out
    return Uncertainty(
        spread=maps[0],
        half_width=maps[1],
        coverage=None if calibration is None else calibration.coverage,
        calibration=calibration,
        doubtful=None if factor is None else target.doubtful / count,
        doubt=DOUBT,
        assumption=UNCALIBRATED if calibration is None else ASSUMPTION,
        model=name_of(specs),
        views=count_views(models),
    )


def loaded_models(model: Model | Sequence[Model]) -> list[Upscaler]:
    """Load one model, or several.

    Raises
    ------
    InputError
        If there is none.
    ModelError
        If there is no such model.
    """
    single = isinstance(model, str | Path | Upscaler)
    given = cast("list[Model]", [model] if single else list(cast("Sequence[Model]", model)))
    if not given:
        msg = "give a model, or several of the same factor"
        raise InputError(msg)
    return [each if isinstance(each, Upscaler) else load_model(each) for each in given]


def settled_intensity(
    job: Job, intensity: Per | Intensity | None, noise: str | float, cancelled: Cancelled | None
) -> Intensity:
    """Measure what was not given, and check every value of the image.

    Raises
    ------
    InputError
        If the image holds values that cannot be used, or `noise` is neither
        ``"auto"`` nor a number from 0 up.
    CancelledError
        If `cancelled` stopped it.
    """
    stop = stopper(as_callable(cancelled))
    level: float | None = None
    if noise != "auto":
        level = float(noise) if isinstance(noise, int | float) else math.nan
        if not 0 <= level < math.inf:
            msg = f"noise is 'auto' or a standard deviation from 0 up, got {noise!r}"
            raise InputError(msg)
    if isinstance(intensity, Intensity):
        check_values(job.source, job.axes, cancelled=stop)
        measured = intensity
    else:
        measured = measure_intensity(
            job.source,
            job.axes,
            per=intensity or "channel",
            levels=wanted_levels(job.model.spec),
            cancelled=stop,
        )
    return measured if level is None else measured.with_noise(level)


def drain(tiles: Iterator[Any], total: int, progress: Progress | None) -> None:
    """Run a job to its end.

    Raises
    ------
    CancelledError
        If it stopped before.
    """
    done = 0
    for tile in tiles:
        done = tile.done
        if progress is not None:
            progress(done, total)
    if done < total:
        msg = f"cancelled after {done} of {total} tiles"
        raise CancelledError(msg)


def stopper(check: Callable[[], None]) -> Callable[[], bool]:
    """Turn what raises when a run is cancelled into what the engine polls."""

    def stopped() -> bool:
        try:
            check()
        except CancelledError:
            return True
        return False

    return stopped


class Maps:
    """Takes what the engine writes for an image, and makes both maps of it.

    The engine adds the black level, which a spread does not have.

    Parameters
    ----------
    job : Job
        With a model from `view_spread`.
    intensity : Intensity
        Of the run.
    spread, half_width : array-like
        Where the maps go; no `half_width` without a factor.
    factor : float or None
        Of the calibration.

    Attributes
    ----------
    doubtful, left_out : int
        Pixels to be doubted, and pixels of opacity, which are 0 in both maps.
    """

    def __init__(
        self, job: Job, intensity: Intensity, spread: Any, half_width: Any, factor: float | None
    ) -> None:
        self._job, self._intensity, self._factor = job, intensity, factor
        self._spread, self._half_width = spread, half_width
        self.shape, self.dtype = job.shape, np.dtype(np.float32)
        self.doubtful = self.left_out = 0

    def __setitem__(self, key: tuple[Any, ...], values: NDArray[np.float32]) -> None:
        job = self._job
        loop = tuple(key[axis] + job.start[axis] for axis in job.axes.looped)
        low, high, _ = self._intensity.at(loop)
        offset, _ = normalisation(job.model.spec, np.dtype(job.source.dtype), low, high)
        spread = np.maximum(values - np.float32(offset), 0)
        opacity = self._opacity()
        if opacity is not None:
            spread[opacity] = 0
            self.left_out += spread[opacity].size
        self._spread[key] = spread
        if self._factor is None:
            return
        half_width = np.float32(self._factor) * normaliser(spread, high - low)
        if opacity is not None:
            half_width[opacity] = 0
        self._half_width[key] = half_width
        self.doubtful += int(np.count_nonzero(half_width > DOUBT * (high - low)))

    def _opacity(self) -> tuple[Any, ...] | None:
        """Where in a tile the opacity is, which no network has made."""
        axes = self._job.axes
        if not axes.has_alpha(self._job.source.shape) or axes.samples is None:
            return None
        position = axes.samples - sum(axis < axes.samples for axis in axes.looped)
        return (slice(None),) * position + (-1,)


@dataclass(frozen=True, slots=True)
class _InMemory:
    array: Any

    def finish(self, record: dict[str, Any]) -> Any:
        return self.array


def _opened(stack: contextlib.ExitStack, out: str | Path | None, name: str, job: Job) -> Any:
    """Open where a map goes; nothing is left of a file that is not finished."""
    if out is None:
        return _InMemory(np.zeros(job.shape, np.float32))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = upscaled_metadata(plain_metadata(job.axes.names), job.factor, job.origin)
    return stack.enter_context(
        OmeZarrResult(
            folder / f"{name}.ome.zarr",
            shape=job.shape,
            dtype=job.dtype,
            chunks=job.chunks,
            metadata=metadata,
        )
    )


def _check_calibration(calibration: Calibration, specs: Sequence[ModelSpec]) -> None:
    if not calibration.belongs_to(specs):
        msg = (
            f"this calibration was made with model {calibration.model!r}, not with "
            f"{name_of(specs)!r} as it is now: calibrate again"
        )
        raise InputError(msg)
