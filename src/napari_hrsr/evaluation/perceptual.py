"""Likeness of two planes as people see it, in closed form: HaarPSI, GMSD and MS-SSIM."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import correlate1d
from scipy.signal import convolve2d
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from napari_hrsr.evaluation.images import Image

_HAAR_CONSTANT = 30.0
_HAAR_SLOPE = 4.2
_HAAR_SCALES = 3
_GRADIENT_CONSTANT = 170.0
"""Constants of the papers, for intensities of 0 to 255."""

_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2
"""Constants of MS-SSIM, for intensities of 0 to 1."""

_PIECE = 1024
"""Longest side measured at once."""


def haarpsi(result: Image, reference: Image, *, low: float, span: float) -> float:
    """Return the Haar wavelet-based perceptual similarity index.

    Reisenhofer, Bosse, Kutyniok and Wiegand (2018), for grey planes, with the
    constants of the paper (C = 30, alpha = 4.2) and its averaging over 2 x 2
    pixels in front. Breger et al. (2025) found it closer to what experts see in
    medical images than PSNR and SSIM.

    Parameters
    ----------
    result, reference : ndarray
        Shape (Y, X), same units.
    low, span : float
        What is 0 on the scale of 0 to 255, and how much the scale spans.

    Returns
    -------
    float
        0 to 1; 1 for planes that are equal.
    """
    first, second = _halved(_scaled(result, low, span)), _halved(_scaled(reference, low, span))
    weighted = total = 0.0
    for axis in (0, 1):
        a = [np.abs(_haar(first, scale, axis)) for scale in range(1, _HAAR_SCALES + 1)]
        b = [np.abs(_haar(second, scale, axis)) for scale in range(1, _HAAR_SCALES + 1)]
        likeness = np.mean([_similar(a[s], b[s], _HAAR_CONSTANT) for s in range(2)], axis=0)
        weight = np.maximum(a[-1], b[-1])
        weighted += float((weight / (1 + np.exp(-_HAAR_SLOPE * likeness))).sum())
        total += float(weight.sum())
    if total == 0:
        return 1.0
    mean = weighted / total
    return float((math.log(mean / (1 - mean)) / _HAAR_SLOPE) ** 2)


def gmsd(result: Image, reference: Image, *, low: float, span: float) -> float:
    """Return the gradient magnitude similarity deviation.

    Xue, Zhang, Mou and Bovik (2014), with the constant of the paper (170 for
    intensities of 0 to 255) and its averaging over 2 x 2 pixels in front.

    Parameters
    ----------
    result, reference, low, span
        As for `haarpsi`.

    Returns
    -------
    float
        0 for planes that are equal, rising with their difference.
    """
    first, second = _halved(_scaled(result, low, span)), _halved(_scaled(reference, low, span))
    likeness = _similar(_gradient(first), _gradient(second), _GRADIENT_CONSTANT)
    return float(likeness.std())


def ms_ssim(result: Image, reference: Image, *, span: float) -> float:
    """Return the multi-scale structural similarity (Wang, Simoncelli and Bovik 2003).

    With a Gaussian window of 11 x 11 pixels (sigma 1.5), the constants 0.01 and
    0.03, and a mean over 2 x 2 pixels between two scales. Planes too small for
    five scales (below 176 pixels) are measured at fewer, whose weights are scaled
    up to a sum of one; of large planes it is the mean over pieces of at most 1024
    pixels a side.

    Parameters
    ----------
    result, reference : ndarray
        Shape (Y, X), same units.
    span : float
        Range of intensities.

    Returns
    -------
    float
        At most 1, for planes that are equal; NaN below 11 pixels a side.
    """
    values, sizes = [], []
    cuts = [max(1, -(-n // _PIECE)) for n in reference.shape]
    for rows in np.array_split(np.arange(reference.shape[0]), cuts[0]):
        for columns in np.array_split(np.arange(reference.shape[1]), cuts[1]):
            piece = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            values.append(_ms_ssim(result[piece] / span, reference[piece] / span))
            sizes.append(reference[piece].size)
    return float(np.average(values, weights=sizes))


def _ms_ssim(result: Image, reference: Image) -> float:
    side = min(reference.shape)
    # As torchmetrics asks for, and a window's size at the coarsest scale.
    fitting = [
        count
        for count in range(1, len(_SCALES) + 1)
        if side // max((count - 1) ** 2, 2 ** (count - 1)) >= _WINDOW
    ]
    if not fitting:
        return math.nan
    weights = np.array(_SCALES[: fitting[-1]])
    # Single precision would lose the variance of smooth planes, or on a high offset.
    first, second = (
        torch.from_numpy(x.astype(np.float64))[None, None] for x in (result, reference)
    )
    value = 1.0
    for scale, weight in enumerate(weights / weights.sum(), 1):
        # Only the coarsest scale tells whether planes are equally bright. It has
        # few pixels, so that all of them count; the others stay off the border.
        if scale == len(weights):
            first, second = (pad(x, [_WINDOW // 2] * 4, "reflect") for x in (first, second))
        luminance, contrast = _ssim_parts(first, second)
        likeness = float((luminance * contrast if scale == len(weights) else contrast).mean())
        value *= max(likeness, 0.0) ** float(weight)
        first, second = avg_pool2d(first, 2), avg_pool2d(second, 2)
    return value


def _ssim_parts(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the luminance, and the contrast with the structure, of a plane with range 1.

    Where the window lies inside the plane; shape (1, 1, Y - 10, X - 10).
    """
    moments = torch.cat([first, second, first * first, second * second, first * second])
    taps = torch.exp(-0.5 * ((torch.arange(_WINDOW, dtype=first.dtype) - _WINDOW // 2) / 1.5) ** 2)
    taps = taps / taps.sum()
    means = conv2d(conv2d(moments, taps[None, None, :, None]), taps[None, None, None])
    a, b, aa, bb, ab = means[:, None].unbind()
    luminance = (2 * a * b + _LUMINANCE) / (a * a + b * b + _LUMINANCE)
    # Rounding must not make a variance negative.
    power = (aa - a * a).clamp_min(0) + (bb - b * b).clamp_min(0)
    contrast = (2 * (ab - a * b) + _CONTRAST) / (power + _CONTRAST)
    return luminance, contrast


def _scaled(plane: Image, low: float, span: float) -> Image:
    return (plane - low) * (255.0 / span)


def _halved(plane: Image) -> Image:
    """Average 2 x 2 pixels and take every other, as both papers do."""
    # What lies outside is 0, and a window starts at its pixel: as MATLAB's conv2 does it.
    padded = np.pad(plane, ((0, 1), (0, 1)))
    mean = (padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]) / 4
    return np.asarray(mean[::2, ::2])


def _haar(plane: Image, scale: int, axis: int) -> Image:
    """Filter with an undecimated Haar wavelet of 2**scale pixels a side."""
    side = 2**scale
    box = np.ones(side)
    step = np.where(np.arange(side) < side // 2, -1.0, 1.0)
    across = correlate1d(plane, box, axis=1 - axis, mode="constant", origin=-1)
    return np.asarray(correlate1d(across, step, axis=axis, mode="constant", origin=-1) / side)


def _gradient(plane: Image) -> Image:
    prewitt = np.outer([1.0, 1.0, 1.0], [1.0, 0.0, -1.0]) / 3
    along = [convolve2d(plane, kernel, mode="same") for kernel in (prewitt, prewitt.T)]
    return np.asarray(np.hypot(*along))


def _similar(a: Image, b: Image, constant: float) -> Image:
    return np.asarray((2 * a * b + constant) / (a**2 + b**2 + constant))
