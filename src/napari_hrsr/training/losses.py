"""What a result costs against its truth: small numbers are better.

Each loss takes a result and a truth of the same shape (N, C, *spatial), with
2 or 3 spatial axes, black and white near 0 and 1, and returns a scalar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_hrsr.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Called with result and truth, returns a scalar."""

SSIM_WINDOW = 7
"""Pixels along each side of the window in which `ssim` compares."""

_POOLS: Mapping[int, Callable[..., Tensor]] = {2: F.avg_pool2d, 3: F.avg_pool3d}


def l1(result: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute difference.

    Parameters
    ----------
    result, truth : Tensor
        Same shape.

    Returns
    -------
    Tensor
        Scalar.
    """
    return (result - truth).abs().mean()


def charbonnier(result: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Return the mean of ``sqrt(difference ** 2 + epsilon ** 2)``.

    The absolute difference, rounded off at zero (Charbonnier et al. 1994).

    Parameters
    ----------
    result, truth : Tensor
        Same shape.
    epsilon : float
        Below about this difference the loss is quadratic.

    Returns
    -------
    Tensor
        Scalar.
    """
    return torch.sqrt((result - truth).square() + epsilon**2).mean()


def mse(result: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared difference.

    Parameters
    ----------
    result, truth : Tensor
        Same shape.

    Returns
    -------
    Tensor
        Scalar.
    """
    return (result - truth).square().mean()


def ssim(result: Tensor, truth: Tensor) -> Tensor:
    """Return one minus the structural similarity (Wang et al. 2004).

    Means, variances and covariance are taken in boxes of 7 pixels a side (less
    where an axis is shorter) that lie inside the image, for a range of 1. Box
    sums cost the same in 2D and 3D; a Gaussian window is many times slower.

    Parameters
    ----------
    result, truth : Tensor
        Shape (N, C, *spatial), 2 or 3 spatial axes.

    Returns
    -------
    Tensor
        Scalar from 0 (equal) to 2.
    """
    spatial = truth.shape[2:]
    window = tuple(min(SSIM_WINDOW, n if n % 2 else n - 1) or 1 for n in spatial)
    pool = _POOLS[len(spatial)]

    def local_mean(x: Tensor) -> Tensor:
        return pool(x, window, stride=1)

    mean_r, mean_t = local_mean(result), local_mean(truth)
    variance_r = local_mean(result.square()) - mean_r.square()
    variance_t = local_mean(truth.square()) - mean_t.square()
    covariance = local_mean(result * truth) - mean_r * mean_t
    # The constants of the paper, for a range of 1.
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_r * mean_t + c1) / (mean_r.square() + mean_t.square() + c1)
    # Rounding can leave a variance slightly below zero.
    spread = variance_r.clamp(min=0.0) + variance_t.clamp(min=0.0)
    structure = (2 * covariance + c2) / (spread + c2)
    return 1 - (luminance * structure).mean()


def frequency(result: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute difference of the complex Fourier spectra.

    Phase and strength of every frequency count alike, where a loss on pixels
    is ruled by the strong low ones (without the focal weights of Jiang et al.,
    Focal Frequency Loss, 2021). Scaled so that for white differences it equals
    `l1`.

    Parameters
    ----------
    result, truth : Tensor
        Shape (N, C, *spatial).

    Returns
    -------
    Tensor
        Scalar.
    """
    axes = tuple(range(2, truth.ndim))
    # Float32, since half precision has no transform of arbitrary lengths.
    spectrum = torch.fft.fftn((result - truth).float(), dim=axes, norm="ortho")
    # The mean modulus of real noise over that of complex noise.
    mean: Tensor = spectrum.abs().mean() * (math.sqrt(8) / math.pi)
    return mean


LOSSES: Mapping[str, Loss] = {
    "charbonnier": charbonnier,
    "frequency": frequency,
    "l1": l1,
    "mse": mse,
    "ssim": ssim,
}
"""The losses by the names that a configuration uses."""


def combined(weights: Mapping[str, float]) -> Loss:
    """Return the weighted sum of some losses.

    Parameters
    ----------
    weights : Mapping of str to float
        Weight by name, for example ``{"charbonnier": 1.0, "frequency": 0.05}``;
        names are those of `LOSSES`, weights are zero or more and not all zero.

    Returns
    -------
    callable
        Takes result and truth of shape (N, C, *spatial), returns a scalar.

    Raises
    ------
    InputError
        If a name is unknown, or a weight makes no sense.
    """
    for name, weight in weights.items():
        if name not in LOSSES:
            msg = f"unknown loss {name!r}: choose from {', '.join(sorted(LOSSES))}"
            raise InputError(msg)
        if not (math.isfinite(weight) and weight >= 0):
            msg = f"the weight of loss {name!r} must be a number from 0 up, got {weight!r}"
            raise InputError(msg)
    chosen = [(LOSSES[name], float(weight)) for name, weight in weights.items() if weight > 0]
    if not chosen:
        msg = f"no loss has a weight above 0: give one, for example charbonnier = 1.0 ({weights!r})"
        raise InputError(msg)

    def total(result: Tensor, truth: Tensor) -> Tensor:
        return torch.stack([weight * loss(result, truth) for loss, weight in chosen]).sum()

    return total
