"""The highest frequency with structure in a single image, by decorrelation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_hrsr.evaluation.images import Image, check_image, check_voxel_size, plain
from napari_hrsr.evaluation.rings import faded, sort_frequencies, spectrum

_RADII = 50
_FILTERS = 10
_WEAKEST_FILTER = 0.15
_LEAST_DROP = 5e-4
"""A maximum counts if the curve falls by so much after it."""

_LEAST_HEIGHT = 0.05
"""A maximum below this is noise."""

_AHEAD = 0.3
"""How far beyond the first answer the second round looks, of the Nyquist frequency."""


@dataclass(frozen=True, slots=True, eq=False)
class Decorrelation:
    """What decorrelation analysis finds.

    Attributes
    ----------
    cutoff : float
        Highest frequency with structure above noise, cycles per world unit;
        NaN if there is none.
    resolution : float
        ``1 / cutoff``, world units.
    amplitude : float
        Height of the unfiltered curve's maximum, 0 to 1: how much of the image
        is structure rather than noise.
    radii : ndarray
        Shape (50,), frequencies of `curve`, cycles per world unit.
    curve : ndarray
        Shape (50,), correlation of the image with its phases alone, up to each
        frequency, without any filter.
    nyquist : float
        The frequency up to which it was looked, cycles per world unit.
    """

    cutoff: float
    resolution: float
    amplitude: float
    radii: Image
    curve: Image
    nyquist: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in values that JSON can hold."""
        written: dict[str, Any] = plain({name: getattr(self, name) for name in self.__slots__})
        return written


@dataclass(frozen=True, slots=True)
class _Radial:
    """Sums over thin rings: all that the analysis needs of an image."""

    radius: Image
    amplitude: Image
    power: Image
    members: Image

    def correlation(self, strength: float, radii: Image) -> Image:
        """Correlate the high-passed image with its phases up to each radius."""
        passed = 1 - np.exp(-2 * strength**2 * self.radius**2)
        shared = np.cumsum(passed * self.amplitude)
        members = np.cumsum(self.members)
        norm = math.sqrt(float((passed**2 * self.power).sum()))
        if norm == 0:
            return np.zeros(len(radii))
        curve = shared / np.sqrt(np.maximum(members, 1)) / norm
        return np.asarray(np.interp(radii, self.radius, curve))


def decorrelate(
    image: Any,
    *,
    voxel_size: float | Sequence[float] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Decorrelation:
    """Estimate the resolution of an image from the image alone.

    Descloux, Grussmayer and Radenovic, Parameter-free image resolution
    estimation based on decorrelation analysis (2019): an image is correlated
    with what is left of it when all frequencies are made equally strong, up to
    a radius. Noise lowers that correlation, structure raises it, so the
    position of its maximum, with more and more of the low frequencies filtered
    out, tells where structure ends. Implementations differ by some 10 per cent.

    Of a network's output it tells how fine the structure is, not whether it is
    true. A volume's slices are measured together: the answer is the resolution
    within them.

    Parameters
    ----------
    image : array-like
        Shape (Y, X) or (Z, Y, X).
    voxel_size : float or sequence of float, optional
        World units per pixel, per axis; 1 if left out.
    check : callable
        Called between slices; may raise to stop.

    Returns
    -------
    Decorrelation

    Raises
    ------
    InputError
        If the image cannot be measured.
    """
    values = check_image(image, "image")
    sizes = check_voxel_size(voxel_size, values.ndim)[-2:]
    nyquist = 0.5 / max(sizes)
    planes = values.reshape(-1, *values.shape[-2:])
    radial = _radial(planes, sizes, nyquist, check)
    radii = np.linspace(0, 1, _RADII)
    curve = radial.correlation(math.inf, radii)
    first, amplitude = _peak(curve)
    start = float(radii[first])
    side = max(planes.shape[1:])
    strongest = 2 / start if start > 0 else side / 2
    strengths = [side / 4, *np.geomspace(strongest, _WEAKEST_FILTER, _FILTERS)]
    peaks = [(start, amplitude)] + [_at(radial, g, radii) for g in strengths]
    best = max(range(len(peaks)), key=lambda i: (peaks[i][0], i))
    between = _around(best, [float(side), *strengths])
    fine = np.linspace(
        max(0.0, peaks[best][0] - radii[1]), min(1.0, peaks[best][0] + _AHEAD), _RADII
    )
    peaks += [_at(radial, g, fine) for g in np.geomspace(*between, _FILTERS)]
    cutoffs = [where for where, height in peaks if height >= _LEAST_HEIGHT]
    cutoff = max(cutoffs, default=0.0) * nyquist or math.nan
    return Decorrelation(cutoff, 1 / cutoff, amplitude, radii * nyquist, curve, nyquist)


def _radial(
    planes: Image, sizes: Sequence[float], nyquist: float, check: Callable[[], None]
) -> _Radial:
    rings = sort_frequencies(planes.shape[1:], sizes)
    count = 2 * max(planes.shape[1:])
    radius = rings.radius / nyquist
    # Numbers are lost only where the analysis does not look: beyond the Nyquist frequency.
    where = np.minimum((radius * count).astype(np.int64), count).ravel()
    weight = rings.weight.ravel()

    def total(values: np.ndarray) -> Image:
        return np.asarray(np.bincount(where, weight * values.ravel(), count + 1)[:count])

    sums = np.zeros((2, count))
    for plane in planes:
        check()
        strength = np.abs(spectrum(faded(plane, "tukey")))
        sums += np.stack([total(strength), total(strength**2)])
    members = total(np.ones(radius.shape))
    edges = (np.arange(count) + 1) / count
    # Slices share their phases' weights: each has as many members as the first.
    return _Radial(edges, sums[0] / math.sqrt(len(planes)), sums[1], members)


def _at(radial: _Radial, strength: float, radii: Image) -> tuple[float, float]:
    where, height = _peak(radial.correlation(strength, radii))
    return float(radii[where]), height


def _around(best: int, strengths: Sequence[float]) -> tuple[float, float]:
    """Return the filters between which the highest maximum lies."""
    lower = min(best, len(strengths) - 2)
    return strengths[lower], strengths[lower + 1]


def _peak(curve: Image) -> tuple[int, float]:
    """Return index and height of the last point from which the curve clearly falls."""
    end = len(curve)
    while end > 1:
        top = int(np.argmax(curve[:end]))
        if top < end - 1 and curve[top] - curve[top:end].min() >= _LEAST_DROP:
            return top, float(curve[top])
        if top == 0:
            break
        end -= 1
    return 0, float(curve[0])
