"""How bright frames are: lamps flicker, dyes bleach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved_by

from napari_hrsr.frames.motions import Motion

Floats = NDArray[np.float64]

LEAST = 0.01
"""Differences of brightness, over the range, that are evened out."""

BLUR = 2.0
"""Frames are compared blurred, so that neither noise nor sampling matters."""


@dataclass(frozen=True, slots=True)
class Level:
    """Units of one channel.

    Attributes
    ----------
    low, span : float
        Black level, and range from there to the white level.
    noise : float
        Standard deviation of a frame's noise, over the range.
    """

    low: float
    span: float
    noise: float


@dataclass(frozen=True, slots=True)
class Brightness:
    """How bright a frame is: ``gain * reference + offset``, in its own units."""

    gain: float = 1.0
    offset: float = 0.0


def fit_brightness(reference: Floats, frame: Floats, motion: Motion, level: Level) -> Brightness:
    """Fit how bright a frame is against the reference.

    The gain is the ratio of the deviations of both, which noise in either does
    not bias as it does a regression; what changed inside the scene loses its
    weight (Geman and McClure 1987).

    Parameters
    ----------
    reference, frame : ndarray
        The same part of both.
    motion : Motion
        Of the frame.
    level : Level
        Units of the reference.

    Returns
    -------
    Brightness
        That of the reference where they hardly differ, or nothing can be said.
    """
    if not motion.is_translation:
        return Brightness()
    smooth = [gaussian_filter((p - level.low) / level.span, BLUR) for p in (reference, frame)]
    # Beyond the border blurred pixels are made up.
    rim = int(3 * BLUR)
    inner = tuple(slice(rim, -rim) if n > 4 * rim else slice(None) for n in frame.shape)
    known = np.zeros(frame.shape)
    known[inner] = 1.0
    both = moved_by(known, -motion.shift, order=1, mode="constant")[inner] > 1 - 1e-6
    # Linear interpolation would blur, and make the frame look fainter.
    seen = moved_by(smooth[1], -motion.shift, order=3, mode="nearest")[inner]
    if both.sum() < 100:
        return Brightness()
    x, y = smooth[0][inner][both], seen[both]
    gain = float(_middle_half(y) / max(_middle_half(x), 1e-6))
    offset = float(np.median(y - gain * x))
    for _ in range(8):
        rest = y - gain * x - offset
        spread = max(1.5 * float(np.median(np.abs(rest))), 1e-6)
        weights = (1 + (rest / (3 * spread)) ** 2) ** -2.0
        weights /= weights.sum()
        means = weights @ x, weights @ y
        energy = weights @ np.square(x - means[0]), weights @ np.square(y - means[1])
        gain = float(np.sqrt(energy[1] / max(energy[0], 1e-12)))
        offset = float(means[1] - gain * means[0])
    if not 0.2 < gain < 5:
        return Brightness()
    if abs(gain - 1) < LEAST and abs(offset) < LEAST:
        return Brightness()
    # From units of the range to those of the frames.
    return Brightness(gain, offset * level.span + (1 - gain) * level.low)


def _middle_half(values: Floats) -> float:
    low, high = np.percentile(values, (25, 75))
    return float(high - low)
