"""The instrument: how a fine image becomes the coarse one that was recorded.

Everything here is linear and separable, so one short kernel an axis says it
all: the point spread function, the profile of a slice and the area of a pixel
are folded into it, and the stride is the sampling factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_hrsr.errors import InputError

Sampling = Literal["area", "point", "bicubic"]
SliceProfile = Literal["gaussian", "box"]


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
    ``factor * i + origin + t``.

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


@dataclass(frozen=True, slots=True)
class ForwardModel:
    """Blur and sampling as one linear operator with an exact adjoint.

    The grids share their outer edges: coarse pixel ``i`` is centred on fine
    position ``(i + 0.5) * factor - 0.5``. Beyond the border the image is
    continued by its edge pixels.

    Attributes
    ----------
    factor : tuple of int
        Fine pixels in a coarse one, per axis.
    psf_sigma : tuple of float
        Standard deviation of a Gaussian point spread function in fine pixels,
        per axis; empty for none.
    sampling : str
        ``"area"``: a pixel integrates over its area, as a camera's does;
        ``"bicubic"``: antialiased bicubic downsampling (Keys' kernel with
        a = -0.5, stretched by the factor), as MATLAB's ``imresize`` and
        torch's ``antialias=True`` do it; ``"point"``: the value at the centre.
    slice_axis : int or None
        An axis along which slices were taken; `slice_profile` replaces
        `sampling` there.
    slice_fwhm : float
        Full width at half maximum of the slice profile in fine pixels.
    slice_profile : str
        ``"gaussian"`` (selective excitation in MRI) or ``"box"`` (averaged slices).

    Raises
    ------
    InputError
        If a factor, width or axis makes no sense.
    """

    factor: tuple[int, ...]
    psf_sigma: tuple[float, ...] = ()
    sampling: Sampling = "area"
    slice_axis: int | None = None
    slice_fwhm: float = 0.0
    slice_profile: SliceProfile = "gaussian"

    def __post_init__(self) -> None:
        if not self.factor or any(k < 1 for k in self.factor):
            msg = f"factor must hold one positive whole number an axis, got {self.factor!r}"
            raise InputError(msg)
        if not self.psf_sigma:
            object.__setattr__(self, "psf_sigma", (0.0,) * self.ndim)
        if len(self.psf_sigma) != self.ndim or any(s < 0 for s in self.psf_sigma):
            msg = f"psf_sigma must hold {self.ndim} numbers from 0 up, got {self.psf_sigma!r}"
            raise InputError(msg)
        if self.sampling not in get_args(Sampling):
            msg = f"sampling must be one of {get_args(Sampling)}, got {self.sampling!r}"
            raise InputError(msg)
        if self.slice_profile not in get_args(SliceProfile):
            msg = (
                f"slice_profile must be one of {get_args(SliceProfile)}, got {self.slice_profile!r}"
            )
            raise InputError(msg)
        if self.slice_axis is not None:
            if not 0 <= self.slice_axis < self.ndim:
                msg = f"slice_axis must be 0 to {self.ndim - 1}, got {self.slice_axis}"
                raise InputError(msg)
            if not self.slice_fwhm > 0:
                msg = f"slice_fwhm must be above 0 fine pixels, got {self.slice_fwhm}"
                raise InputError(msg)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.factor)

    @property
    def kernels(self) -> tuple[AxisKernel, ...]:
        """Return the kernel of each axis."""
        return tuple(self._kernel(axis) for axis in range(self.ndim))

    def _kernel(self, axis: int) -> AxisKernel:
        sliced = axis == self.slice_axis
        shape = self.slice_profile if sliced else self.sampling
        fwhm = self.slice_fwhm if sliced else 0.0
        return axis_kernel(self.factor[axis], float(self.psf_sigma[axis]), shape, float(fwhm))

    def apply(self, fine: Tensor) -> Tensor:
        """Form the coarse image.

        Parameters
        ----------
        fine : Tensor
            Shape (..., *spatial), floating point; each spatial length must be a
            multiple of the factor.

        Returns
        -------
        Tensor
            Shape (..., *(spatial // factor)), same dtype and units.

        Raises
        ------
        InputError
            If a length is no multiple of the factor.
        """
        for axis, kernel in enumerate(self.kernels):
            length = fine.shape[axis - self.ndim]
            if length % kernel.factor or not length:
                msg = (
                    f"axis {axis} has {length} pixels, which is no multiple of the factor "
                    f"{kernel.factor}: crop it first"
                )
                raise InputError(msg)
            fine = _collect(fine, kernel, axis - self.ndim)
        return fine

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Apply the transposed operator, exact up to the borders.

        Parameters
        ----------
        coarse : Tensor
            Shape (..., *spatial), floating point.

        Returns
        -------
        Tensor
            Shape (..., *(spatial * factor)), so that
            ``(apply(x) * y).sum() == (x * adjoint(y)).sum()``.
        """
        for axis, kernel in enumerate(self.kernels):
            coarse = _spread(coarse, kernel, axis - self.ndim)
        return coarse


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
        radius = max(1, math.ceil(4 * psf_sigma))
        blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / psf_sigma) ** 2)
        taps, first = np.convolve(taps, blur / blur.sum()), first - radius
    taps = taps / taps.sum()
    return AxisKernel(tuple(float(t) for t in taps), first, factor)


def _folded(x: Tensor, axis: int) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """Return x as (before, 1, length, after), and the shapes to go back with."""
    before, after = tuple(x.shape[:axis]), tuple(x.shape[axis:][1:])
    return x.reshape(math.prod(before), 1, x.shape[axis], math.prod(after)), before, after


def _taps(kernel: AxisKernel, like: Tensor) -> Tensor:
    return torch.tensor(kernel.taps, dtype=like.dtype, device=like.device)[None, None, :, None]


def _collect(x: Tensor, kernel: AxisKernel, axis: int) -> Tensor:
    folded, before, after = _folded(x, axis)
    low, high = kernel.padding
    padded = F.pad(folded, (0, 0, low, high), mode="replicate")[:, :, low + kernel.origin :]
    y = F.conv2d(padded, _taps(kernel, x), stride=(kernel.factor, 1))
    return y.reshape(*before, x.shape[axis] // kernel.factor, *after)


def _spread(y: Tensor, kernel: AxisKernel, axis: int) -> Tensor:
    folded, before, after = _folded(y, axis)
    length = y.shape[axis] * kernel.factor
    low, high = kernel.padding
    spread = F.conv_transpose2d(folded, _taps(kernel, y), stride=(kernel.factor, 1))
    # The taps may start inside the image or end before its last pixel.
    skipped = low + kernel.origin
    missing = max(0, length + low + high - skipped - spread.shape[2])
    spread = F.pad(spread, (0, 0, skipped, missing))
    x = spread[:, :, low : low + length].clone()
    # What was read beyond the border was a copy of the edge pixel.
    x[:, :, 0] += spread[:, :, :low].sum(2)
    x[:, :, -1] += spread[:, :, low + length :].sum(2)
    return x.reshape(*before, length, *after)
