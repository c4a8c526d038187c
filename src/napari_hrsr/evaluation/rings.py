"""Rings and shells of equal spatial frequency, in cycles per world unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.fft
from scipy.signal.windows import tukey

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import Image

Window = Literal["tukey", "hann", "none"]

TUKEY = 0.25
"""Share of each axis that fades out, half of it at either end (Nieuwenhuizen et al. 2013)."""

SHORTEST = 8
"""Pixels that each axis must have at least."""

_LARGE = 2**25
"""Voxels from which on transforms are taken in single precision, for their memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """The frequencies of a real image's Fourier transform, sorted into rings.

    Attributes
    ----------
    frequency : ndarray
        Shape (rings,), mean of each ring in cycles per world unit, rising. The
        mean of the image is in none of them.
    members : ndarray
        Shape (rings,), entries of the full transform in each ring.
    nyquist : tuple of float
        Per axis, in cycles per world unit.
    radius : ndarray
        Shape of ``rfftn``'s result: the frequency of each entry.
    ring : ndarray
        Same shape, integer: the ring of each entry, or the number of rings for
        those that are in none.
    weight : ndarray
        Same shape: how many entries of the full transform each stands for.
    """

    frequency: Image
    members: Image
    nyquist: tuple[float, ...]
    radius: Image
    ring: np.ndarray
    weight: Image

    def total(self, values: np.ndarray) -> Image:
        """Add up what belongs to each ring, over the whole transform.

        Parameters
        ----------
        values : ndarray
            Shape of ``rfftn``'s result, real.

        Returns
        -------
        ndarray
            Shape (rings,).
        """
        count = len(self.frequency)
        sums = np.bincount(self.ring.ravel(), (self.weight * values).ravel(), minlength=count + 1)
        return np.asarray(sums[:count], dtype=np.float64)


def sort_frequencies(shape: Sequence[int], voxel_size: Sequence[float]) -> Rings:
    """Sort the frequencies of an image into rings (shells in 3D).

    A ring is as wide as the coarsest step of frequency among the axes, so that
    none is empty. Rings go up to the highest of the axes' Nyquist frequencies;
    beyond that of an axis they hold only directions that are sampled finely
    enough.

    Parameters
    ----------
    shape : sequence of int
        Of the image; at least 8 pixels an axis.
    voxel_size : sequence of float
        World units per pixel, per axis.

    Raises
    ------
    InputError
        If an axis is too short.
    """
    if min(shape) < SHORTEST:
        msg = f"need at least {SHORTEST} pixels along every axis, got shape {tuple(shape)}"
        raise InputError(msg)
    ndim = len(shape)
    along = [np.fft.fftfreq(n, d) for n, d in zip(shape[:-1], voxel_size[:-1], strict=True)]
    along.append(np.fft.rfftfreq(shape[-1], voxel_size[-1]))
    radius = np.zeros(())
    for axis, values in enumerate(along):
        radius = radius + np.square(values).reshape([-1 if a == axis else 1 for a in range(ndim)])
    radius = np.sqrt(radius)
    nyquist = tuple(0.5 / d for d in voxel_size)
    width = max(1 / (n * d) for n, d in zip(shape, voxel_size, strict=True))
    # Rings are centred on whole steps, so that the first holds the lowest frequencies of all.
    count = max(1, int(max(nyquist) / width + 1e-9))
    ring = np.floor(radius / width + 0.5).astype(np.int64) - 1
    outside = (ring < 0) | (ring >= count) | (radius > max(nyquist) * (1 + 1e-9))
    ring[outside] = count
    weight = np.full(radius.shape, 2.0)
    weight[..., 0] = 1.0
    if shape[-1] % 2 == 0:
        weight[..., -1] = 1.0
    unsorted = Rings(np.zeros(count), np.zeros(count), nyquist, radius, ring, weight)
    members = unsorted.total(np.ones(radius.shape))
    frequency = unsorted.total(radius) / np.maximum(members, 1)
    return Rings(frequency, members, nyquist, radius, ring, weight)


def faded(image: Image, window: Window) -> Image:
    """Take off the mean and fade an image out towards its border.

    Without that the jump between opposite borders fills all frequencies along
    the axes.

    Parameters
    ----------
    image : ndarray
        Any number of axes.
    window : str
        ``"tukey"`` (an eighth of the length at either end), ``"hann"`` or ``"none"``.

    Raises
    ------
    InputError
        If the window is not known.
    """
    if window not in get_args(Window):
        msg = f"window must be one of {get_args(Window)}, got {window!r}"
        raise InputError(msg)
    result: Image = image - image.mean()
    if window == "none":
        return result
    for axis, length in enumerate(image.shape):
        # Two more than there are: the outermost would be zero, and the pixels lost.
        fade = tukey(length + 2, TUKEY if window == "tukey" else 1.0)[1:-1]
        result = result * fade.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    return np.asarray(result - result.mean())


def spectrum(image: Image) -> np.ndarray:
    """Return the half transform of a real image, single precision for large ones."""
    precise = image if image.size < _LARGE else image.astype(np.float32)
    return np.asarray(scipy.fft.rfftn(precise))
