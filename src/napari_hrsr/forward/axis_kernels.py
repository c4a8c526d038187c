"""What a coarse pixel collects along one axis: blur and sampling in one short kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor

from napari_hrsr.forward.borders import extend, fold


def keys_cubic(distance: np.ndarray) -> np.ndarray:
    """Evaluate the cubic convolution kernel of Keys (1981) with a = -0.5.

    Parameters
    ----------
    distance : ndarray
        Distances in pixels, of any shape.

    Returns
    -------
    ndarray
        Weights of the same shape; zero from a distance of 2 on.
    """
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


@dataclass(frozen=True, slots=True)
class AxisKernel:
    """What one coarse pixel collects along one axis.

    Coarse pixel ``i`` is the sum over ``t`` of ``taps[t]`` times fine pixel
    ``factor * i + origin + t``. Beyond the border the image is continued by its
    edge pixels.

    Attributes
    ----------
    taps : tuple of float
        Weights; they add up to one.
    origin : int
        Position of the first tap against fine pixel ``factor * i``.
    factor : int
        Fine pixels in a coarse one.
    """

    taps: tuple[float, ...]
    origin: int
    factor: int

    @property
    def padding(self) -> tuple[int, int]:
        """Fine pixels read before the first and after the last of the image."""
        before = -self.origin
        after = self.origin + len(self.taps) - self.factor
        return max(before, 0), max(after, 0)

    @property
    def identity(self) -> bool:
        """Whether the kernel leaves an image as it is."""
        return self.taps == (1.0,) and self.origin == 0 and self.factor == 1

    def matrix(self, coarse: int) -> np.ndarray:
        """Return the operator without borders, for patches cut with a margin.

        Parameters
        ----------
        coarse : int
            Number of coarse pixels.

        Returns
        -------
        ndarray
            Shape (coarse, factor * (coarse - 1) + len(taps)); it is applied
            to fine pixels that start at `origin`.
        """
        out = np.zeros((coarse, self.factor * (coarse - 1) + len(self.taps)))
        for i in range(coarse):
            out[i, self.factor * i : self.factor * i + len(self.taps)] = self.taps
        return out

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
        if self.identity:
            return fine
        extended = extend(fine, axis, *self.padding)
        count = fine.shape[axis] // self.factor
        # Sums of strided views: several times faster than a convolution of one channel.
        coarse = self._read(extended, 0, count, axis) * self.taps[0]
        for tap, weight in enumerate(self.taps[1:], 1):
            coarse.add_(self._read(extended, tap, count, axis), alpha=weight)
        return coarse

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
        if self.identity:
            return coarse
        count = coarse.shape[axis]
        shape = list(coarse.shape)
        shape[axis] = count * self.factor + sum(self.padding)
        extended = coarse.new_zeros(shape)
        for tap, weight in enumerate(self.taps):
            self._read(extended, tap, count, axis).add_(coarse, alpha=weight)
        return fold(extended, axis, *self.padding)

    def _read(self, extended: Tensor, tap: int, count: int, axis: int) -> Tensor:
        """Return the view of the pixels that a tap reads, one for each coarse pixel."""
        start = self.padding[0] + self.origin + tap
        where = [slice(None)] * extended.ndim
        where[axis] = slice(start, start + self.factor * (count - 1) + 1, self.factor)
        return extended[tuple(where)]


@lru_cache(maxsize=256)
def axis_kernel(factor: int, psf_sigma: float, shape: str, fwhm: float = 0.0) -> AxisKernel:
    """Fold point spread function and sampling of one axis into one kernel.

    Parameters
    ----------
    factor : int
        Fine pixels in a coarse one.
    psf_sigma : float
        Standard deviation of the Gaussian point spread function, fine pixels.
    shape : str
        ``"area"``, ``"bicubic"`` or ``"point"``; or ``"gaussian"`` or
        ``"box"``, a slice profile of width `fwhm`.
    fwhm : float
        Full width at half maximum of the slice profile, fine pixels.

    Returns
    -------
    AxisKernel
    """
    centre = (factor - 1) / 2
    if shape == "gaussian":
        sigma = fwhm / math.sqrt(8 * math.log(2))
        reach = 4 * sigma
    else:
        width = {"area": factor, "box": fwhm, "point": 1.0, "bicubic": 0.0}[shape]
        reach = 2.0 * factor if shape == "bicubic" else width / 2 + 0.5
    first, last = math.ceil(centre - reach), math.floor(centre + reach)
    distance = np.arange(first, last + 1) - centre
    if shape == "gaussian":
        taps = np.exp(-0.5 * (distance / sigma) ** 2)
    elif shape == "bicubic":
        taps = keys_cubic(distance / factor)
    else:
        # The part of each fine pixel that a box of this width covers.
        taps = np.clip(width / 2 + 0.5 - np.abs(distance), 0.0, min(1.0, width))
    used = np.flatnonzero(np.abs(taps) > 1e-12)
    taps, first = taps[used[0] : used[-1] + 1], first + int(used[0])
    if psf_sigma > 0:
        taps, first = np.convolve(taps, gaussian_taps(psf_sigma)), first - gaussian_reach(psf_sigma)
    taps = taps / taps.sum()
    return AxisKernel(tuple(float(t) for t in taps), first, factor)


def gaussian_reach(sigma: float) -> int:
    """Return how many pixels a Gaussian is followed to either side.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    int
        Four standard deviations, rounded up; 0 for no blur.
    """
    return math.ceil(4 * sigma)


def gaussian_taps(sigma: float) -> np.ndarray:
    """Return a sampled Gaussian that adds up to one.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels, from 0 up.

    Returns
    -------
    ndarray
        Shape (2 * gaussian_reach(sigma) + 1,).
    """
    reach = gaussian_reach(sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-12)) ** 2)
    return np.asarray(taps / taps.sum())
