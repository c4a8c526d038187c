"""Losses on the strength and the place of detail, ring by ring of frequency.

A network that is trained to be right on average leaves out what it is not
sure of: its results are too weak at high frequencies. `power_loss` asks for
the strength of the truth there. `correlation_loss` asks that the detail is
where the truth has it, and does not mind its strength: it keeps the first
from being served with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from napari_hrsr.training.spectrum import hann, rings

_FLOOR = 1e-7
"""Power below which detail does not count: 0.03 per cent of white, as noise in every pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class RingTotals:
    """Result and truth by ring, differentiable.

    Attributes
    ----------
    result_power, truth_power, shared : Tensor
        Shape (N, C, rings): mean powers, and mean real part of the cross spectrum.
    """

    result_power: Tensor
    truth_power: Tensor
    shared: Tensor


def ring_totals(result: Tensor, truth: Tensor, lowest: float) -> RingTotals:
    """Compare patches in rings of frequency.

    Rings are twice as wide as those of `compare_rings`, because a patch has
    few pixels in each.

    Parameters
    ----------
    result, truth : Tensor
        Shape (N, C, *spatial).
    lowest : float
        Where the rings begin, as a fraction of the Nyquist frequency, below 1.

    Returns
    -------
    RingTotals
    """
    first, second = _spectrum(result), _spectrum(truth)
    sorting = _sorting(tuple(truth.shape[2:]), lowest).to(first.real)

    def mean(values: Tensor) -> Tensor:
        return values.flatten(2) @ sorting

    return RingTotals(
        mean(first.abs().square()),
        mean(second.abs().square()),
        mean((first * second.conj()).real),
    )


def power_loss(totals: RingTotals) -> Tensor:
    """Return the mean absolute natural logarithm of the ratio of powers.

    Parameters
    ----------
    totals : RingTotals
        Of a result and its truth.

    Returns
    -------
    Tensor
        Scalar; 0 where the spectra agree.
    """
    ratio = (totals.result_power + _FLOOR) / (totals.truth_power + _FLOOR)
    return ratio.log().abs().mean()


def correlation_loss(totals: RingTotals) -> Tensor:
    """Return one minus the mean Fourier ring correlation.

    Parameters
    ----------
    totals : RingTotals
        Of a result and its truth.

    Returns
    -------
    Tensor
        Scalar; 0 where the result is the truth times a factor, 1 for noise.
    """
    powers = (totals.result_power + _FLOOR) * (totals.truth_power + _FLOOR)
    return 1 - (totals.shared / powers.sqrt()).mean()


def _spectrum(images: Tensor) -> Tensor:
    axes = tuple(range(2, images.ndim))
    centred = images.float() - images.float().mean(axes, keepdim=True)
    for axis in axes:
        shape = [-1 if a == axis else 1 for a in range(images.ndim)]
        window = torch.from_numpy(hann(images.shape[axis])).to(centred)
        centred = centred * window.reshape(shape)
    spectrum: Tensor = torch.fft.rfftn(centred, dim=axes, norm="ortho")
    return spectrum


@lru_cache(maxsize=16)
def _sorting(shape: tuple[int, ...], lowest: float) -> Tensor:
    """Return the matrix that averages the entries of a spectrum within each ring."""
    count = max(1, min(shape) // 4)
    _, ring, weight = rings(shape, count)
    belongs = ring.reshape(-1, 1) == range(min(int(lowest * count), count - 1), count)
    matrix = torch.from_numpy(belongs * weight.reshape(-1, 1))
    return matrix / matrix.sum(0)
