"""Where frames lie on the reference, to a part of a pixel, from two images alone.

`refining` then improves on it with the fine image in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.ndimage import shift as moved_by
from scipy.signal.windows import tukey
from skimage.registration import phase_cross_correlation as _correlate

from napari_hrsr.frames.motions import Motion
from napari_hrsr.frames.turning import turn_pair

Floats = NDArray[np.float64]

SMOOTH, BACKGROUND = 1.0, 8.0
"""Standard deviations of the band that is compared: neither noise nor shading decides."""

PRECISION = 50
"""Parts of a pixel to which the correlation's peak is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """How a frame lies on the reference.

    Attributes
    ----------
    motion : Motion
        Where the frame shows what the reference shows.
    overlap : float
        Part of the compared piece that both show.
    correlation : float
        Of both where they overlap, without noise and shading; 1 at best.
    certainty : float
        Standard error of it.
    """

    motion: Motion
    overlap: float
    correlation: float
    certainty: float


def register_pair(
    reference: Floats,
    frame: Floats,
    noise: float,
    *,
    motion: Motion | None = None,
    transform: str = "translation",
) -> Registration:
    """Find where a frame lies on the reference.

    The whole pixels from the correlation of both with zeros around, so that
    drift is told from its complement; the rest from where both overlap, by the
    matrix-multiply Fourier transform of Guizar-Sicairos et al. (2008). The
    spectrum is not normalised: that would make noise of smooth images count as
    much as what they show.

    Parameters
    ----------
    reference, frame : ndarray
        Of one shape.
    noise : float
        Standard deviation of either's noise.
    motion : Motion, optional
        Where it is known: only the correlation is measured.
    transform : {"translation", "rigid", "affine"}
        How the frame may lie.
    """
    one, two = band(reference), band(frame)
    if motion is None:
        shift = _part_shift(reference, frame, _whole_shift(one, two))
        centre = (np.array(reference.shape) - 1) / 2
        motion = Motion(shift, np.eye(reference.ndim), centre)
        if transform != "translation":
            motion = turn_pair(reference, frame, motion, transform)
    places = np.stack(np.meshgrid(*map(np.arange, reference.shape), indexing="ij"), -1)
    at = np.moveaxis(motion.to_frame(places), -1, 0)
    seen = map_coordinates(two, at, order=3, mode="constant", cval=np.nan)
    both = np.isfinite(seen)
    overlap = float(both.mean())
    if overlap <= 0:
        return Registration(motion, 0.0, 0.0, 0.0)
    correlation, error = _true_correlation(one[both], seen[both], noise, one.ndim)
    return Registration(motion, overlap, correlation, error)


def band(image: Floats) -> Floats:
    """Return an image without noise and shading."""
    return np.asarray(gaussian_filter(image, SMOOTH) - gaussian_filter(image, BACKGROUND))


def noise_gain(ndim: int) -> float:
    """Return the standard deviation that `band` leaves of white noise of deviation one."""
    point = np.zeros((int(8 * BACKGROUND) + 1,) * min(ndim, 2))
    point[tuple(n // 2 for n in point.shape)] = 1
    gain = float(np.sqrt(np.square(band(point)).sum()))
    return gain if ndim < 3 else gain * (4 * np.pi * SMOOTH**2) ** -0.25


def shift_errors(reference: Floats, noise: float) -> Floats:
    """Return the least standard error of a shift, per axis (the bound of Cramer and Rao).

    Parameters
    ----------
    reference : ndarray
        One frame.
    noise : float
        Standard deviation of its noise.
    """
    slopes = [np.gradient(gaussian_filter(reference, 0.7), axis=a) for a in range(reference.ndim)]
    energy = np.array([max(float(np.square(s).sum()), 1e-12) for s in slopes])
    return np.asarray(np.sqrt(2 * noise**2 / energy))


def _whole_shift(one: Floats, two: Floats) -> NDArray[np.int64]:
    """Return the shift in whole pixels."""
    if not (one.any() and two.any()):
        return np.zeros(one.ndim, np.int64)
    window = _taper(one.shape)
    room = [(0, n) for n in one.shape]
    moved, _, _ = _correlate(  # type: ignore[no-untyped-call]
        np.pad(one * window, room), np.pad(two * window, room), normalization=None
    )
    return np.asarray(-np.rint(moved), np.int64)


def _part_shift(reference: Floats, frame: Floats, whole: NDArray[np.int64]) -> Floats:
    """Return the shift to a part of a pixel."""
    here, there = _overlap(reference.shape, whole)
    if min(s.stop - s.start for s in here) < 8:
        return whole.astype(float)
    one, two = reference[here], frame[there]
    window = _taper(one.shape)
    one, two = one - one.mean(), two - two.mean()
    if not (one.any() and two.any()):
        return whole.astype(float)
    rest: Floats = np.zeros(one.ndim)
    for _ in range(2):
        # Once more with the frame moved: the window then cuts both at the same places.
        seen = moved_by(two, -rest, order=3, mode="nearest") if rest.any() else two
        moved, _, _ = _correlate(  # type: ignore[no-untyped-call]
            one * window, seen * window, upsample_factor=PRECISION, normalization=None
        )
        rest = rest - moved
    # Farther than that the peak belongs to something else.
    return np.asarray(whole + np.where(np.abs(rest) <= 2, rest, 0.0), float)


def _overlap(
    shape: Sequence[int], shift: NDArray[np.int64]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the same part of the scene in the reference and in the frame."""
    here, there = [], []
    for n, s in zip(shape, shift.tolist(), strict=True):
        first, last = max(0, -s), max(0, -s, min(n, n - s))
        here.append(slice(first, last))
        there.append(slice(first + s, last + s))
    return tuple(here), tuple(there)


def _taper(shape: Sequence[int]) -> Floats:
    window = np.ones(())
    for n in shape:
        window = np.multiply.outer(window, tukey(n, 0.5))
    return np.asarray(window)


def _true_correlation(one: Floats, two: Floats, noise: float, ndim: int) -> tuple[float, float]:
    """Return the correlation that both would have without noise, and its standard error."""
    a, b = one - one.mean(), two - two.mean()
    energy = noise**2 * noise_gain(ndim) ** 2
    free = [max(float(np.square(x).mean()) - energy, 0.0) for x in (a, b)]
    if min(free) <= 0.05 * energy or min(free) <= 1e-12:
        # Nothing but noise to be seen in one of them: nothing can be said.
        return 0.0, np.inf
    scale = float(np.sqrt(free[0] * free[1]))
    full = float(np.sqrt(np.square(a).mean() * np.square(b).mean()))
    spots = one.size / (4 * np.pi * SMOOTH**2) ** (ndim / 2)
    return float((a * b).mean()) / scale, full / scale / np.sqrt(max(spots, 1.0))
