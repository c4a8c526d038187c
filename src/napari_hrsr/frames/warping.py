"""Frames that are turned or stretched: one sparse matrix each, and its transpose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from napari_hrsr.forward import ForwardModel, keys_cubic
from napari_hrsr.frames.motions import Motion


@dataclass(frozen=True, slots=True, eq=False)
class WarpedFrames:
    """Frames that are turned, stretched or sheared against the reference.

    Attributes
    ----------
    model : ForwardModel
        The instrument.
    matrices : tuple of csr_array
        One a frame, shape (coarse pixels, fine pixels).
    coarse, fine : tuple of int
        Shapes of the window.
    """

    model: ForwardModel
    matrices: tuple[csr_array, ...]
    coarse: tuple[int, ...]
    fine: tuple[int, ...]

    @classmethod
    def of(
        cls,
        model: ForwardModel,
        shape: Sequence[int],
        start: Sequence[int],
        motions: Sequence[Motion],
        offsets: NDArray[np.int64],
    ) -> WarpedFrames:
        """Make the operator of a window.

        Parameters
        ----------
        model : ForwardModel
            The instrument.
        shape : sequence of int
            Of the window, in pixels of the frames.
        start : sequence of int
            First pixel of the window in the reference.
        motions : sequence of Motion
            Of the frames.
        offsets : ndarray, shape (frames, axes)
            First pixels of the windows of the frames less `start`.
        """
        fine = tuple(n * k for n, k in zip(shape, model.factor, strict=True))
        matrices = tuple(
            _warped_matrix(model, shape, start, motion, offset)
            for motion, offset in zip(motions, offsets, strict=True)
        )
        return cls(model, matrices, tuple(shape), fine)

    def apply(self, fine: Tensor) -> Tensor:
        """Return the frames of a fine image; see `Frames`."""
        spread = self.model.point_spread
        values = (fine if spread is None else spread.apply(fine)).reshape(-1).numpy()
        frames = np.stack([m @ values for m in self.matrices])
        return torch.from_numpy(frames).reshape(-1, *self.coarse)

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Apply the transposed operator; see `Frames`."""
        fine = self._back(coarse, self.matrices)
        spread = self.model.point_spread
        return fine if spread is None else spread.adjoint(fine)

    def diagonal(self, weights: Tensor) -> Tensor:
        """Return a diagonal to scale by; the point spread function is left out."""
        return self._back(weights, [m.power(2) for m in self.matrices])

    def _back(self, coarse: Tensor, matrices: Sequence[csr_array]) -> Tensor:
        lines = coarse.reshape(len(matrices), -1).numpy()
        fine = sum(m.T @ line for m, line in zip(matrices, lines, strict=True))
        return torch.from_numpy(np.asarray(fine, np.float32)).reshape(self.fine)


def _warped_matrix(
    model: ForwardModel,
    shape: Sequence[int],
    start: Sequence[int],
    motion: Motion,
    offset: NDArray[np.int64],
) -> csr_array:
    """Return what takes the fine window to one frame: samples over each pixel, interpolated."""
    factor = np.array(model.factor)
    ndim = len(factor)
    fine = np.array(shape) * factor
    pixels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, ndim)
    kernels = model.kernels
    taps = [
        [((k.origin + t - (f - 1) / 2) / f, w) for t, w in enumerate(k.taps)]
        for k, f in zip(kernels, model.factor, strict=True)
    ]
    columns, values = [], []
    for chosen in itertools.product(*taps):
        inside = np.array([place for place, _ in chosen])
        weight = float(np.prod([w for _, w in chosen]))
        seen = motion.to_reference(pixels + inside + np.array(start) + offset) - np.array(start)
        column, share = _interpolating((seen + 0.5) * factor - 0.5, fine)
        columns.append(column)
        values.append(weight * share)
    column, value = np.concatenate(columns, 1), np.concatenate(values, 1).astype(np.float32)
    # Rows are of one length, so nothing has to be sorted to find them.
    rows = np.arange(0, column.size + 1, column.shape[1])
    matrix = csr_array(
        (value.ravel(), column.ravel(), rows), shape=(len(pixels), int(np.prod(fine)))
    )
    matrix.sum_duplicates()
    return matrix


def _interpolating(
    position: NDArray[np.float64], fine: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return which pixels are read between them, and their weights by Keys' cubic kernel."""
    count, ndim = position.shape
    columns: NDArray[np.int32] = np.zeros((count, 1), np.int32)
    values = np.ones((count, 1))
    for axis in range(ndim):
        first = np.floor(position[:, axis]).astype(np.int32) - 1
        near = first[:, None] + np.arange(4, dtype=np.int32)
        share = keys_cubic(position[:, axis, None] - near)
        near = np.clip(near, 0, np.int32(fine[axis] - 1))
        joined = columns[:, :, None] * np.int32(fine[axis]) + near[:, None]
        columns = joined.reshape(count, -1).astype(np.int32)
        values = (values[:, :, None] * share[:, None]).reshape(count, -1)
    return columns, values
