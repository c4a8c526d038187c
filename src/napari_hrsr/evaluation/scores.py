"""How close an image is to another, by every measure that is shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_hrsr.evaluation.images import Image
from napari_hrsr.evaluation.perceptual import gmsd, haarpsi, ms_ssim
from napari_hrsr.evaluation.rings import SHORTEST, faded, sort_frequencies, spectrum

BANDS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Edges of the bands in which power is compared, over the Nyquist frequency."""

MOST_SLICES = 32
"""Slices of a volume that measures for planes look at, evenly spread."""

SSIM_WINDOW = 7


@dataclass(frozen=True, slots=True)
class Scores:
    """How close an image is to its reference. NaN where it cannot be measured.

    Attributes
    ----------
    psnr : float
        Peak signal-to-noise ratio in decibels, as scikit-image has it.
    ssim : float
        Structural similarity (Wang et al. 2004) as scikit-image has it, -1 to 1;
        in 3D windows are cubes, or squares where there are fewer than 7 slices.
    ms_ssim, haarpsi : float
        At most 1, for images that are equal; 2D, of a volume the mean over up to
        32 slices along the first axis. See `perceptual`.
    gmsd : float
        0 for images that are equal; 2D, as above.
    nrmse : float
        Root mean square difference over the root mean square of the reference.
    mae : float
        Mean absolute difference, in the reference's units.
    pearson : float
        Correlation of the pixels, -1 to 1.
    power : tuple of float
        Power over that of the reference, for each band of `BANDS`: below 1 is
        blurred, above 1 noisy or made up.
    gain, offset : float
        What it was multiplied by, and what was added, before it was compared.
    """

    psnr: float
    ssim: float
    ms_ssim: float
    haarpsi: float
    gmsd: float
    nrmse: float
    mae: float
    pearson: float
    power: tuple[float, ...]
    gain: float = 1.0
    offset: float = 0.0


def measure(
    image: Image,
    wanted: Image,
    low: float,
    span: float,
    fit: tuple[float, float],
    check: Callable[[], None],
) -> Scores:
    """Measure how close an image is to another.

    Parameters
    ----------
    image, wanted : ndarray
        The same shape, 2 or 3 axes.
    low, span : float
        Black, and the range of intensities.
    fit : tuple of float
        Gain and offset that `image` has been given, for the record.
    check : callable
        Called between slices; may raise to stop.
    """
    planes = [(image, wanted)] if wanted.ndim == 2 else _spread(image, wanted)
    perceived = []
    for first, second in planes:
        check()
        perceived.append(
            (
                ms_ssim(first, second, span=span),
                haarpsi(first, second, low=low, span=span),
                gmsd(first, second, low=low, span=span),
            )
        )
    likeness = np.mean(perceived, axis=0)
    with np.errstate(divide="ignore"):
        psnr = float(peak_signal_noise_ratio(wanted, image, data_range=span))  # type: ignore[no-untyped-call]
    return Scores(
        psnr=psnr,
        ssim=_ssim(image, wanted, span),
        ms_ssim=float(likeness[0]),
        haarpsi=float(likeness[1]),
        gmsd=float(likeness[2]),
        nrmse=float(normalized_root_mse(wanted, image)),
        mae=float(np.abs(image - wanted).mean()),
        pearson=pearson(image, wanted),
        power=_power(image, wanted),
        gain=fit[0],
        offset=fit[1],
    )


def _spread(image: Image, wanted: Image) -> list[tuple[Image, Image]]:
    count = len(wanted)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int))
    return [(image[i], wanted[i]) for i in chosen]


def _ssim(image: Image, wanted: Image, span: float) -> float:
    if min(wanted.shape) >= SSIM_WINDOW:
        return float(structural_similarity(wanted, image, data_range=span))  # type: ignore[no-untyped-call]
    if min(wanted.shape[-2:]) < SSIM_WINDOW:
        return math.nan
    pairs = zip(image, wanted, strict=True)
    return float(np.mean([structural_similarity(w, i, data_range=span) for i, w in pairs]))  # type: ignore[no-untyped-call]


def pearson(first: Image, second: Image) -> float:
    """Return the correlation of the pixels of two images; NaN if one is constant."""
    a, b = first - first.mean(), second - second.mean()
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else math.nan


def _power(image: Image, wanted: Image) -> tuple[float, ...]:
    if min(wanted.shape) < SHORTEST:
        return (math.nan,) * (len(BANDS) - 1)
    rings = sort_frequencies(wanted.shape, (1.0,) * wanted.ndim)
    powers = [rings.total(np.abs(spectrum(faded(x, "hann"))) ** 2) for x in (image, wanted)]
    share = rings.frequency / 0.5
    # Rings at the very Nyquist frequency belong to the last band.
    bands = np.clip(np.digitize(share, BANDS) - 1, 0, len(BANDS) - 2)
    sums = [np.bincount(bands, p, minlength=len(BANDS) - 1) for p in powers]
    ratios = np.divide(sums[0], sums[1], out=np.full(len(sums[0]), np.nan), where=sums[1] > 0)
    return tuple(float(r) for r in ratios)
