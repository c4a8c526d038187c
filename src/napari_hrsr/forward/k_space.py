"""Sampling as MRI does it: only the centre of k-space is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class KSpaceTruncation:
    """Keeps the frequencies below the coarse grid's limit, along one axis.

    The coarse grid shares its outer edges with the fine one, so its pixels lie
    between the fine ones; the phase ramp of that shift is included. The mean is
    kept. The image is continued by its mirror image: a scanner sees the whole
    field of view, which wraps around, but the opposite borders of a cut patch
    have nothing to do with each other. (Of a patch cut from a head, this is
    nearer to the patch of the truncated head than wrapping is.) The Fourier
    series of an image continued so is its discrete cosine transform.

    Attributes
    ----------
    factor : int
        Fine pixels in a coarse one.
    apodisation : float
        Fraction of the kept band that a Tukey window tapers down to zero, to
        lessen the ringing at edges: 0 for none, 1 for a Hann window.
    """

    factor: int
    apodisation: float = 0.0

    def collect(self, fine: Tensor, axis: int) -> Tensor:
        """Form coarse pixels along one axis.

        Parameters
        ----------
        fine : Tensor
            Any shape, floating point; the length is a multiple of the factor.
        axis : int
            Axis to collect along.

        Returns
        -------
        Tensor
            Shorter by the factor along the axis.
        """
        return _along(
            truncation_matrix(fine.shape[axis], self.factor, self.apodisation), fine, axis
        )

    def spread(self, coarse: Tensor, axis: int) -> Tensor:
        """Apply the adjoint of `collect`.

        Parameters
        ----------
        coarse : Tensor
            Any shape, floating point.
        axis : int
            Axis to spread along.

        Returns
        -------
        Tensor
            Longer by the factor along the axis.
        """
        length = coarse.shape[axis] * self.factor
        return _along(truncation_matrix(length, self.factor, self.apodisation).T, coarse, axis)


@lru_cache(maxsize=16)
def truncation_matrix(length: int, factor: int, apodisation: float) -> np.ndarray:
    """Return the truncation as a matrix.

    Up to a thousand pixels a product with it takes less time than transforming
    to and fro.

    Parameters
    ----------
    length : int
        Fine pixels, a multiple of the factor.
    factor : int
        Fine pixels in a coarse one.
    apodisation : float
        See `KSpaceTruncation`.

    Returns
    -------
    ndarray
        Shape (length // factor, length), float64, read-only; each row adds up to one.
    """
    coarse = length // factor
    frequency = np.arange(coarse)
    weights = np.where(frequency == 0, 1.0, 2.0) * tukey(frequency / coarse, apodisation) / length
    matrix = (_cosines(coarse, coarse).T * weights) @ _cosines(coarse, length)
    matrix.setflags(write=False)
    return np.asarray(matrix)


def tukey(position: np.ndarray, fraction: float) -> np.ndarray:
    """Evaluate one half of a Tukey window.

    Parameters
    ----------
    position : ndarray
        0 in the middle of the window, 1 at its end.
    fraction : float
        Part of the half that is tapered: 0 for a box, 1 for a Hann window.

    Returns
    -------
    ndarray
        Weights from 1 down to 0, of the same shape.
    """
    if fraction == 0:
        return np.ones_like(position, dtype=np.float64)
    tapered = np.clip((position - (1 - fraction)) / fraction, 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * tapered))


def _cosines(frequencies: int, pixels: int) -> np.ndarray:
    k, position = np.arange(frequencies)[:, None], np.arange(pixels) + 0.5
    return np.asarray(np.cos(np.pi / pixels * k * position))


def _along(matrix: np.ndarray, image: Tensor, axis: int) -> Tensor:
    operator = torch.tensor(matrix, dtype=image.dtype, device=image.device)
    return (image.movedim(axis, -1) @ operator.T).movedim(-1, axis).contiguous()
