"""Convolution with a kernel of any shape, through Fourier space, and its adjoint.

From a kernel of some 30 values on this is faster than summing over the kernel.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_hrsr.forward.borders import extend, fold


def convolve(image: Tensor, kernel: np.ndarray) -> Tensor:
    """Convolve an image that is continued by its edge pixels.

    Parameters
    ----------
    image : Tensor
        Shape (..., *spatial), floating point.
    kernel : ndarray
        For the last axes of the image; every side odd.

    Returns
    -------
    Tensor
        Same shape and dtype.
    """
    reaches = _reaches(kernel)
    if not reaches:
        return image * float(kernel.sum())
    result = image.to(_precise(image))
    for axis, reach in reaches:
        result = extend(result, axis, reach, reach)
    result = _filtered(result, kernel, reaches, adjoint=False)
    for axis, reach in reaches:
        result = result.narrow(axis, 2 * reach, image.shape[axis])
    return result.to(image.dtype, memory_format=torch.contiguous_format)


def correlate(image: Tensor, kernel: np.ndarray) -> Tensor:
    """Apply the adjoint of `convolve`, exact up to the borders.

    Parameters
    ----------
    image : Tensor
        Shape (..., *spatial), floating point.
    kernel : ndarray
        For the last axes of the image; every side odd.

    Returns
    -------
    Tensor
        Same shape and dtype.
    """
    reaches = _reaches(kernel)
    if not reaches:
        return image * float(kernel.sum())
    result = image.to(_precise(image))
    for axis, reach in reaches:
        shape = list(result.shape)
        shape[axis] = 2 * reach
        result = torch.cat([result.new_zeros(shape), result], axis)
    result = _filtered(result, kernel, reaches, adjoint=True)
    for axis, reach in reaches:
        result = result.narrow(axis, 0, image.shape[axis] + 2 * reach)
        result = fold(result, axis, reach, reach)
    return result.to(image.dtype, memory_format=torch.contiguous_format)


def fast_length(length: int) -> int:
    """Return the next length that has no prime factor above 5.

    Parameters
    ----------
    length : int
        From 1 up.

    Returns
    -------
    int
        At least `length`.
    """
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _reaches(kernel: np.ndarray) -> list[tuple[int, int]]:
    """Return the axes that are blurred, counted from the last, and how far."""
    sides = enumerate(kernel.shape)
    return [(axis - kernel.ndim, side // 2) for axis, side in sides if side > 1]


def _filtered(
    extended: Tensor, kernel: np.ndarray, reaches: list[tuple[int, int]], *, adjoint: bool
) -> Tensor:
    """Convolve with wrapping around, at lengths at which a transform is fast."""
    axes = tuple(axis for axis, _ in reaches)
    lengths = tuple(fast_length(extended.shape[axis]) for axis in axes)
    values = torch.tensor(kernel, dtype=extended.dtype, device=extended.device)
    transfer = torch.fft.rfftn(values, s=lengths, dim=axes)
    spectrum = torch.fft.rfftn(extended, s=lengths, dim=axes)
    spectrum = spectrum * (transfer.conj() if adjoint else transfer)
    filtered: Tensor = torch.fft.irfftn(spectrum, s=lengths, dim=axes)
    return filtered


def _precise(image: Tensor) -> torch.dtype:
    """Return the dtype to transform in: half precision has no Fourier transform."""
    return torch.float64 if image.dtype == torch.float64 else torch.float32
