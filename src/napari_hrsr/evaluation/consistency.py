"""A result degraded again, beside the source it was made of: no reference is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.blur_fitting import best_blur, degraded, image_pair
from napari_hrsr.evaluation.images import Image, plain
from napari_hrsr.forward import ForwardModel
from napari_hrsr.noise_level import estimate_noise

_ROUNDING = 1 / math.sqrt(12)
"""Standard deviation of rounding to whole numbers."""

NOTHING = 1e-7
"""Noise below this share of the range is that of the computation."""

_AROUND = 6
"""Pixels, beyond the place of a structure, that tell what is usual there."""


@dataclass(frozen=True, slots=True, eq=False)
class Consistency:
    """What a result, degraded again, has to do with its source.

    Attributes
    ----------
    deviation : ndarray
        Shape of the source: degraded result less source, in standard deviations
        of the source's noise. Beyond some 4 either way the result contradicts
        what was measured; `local_score` finds weaker structures of some size.
    noise : float
        That standard deviation, in the source's units.
    chi_square : float
        Mean square of `deviation`: about 1 where only noise was taken off,
        above where something was added or lost; 0 reproduces the noise too.
    outside : float
        Share of pixels beyond three standard deviations, 0 to 1; noise: 0.0027.
    psnr : float
        Of the degraded result against the source, decibels, for the source's range.
    forward : ForwardModel
        How it was degraded.
    fitted : bool
        Whether the width of that model's blur was fitted.
    """

    deviation: Image
    noise: float
    chi_square: float
    outside: float
    psnr: float
    forward: ForwardModel
    fitted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the map, in values that JSON can hold."""
        written: dict[str, Any] = plain(
            {
                "noise": self.noise, "chi_square": self.chi_square, "outside": self.outside,
                "psnr": self.psnr, "factor": self.forward.factor,
                "psf_sigma": self.forward.psf_sigma, "sampling": self.forward.sampling,
                "fitted": self.fitted,
            }
        )  # fmt: skip
        return written


def measured_noise(source: Any) -> float:
    """Return the standard deviation of a source's noise, rounding included.

    Parameters
    ----------
    source : array-like
        Shape (Y, X) or (Z, Y, X); of a volume the median over its slices.

    Raises
    ------
    InputError
        If there is none to be measured.
    """
    values = np.asarray(source)
    planes = values.reshape(-1, *values.shape[-2:])
    noise = float(np.median([estimate_noise(plane) for plane in planes]))
    if values.dtype.kind in "ui":
        noise = max(noise, _ROUNDING)
    if noise <= NOTHING * float(np.ptp(values.astype(np.float64))):
        msg = "the source shows no noise that can be measured: give its standard deviation as noise"
        raise InputError(msg)
    return noise


def check_consistency(
    result: Any,
    source: Any,
    *,
    forward: ForwardModel | None = None,
    factor: float | Sequence[float] | None = None,
    noise: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Consistency:
    """Degrade a result as the instrument would have, and compare with the source.

    A result can be consistent and wrong: what the instrument does not record
    leaves no trace here.

    Parameters
    ----------
    result, source : array-like
        2 or 3 spatial axes, the result larger by `factor`.
    forward : ForwardModel, optional
        The instrument. Left out: pixels integrate over their area, behind a
        Gaussian blur of the width that fits best.
    factor : float or sequence of float, optional
        Whole; read off the shapes if left out.
    noise : float, optional
        Standard deviation of the source's noise, in its units; measured if left
        out.
    check : callable
        Called between trials; may raise to stop.

    Returns
    -------
    Consistency

    Raises
    ------
    InputError
        If the images do not belong together, or the noise cannot be measured.
    """
    fine, coarse, factors = image_pair(result, source, factor)
    check_instrument(forward, noise, factors)
    if noise is None:
        noise = measured_noise(source)
    fitted = forward is None
    if forward is None:
        sigma = best_blur(fine, coarse, ForwardModel(factors), scaled=False, check=check)
        forward = replace(ForwardModel(factors), psf_sigma=sigma)
    difference = degraded(fine, forward) - coarse
    deviation = difference / noise
    error = float((difference**2).mean())
    span = float(coarse.max() - coarse.min())
    psnr = 10 * math.log10(span**2 / error) if error > 0 else math.inf
    outside = float((np.abs(deviation) > 3).mean())
    chi_square = float((deviation**2).mean())
    return Consistency(deviation, noise, chi_square, outside, psnr, forward, fitted)


def local_score(deviation: Any, size: int | Sequence[int]) -> Image:
    """Score how much a deviation stands out, for structures of a given size.

    Deviations are averaged over a box of that size, in units of what noise
    leaves of them there, and compared with the root mean square of such
    averages around each place (the noise itself included), as detectors with a
    constant rate of false alarms do (Finn and Johnson, 1968). A structure that
    is false then stands out both against the noise and against the errors that
    a model makes everywhere in structure of that kind.

    Parameters
    ----------
    deviation : array-like
        `Consistency.deviation`, 2 or 3 axes.
    size : int or sequence of int
        Of the structure looked for, pixels of the source, per axis; 1 or more.

    Returns
    -------
    ndarray
        The same shape, from 0 up; of noise alone the root mean square is about 0.7.

    Raises
    ------
    InputError
        If a size is below 1.
    """
    values = np.asarray(deviation, dtype=np.float64)
    sizes = (size,) * values.ndim if isinstance(size, int) else tuple(size)
    if len(sizes) != values.ndim or any(n < 1 for n in sizes):
        msg = f"size must hold {values.ndim} whole numbers from 1 up, got {size!r}"
        raise InputError(msg)
    local = uniform_filter(values, sizes) * math.sqrt(math.prod(sizes))
    energy = local**2
    # The structure itself, which reaches into every average that touches it, is left out.
    inner = [2 * n + 1 for n in sizes]
    outer = [n + 2 * _AROUND for n in inner]
    areas = math.prod(outer), math.prod(inner)
    around = areas[0] * uniform_filter(energy, outer) - areas[1] * uniform_filter(energy, inner)
    usual = np.maximum(around, 0.0) / (areas[0] - areas[1])
    return np.asarray(np.abs(local) / np.sqrt(1.0 + usual))


def check_instrument(
    forward: ForwardModel | None, noise: float | None, factor: Sequence[float]
) -> None:
    """Refuse an instrument that does not belong to the images.

    Raises
    ------
    InputError
        If its factor is another one, or the noise is not above 0.
    """
    if forward is not None and forward.factor != tuple(factor):
        msg = f"forward has the factor {forward.factor}, but the images {tuple(factor)}"
        raise InputError(msg)
    if noise is not None and not (math.isfinite(noise) and noise > 0):
        msg = f"noise must be above 0, in the source's units, got {noise}"
        raise InputError(msg)
