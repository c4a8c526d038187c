"""Means, variances and covariance of two images that are seen in parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_hrsr.evaluation.images import Image


@dataclass(slots=True)
class Moments:
    """Moments of pairs of pixels, gathered in a way that loses no digits.

    Chan, Golub and LeVeque (1983): each part has its own mean, and parts are
    joined by the distance of their means.

    Attributes
    ----------
    count : int
        Pairs.
    first, second : float
        Means.
    first_spread, second_spread, shared : float
        Sums of squared deviations, and of products of deviations.
    """

    count: int = 0
    first: float = 0.0
    second: float = 0.0
    first_spread: float = 0.0
    second_spread: float = 0.0
    shared: float = 0.0

    def add(self, first: Image, second: Image) -> None:
        """Take in a part: two arrays of one shape."""
        n = first.size
        a, b = float(first.mean()), float(second.mean())
        x, y = first - a, second - b
        apart, away, total = a - self.first, b - self.second, self.count + n
        weight = self.count * n / total
        self.first_spread += float((x * x).sum()) + apart * apart * weight
        self.second_spread += float((y * y).sum()) + away * away * weight
        self.shared += float((x * y).sum()) + apart * away * weight
        self.first += apart * n / total
        self.second += away * n / total
        self.count = total

    @property
    def pearson(self) -> float:
        """Correlation; NaN if one of the two is constant."""
        norm = math.sqrt(self.first_spread * self.second_spread)
        return self.shared / norm if norm > 0 else math.nan

    def fit(self) -> tuple[float, float]:
        """Return gain and offset that bring the first closest to the second."""
        power = self.first_spread + self.count * self.first**2
        # A blur wider than the image leaves rounding errors, which must not be amplified.
        if self.first_spread <= 1e-24 * power:
            return 0.0, self.second
        gain = self.shared / self.first_spread
        return gain, self.second - gain * self.first

    @property
    def second_power(self) -> float:
        """Mean square of the second."""
        return float(np.square(self.second) + self.second_spread / self.count)
