"""Where an isotropic result can be doubted: where its two orientations disagree.

Each voxel is inferred twice, from the plane zy and from the plane zx through
it. The two see different neighbours; where slices have taught the network what
holds across them they agree, and where it does not, as at flat cells and at
fibres along the coarse axis, they tend to differ. What both get wrong alike is
not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.intensity import Intensity
from napari_hrsr.isotropic.axial_model import AxialModel
from napari_hrsr.isotropic.measuring import Measured
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.jobs import Job, Region, plan_job
from napari_hrsr.models.compose import plane_difference, turned
from napari_hrsr.regridding import Interval, result_bounds

_SIGMA = 1.5
"""Standard deviation of the smoothing, in voxels of the result: differences of
single voxels say little, their mean nearby says how far the orientations agree."""

_REACH = math.ceil(3 * _SIGMA)


@dataclass(frozen=True)
class SmoothedDifference:
    """From the network's grid to the wanted one, smoothed along all axes.

    A `Regrid`.

    Attributes
    ----------
    restoration : AxialRestoration
        That of the result, with a gain of 0.
    """

    restoration: AxialRestoration

    @property
    def factor(self) -> tuple[float, ...]:
        """Voxels of the map in one of the source, per axis."""
        return self.restoration.factor

    @property
    def margin(self) -> tuple[int, ...]:
        """Source voxels around a tile's body that it needs, per axis."""
        margins = zip(self.restoration.margin, self.factor, strict=True)
        return tuple(m + math.ceil((_REACH + 1) / f) for m, f in margins)

    def at(self, index: Sequence[int]) -> SmoothedDifference:
        """Return the step for an index along the looped axes: this one."""
        return self

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        """Compute the map in a body; see `Regrid`."""
        shape = self.restoration.stack.shape
        # The smoothing needs the map around the body, which needs less than the window.
        wider = []
        for (first, last), (start, stop), f, n in zip(
            body, window, self.factor, shape, strict=True
        ):
            around = math.ceil((_REACH + 1) / f)
            wider.append((max(start, first - around, 0), min(stop, last + around, n)))
        result = self.restoration(upscaled, measured, window, wider)
        for axis in range(3):
            bounds = [
                result_bounds(*part[axis], shape[axis], self.factor[axis]) for part in (wider, body)
            ]
            matrix = _smoothing(bounds[0], bounds[1])
            result = np.moveaxis(np.tensordot(matrix, result, (1, 1 + axis)), 0, 1 + axis)
        return result


def _smoothing(given: Interval, wanted: Interval) -> NDArray[np.float32]:
    distance = np.arange(*given) - np.arange(*wanted)[:, None]
    weights = np.where(np.abs(distance) <= _REACH, np.exp(-0.5 * (distance / _SIGMA) ** 2), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def plan_doubt(
    measured: Measured,
    model: AxialModel,
    *,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    region: Region | None = None,
) -> Job:
    """Plan the run of the engine that maps where the orientations disagree.

    Parameters
    ----------
    measured : Measured
        From `measuring.measure`.
    model : AxialModel
        The network of the result.
    tile, device, precision, region
        As for `jobs.plan_job`.

    Returns
    -------
    Job
        Of the shape of the result, float32. What it writes goes through
        `Differences`.
    """
    stack = measured.stack
    model.check(stack)
    return plan_job(
        measured.source,
        turned(plane_difference(model.network), stack.axis),
        axes=measured.axes.names,
        tile=tile,
        device=device,
        precision=precision,
        dtype=np.float32,
        region=region,
        regrid=SmoothedDifference(AxialRestoration(stack, measured.profile, 0.0)),
    )


class Differences:
    """Takes what the engine writes for an image, and keeps the differences in it.

    The engine adds the black level, which a difference does not have.

    Parameters
    ----------
    target : array-like
        Where the differences go.
    axes : Axes
        Of the image.
    intensity : Intensity
        Knows the black level.
    """

    def __init__(self, target: Any, axes: Axes, intensity: Intensity) -> None:
        self._target, self._axes, self._intensity = target, axes, intensity
        self.shape, self.dtype = target.shape, target.dtype

    def __setitem__(self, key: tuple[Any, ...], values: NDArray[np.float32]) -> None:
        low, _, _ = self._intensity.at(tuple(key[axis] for axis in self._axes.looped))
        self._target[key] = np.maximum(values - np.float32(low), 0)
