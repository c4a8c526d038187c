"""A curve of correlation over frequency, and where it falls below a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import Image, plain

Threshold = Literal["1/7", "0.5", "half-bit"]

_CALIBRATION = (0.95988146, 0.97979108, 13.90441896, 0.55146136)
"""What Koho et al. fitted: found in their program MIPLIB."""

_ENOUGH = 2500
"""Members that a point of the smoothed curve gathers: its error is then some 0.02."""

_SHARPEST, _WIDEST = 0.35, 1 / 60
"""Least smoothing, in rings, and most, as a share of all rings."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a correlation falls below a threshold.

    Attributes
    ----------
    threshold : str
        Its name.
    frequency : float
        Cycles per world unit; NaN if the correlation is below from the start.
    resolution : float
        ``1 / frequency``, world units.
    limited_by_sampling : bool
        True if the correlation never falls below: `frequency` is then the
        Nyquist frequency, and finer pixels might show more.
    """

    threshold: str
    frequency: float
    resolution: float
    limited_by_sampling: bool


@dataclass(frozen=True, slots=True, eq=False)
class RingCorrelation:
    """The correlation of two images, ring by ring (shell by shell in 3D).

    Attributes
    ----------
    frequency : ndarray
        Shape (rings,), cycles per world unit. Of a single image: of its halves,
        whose pixels are twice as large.
    correlation : ndarray
        Shape (rings,), -1 to 1.
    smoothed : ndarray
        The same, smoothed by weighted straight lines: what crossings are read off.
    members : ndarray
        Shape (rings,), entries of the transform in each ring.
    nyquist : tuple of float
        Of the image, per axis that is measured, cycles per world unit.
    single : bool
        Whether the two are halves of one image; crossings are then calibrated.
    """

    frequency: Image
    correlation: Image
    smoothed: Image
    members: Image
    nyquist: tuple[float, ...]
    single: bool = False

    @property
    def complete_to(self) -> float:
        """Frequency up to which every direction is sampled, cycles per world unit."""
        return min(self.nyquist)

    def threshold(self, name: Threshold = "1/7") -> Image:
        """Return the correlation that is asked for in each ring.

        Parameters
        ----------
        name : str
            ``"1/7"``: for two halves of the data (Nieuwenhuizen et al. 2013;
            Rosenthal and Henderson 2003); ``"0.5"``: stricter, and the one for
            a comparison with a truth; ``"half-bit"``: half a bit of information
            in each entry of the transform (van Heel and Schatz 2005).

        Raises
        ------
        InputError
            If the name is not known.
        """
        if name not in get_args(Threshold):
            msg = f"threshold must be one of {get_args(Threshold)}, got {name!r}"
            raise InputError(msg)
        if name == "half-bit":
            root = np.sqrt(self.members)
            return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))
        return np.full(self.frequency.shape, 1 / 7 if name == "1/7" else 0.5)

    def crossing(self, threshold: Threshold = "1/7") -> Crossing:
        """Return where the smoothed correlation first falls below a threshold.

        That of a single image is calibrated: halves of an image have a quarter
        of its pixels, hence more noise at each frequency, and are half a pixel
        apart. Koho et al. (2019) compared with two recordings, in 2D.

        Parameters
        ----------
        threshold : str
            See `threshold`.
        """
        above = self.smoothed - self.threshold(threshold)
        limit = max(self.nyquist)
        below = np.flatnonzero(above < 0)
        if below.size and below[0] == 0:
            return Crossing(threshold, np.nan, np.nan, False)
        if not below.size:
            return Crossing(threshold, limit, 1 / limit, True)
        last = int(below[0]) - 1
        part = above[last] / (above[last] - above[last + 1])
        step = self.frequency[last + 1] - self.frequency[last]
        frequency = float(self.frequency[last] + part * step)
        if self.single:
            a, b, c, d = _CALIBRATION
            share = frequency / (self.complete_to / 2)
            frequency *= 2 * (a * float(np.exp(c * (share - b))) + d)
            limit = self.complete_to
        if frequency >= limit:
            return Crossing(threshold, limit, 1 / limit, True)
        return Crossing(threshold, frequency, 1 / frequency, False)

    def to_dict(self) -> dict[str, Any]:
        """Return curve and crossings in values that JSON can hold."""
        crossings = {}
        for name in get_args(Threshold):
            found = self.crossing(name)
            crossings[name] = {
                "frequency": found.frequency,
                "resolution": found.resolution,
                "limited_by_sampling": found.limited_by_sampling,
            }
        curve = {
            "frequency": self.frequency, "correlation": self.correlation,
            "smoothed": self.smoothed, "nyquist": self.nyquist,
        }  # fmt: skip
        written: dict[str, Any] = plain(
            curve | {"complete_to": self.complete_to, "single": self.single, "crossings": crossings}
        )
        return written


def smooth(curve: Image, members: Image) -> Image:
    """Smooth a curve by straight lines: a mean would shift one that falls.

    Parameters
    ----------
    curve : ndarray
        Shape (rings,).
    members : ndarray
        Shape (rings,), entries of the transform in each ring, above 0.
    """
    count = len(curve)
    # Shells have so many members that smoothing them would only shift a steep curve.
    width = np.clip(_ENOUGH / members, _SHARPEST, max(1.0, count * _WIDEST))[:, None]
    position = np.arange(count, dtype=np.float64)
    apart = position[:, None] - position[None]
    # The variance of a ring's correlation falls with its members.
    weight = np.exp(-0.5 * (apart / width) ** 2) * members
    total = weight.sum(1)
    centre = (weight @ position) / total
    offset = position[None] - centre[:, None]
    spread = (weight * offset**2).sum(1)
    slope = (weight * offset) @ curve / np.maximum(spread, 1e-30)
    return np.asarray((weight @ curve) / total + slope * (position - centre))
