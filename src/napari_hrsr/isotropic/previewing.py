"""What a network makes of the two planes across the middle of a stack, to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.isotropic.axial_model import AxialModel
from napari_hrsr.isotropic.making import plan_restoration
from napari_hrsr.isotropic.measuring import Measured
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.jobs import plan_job, start_job

_LONGEST = 384
"""Most source voxels along each axis of a plane."""


@dataclass(frozen=True, slots=True, eq=False)
class PlanePreview:
    """One plane across the slices, before and after.

    Attributes
    ----------
    axis : int
        Spatial axis, 0 to 2, that the plane stands upright on.
    position : int
        Where along it, in source voxels.
    interpolated, restored : ndarray
        Shape (coarse axis, other axis) or transposed, in the order of the
        array's axes; on the grid of the result, in the units of the source.
    """

    axis: int
    position: int
    interpolated: NDArray[np.float32]
    restored: NDArray[np.float32]


def preview_planes(
    measured: Measured,
    model: AxialModel | None,
    *,
    centre: Sequence[float] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[PlanePreview]:
    """Restore the two planes across the slices that meet in a point.

    Parameters
    ----------
    measured : Measured
        Of the stack.
    model : AxialModel or None
        None shows interpolation twice.
    centre : sequence of float, optional
        Where, in source voxels of the three spatial axes; by default the middle.
    cancelled : callable
        Polled between tiles.

    Returns
    -------
    list of PlanePreview
        Two, of the middle time point and channel.
    """
    stack, axes = measured.stack, measured.axes
    middle = list(centre) if centre is not None else [n / 2 for n in stack.shape]
    planes = []
    for upright in stack.lateral:
        window = []
        for axis, length in enumerate(stack.shape):
            taken = 1 if axis == upright else min(length, _LONGEST)
            start = int(min(max(0, middle[axis] - taken / 2), length - taken))
            window.append((start, start + taken))
        region: list[tuple[int, int] | None] = [(n // 2, n // 2 + 1) for n in measured.source.shape]
        for position, part in zip(axes.spatial, window, strict=True):
            region[position] = part
        factor = ["1", "1", "1"]
        factor[stack.axis] = str(stack.levels)
        cubic = plan_job(
            measured.source,
            f"cubic-{'x'.join(factor)}",
            axes=axes.names,
            dtype=np.float32,
            region=region,
            regrid=AxialRestoration(stack, measured.profile, 0.0),
        )
        jobs = [cubic]
        if model is not None:
            jobs.append(plan_restoration(measured, model, dtype=np.float32, region=region))
        pictures = []
        for job in jobs:
            out = np.zeros(job.shape, np.float32)
            for _ in start_job(job, out, measured.intensity, cancelled=cancelled):
                pass
            volume = out.reshape([job.shape[a] for a in axes.spatial])
            # A finer target makes several planes of one; the middle one is shown.
            pictures.append(np.take(volume, volume.shape[upright] // 2, axis=upright))
        planes.append(PlanePreview(upright, window[upright][0], pictures[0], pictures[-1]))
    return planes
