"""What follows the network: the wanted grid, held to what was measured.

Everything here is linear, so each tile is two small products of matrices
along the coarse axis::

    network's grid --R--> wanted grid --+--> result = x + gain * K (y - A x)
                                        |
    measured slices y ------------------+    A makes slices of a fine stack,
                                             K = A' (A A')^-1 is its pseudo-inverse

With a gain of one the result, sliced again, gives the measured slices exactly
(the projection onto all stacks that do). Where the slices are noisy that
would put their noise into the result: the gain is then smaller.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.isotropic.stack import Stack
from napari_hrsr.regridding import (
    Interval,
    resampling_margin,
    resampling_matrix,
    result_bounds,
)

_FADED = 1e-6
"""What the influence of a distant slice may be and count as none, over that of the slice itself."""

_LONGEST = 64
"""Slices after which an influence that does not fade is cut off."""

_DAMPING = 0.03
"""Energy of A A' over its largest, below which a direction counts as erased: a
profile half as wide again as the distance of the slices leaves little of fine
detail, and to demand what is left exactly would multiply its noise."""


@dataclass(frozen=True)
class AxialRestoration:
    """From the network's grid to the wanted one, and back to the measurement.

    A `Regrid`.

    Attributes
    ----------
    stack : Stack
        The grids.
    profile : AxialProfile
        Of the slices.
    gain : float
        Share of what the measurement disagrees with that is put right: 1 for
        clean slices, 0 for the network alone.
    """

    stack: Stack
    profile: AxialProfile
    gain: float = 1.0

    @property
    def factor(self) -> tuple[float, ...]:
        """Voxels of the result in one of the source, per axis."""
        return self.stack.factor

    @functools.cached_property
    def margin(self) -> tuple[int, ...]:
        """Source voxels around a tile's body that it needs, per axis."""
        stack = self.stack
        margin = [0, 0, 0]
        for axis in stack.lateral:
            step = stack.target[axis] / stack.spacing[axis]
            if not math.isclose(step, 1.0, rel_tol=1e-9):
                margin[axis] = math.ceil(resampling_margin(step)) + 1
        step, detail = self.axial_step
        around = 0
        if not math.isclose(step, 1.0, rel_tol=1e-9):
            around = math.ceil(resampling_margin(step, detail) / stack.levels) + 1
        margin[stack.axis] = around + (self._influence() if self.gain else 0)
        return tuple(margin)

    def at(self, index: Sequence[int]) -> AxialRestoration:
        """Return the step for an index along the looped axes: this one."""
        return self

    def __call__(
        self,
        upscaled: NDArray[np.float32],
        measured: NDArray[np.float32],
        window: Sequence[Interval],
        body: Sequence[Interval],
    ) -> NDArray[np.float32]:
        """Compute the result in a body; see `Regrid`."""
        stack = self.stack
        from_network, from_slices = _axial(self, window[stack.axis], body[stack.axis])
        where = 1 + stack.axis
        result = _along(from_network, upscaled, where)
        if self.gain:
            result += _along(from_slices, measured, where)
        for axis in stack.lateral:
            matrix = self._lateral(axis, window[axis], body[axis])
            if matrix is not None:
                result = _along(matrix, result, 1 + axis)
        return result

    @property
    def axial_step(self) -> tuple[float, float]:
        """Width of the result's voxels, and of a slice's pixels, in the network's."""
        stack = self.stack
        made = stack.spacing[stack.axis] / stack.levels
        return stack.target[stack.axis] / made, max(1.0, stack.pixel / made)

    def _lateral(self, axis: int, window: Interval, body: Interval) -> NDArray[np.float32] | None:
        stack = self.stack
        step = stack.target[axis] / stack.spacing[axis]
        if math.isclose(step, 1.0, rel_tol=1e-9):
            start = body[0] - window[0]
            whole = body == window
            return (
                None
                if whole
                else np.eye(body[1] - body[0], window[1] - window[0], start, dtype=np.float32)
            )
        begin, end = result_bounds(*body, stack.shape[axis], stack.factor[axis])
        offset = (begin + 0.5) * step - 0.5 - window[0]
        matrix = resampling_matrix(window[1] - window[0], end - begin, step=step, offset=offset)
        return matrix.astype(np.float32)

    @functools.cached_property
    def damping(self) -> float:
        """What is added to the diagonal of A A' before it is inverted: 0 unless it must be."""
        recorded = self._sample()
        energies = np.linalg.eigvalsh(recorded @ recorded.T)
        return 0.0 if energies[0] > _DAMPING * energies[-1] else float(_DAMPING * energies[-1])

    def _influence(self) -> int:
        """Count the slices to either side that a slice's correction depends on."""
        back = np.abs(_pseudo_inverse(self._sample(), self.damping))
        count, factor = 2 * _LONGEST + 1, self.stack.factor[self.stack.axis]
        start, stop = result_bounds(_LONGEST, _LONGEST + 1, count, factor)
        strength = back[start:stop].max(0)
        far = np.flatnonzero(strength > _FADED * strength.max())
        inverse = max(_LONGEST - int(far[0]), int(far[-1]) - _LONGEST)
        return min(_LONGEST, inverse) + math.ceil(self.profile.reach) + 1

    def _sample(self) -> NDArray[np.float64]:
        """Return the operator A of a stack that is long enough to have a middle."""
        count, factor = 2 * _LONGEST + 1, self.stack.factor[self.stack.axis]
        return slice_matrix(self.profile, factor, count, math.ceil(count * factor))


@functools.lru_cache(maxsize=64)
def _axial(
    restoration: AxialRestoration, window: Interval, body: Interval
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is applied to the network's result and to the measured slices."""
    stack, gain = restoration.stack, restoration.gain
    factor, length = stack.factor[stack.axis], stack.shape[stack.axis]
    slices = window[1] - window[0]
    first, last = result_bounds(*window, length, factor)
    step, detail = restoration.axial_step
    # Centre of the first voxel of the result, counted in the network's from the window on.
    offset = ((first + 0.5) / factor - window[0]) * stack.levels - 0.5
    resample = resampling_matrix(
        slices * stack.levels, last - first, step=step, offset=offset, detail=detail
    )
    begin, end = result_bounds(*body, length, factor)
    kept = slice(begin - first, end - first)
    if not gain:
        return resample[kept].astype(np.float32), np.zeros((end - begin, slices), np.float32)
    recorded = slice_matrix(
        restoration.profile,
        factor,
        slices,
        last - first,
        first_slice=window[0],
        first_voxel=first,
    )
    back = gain * _pseudo_inverse(recorded, restoration.damping)[kept]
    from_network = resample[kept] - back @ (recorded @ resample)
    return from_network.astype(np.float32), back.astype(np.float32)


def _pseudo_inverse(recorded: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Return ``A' (A A' + damping)^-1``."""
    energy = recorded @ recorded.T
    energy[np.diag_indices_from(energy)] += damping
    return np.asarray(np.linalg.solve(energy, recorded).T)


def _along(
    matrix: NDArray[np.float32], block: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Apply a matrix along one axis of a block."""
    return np.moveaxis(np.tensordot(matrix, block, (1, axis)), 0, axis)
