"""Where a coarse image lies on a fine one of the same field, to a part of a pixel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate

from napari_hrsr.training.resampling import apply_matrices, average_blocks, shifting_matrix

LARGEST_SHIFT = 0.25
"""Largest shift of a pair, as a part of the coarse image."""

SAME_FIELD = 0.6
"""Least correlation of two images of one field.

Measured on images of many kinds: pairs with blur and 5 per cent of noise reach
0.77 and nearly all 0.9; different fields, also of one kind, stay below 0.5.
"""

LARGEST_DEVIATION = 0.5
"""Largest deviation of a pair, in coarse pixels; that of true pairs stays below 0.25."""

_SEARCHED = 0.4
"""Part of the compared piece up to which a shift is looked for."""

_COMPARED = {2: (512, 512), 3: (40, 96, 96)}
"""Coarse pixels of the piece that is compared."""

_REFINED = {2: (256, 256), 3: (40, 64, 64)}
"""Coarse pixels of the piece whose shift is refined."""

_SMOOTH, _BACKGROUND, _LEVEL = 1.0, 6.0, 2.0
_SMALLEST_PART = 40
_STEPS = 30
_CONVERGED = 1e-3


class Readable(Protocol):
    """An image that is read in windows, as `TrainingImage`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""

    def read(self, window: Sequence[slice]) -> np.ndarray:
        """Return a part, shape ([C,] *window), float32."""


@dataclass(frozen=True, slots=True)
class Registration:
    """How a coarse image follows from a fine one.

    Coarse pixel ``i`` is ``gain * mean + offset``, where the mean is taken over
    the `scale` fine pixels from position ``scale * i + shift`` on.

    Attributes
    ----------
    shift : tuple of float
        In fine pixels, per axis.
    gain, offset : float
        Take the units of the fine image to those of the coarse one.
    correlation : float
        Of both images in place, without noise and shading; 1 at best.
    deviation : float
        Largest distance of the shift of a quarter of the image from `shift`, in
        coarse pixels: a rotation, a wrong magnification or a bent sample shows here.
    """

    shift: tuple[float, ...]
    gain: float
    offset: float
    correlation: float
    deviation: float = 0.0


def register(coarse: Readable, fine: Readable, scale: Sequence[int]) -> Registration:
    """Find the translation, gain and offset between two images of one field.

    Both are smoothed and freed of their background first, so that neither
    noise nor shading decides. The correlation of every shift, each over the
    pixels that both images have, finds the whole pixels; Gauss-Newton steps on
    the moved fine image (Lucas and Kanade, 1981) find the rest. Of large
    images the piece with the most to see is compared.

    Parameters
    ----------
    coarse : Readable
        Shape (*spatial).
    fine : Readable
        About `scale` times as large, with the same first corner but for the shift.
    scale : sequence of int
        Fine pixels in a coarse one, per axis.

    Returns
    -------
    Registration
        Whatever fits best; its correlation tells whether anything does.
    """
    piece = _piece(coarse)
    target = _grey(coarse, piece)
    shift = np.array(_whole_shift(target, piece, fine, scale), float) * scale
    inner = tuple(_middle(w, n) for w, n in zip(piece, _REFINED[len(piece)], strict=True))
    shift = _refined(target[_within(inner, piece)], inner, fine, scale, shift)
    seen, where = _seen(fine, scale, shift, piece)
    if not seen.size:
        return Registration(tuple(shift.tolist()), 1.0, 0.0, 0.0)
    target = target[_within(where, piece)]
    gain, offset = _fit(gaussian_filter(seen, _LEVEL), gaussian_filter(target, _LEVEL))
    correlation = _correlation(_band(seen), _band(target))
    deviation = 0.0
    if correlation >= SAME_FIELD:
        deviation = _deviation(target, seen, where, fine, scale, shift)
    return Registration(tuple(shift.tolist()), gain, offset, correlation, deviation)


def _deviation(
    target: np.ndarray,
    seen: np.ndarray,
    where: Sequence[slice],
    fine: Readable,
    scale: Sequence[int],
    shift: np.ndarray,
) -> float:
    """Return the largest difference of the shifts of parts of the image, in coarse pixels."""
    halves = [
        [slice(w.start, (w.start + w.stop) // 2), slice((w.start + w.stop) // 2, w.stop)]
        if w.stop - w.start >= 2 * _SMALLEST_PART
        else [w]
        for w in where
    ]
    largest = 0.0
    for part in itertools.product(*halves):
        own = _within(part, where)
        # Where there is little to see, noise would decide.
        if _correlation(_band(seen[own]), _band(target[own])) < SAME_FIELD:
            continue
        change = _refined(target[own], part, fine, scale, shift) - shift
        largest = max(largest, float(np.linalg.norm(change / scale)))
    return largest


def usable_range(
    coarse: Sequence[int], fine: Sequence[int], scale: Sequence[int], shift: Sequence[float]
) -> tuple[slice, ...]:
    """Return the coarse pixels that lie on the fine image.

    Parameters
    ----------
    coarse, fine : sequence of int
        Spatial shapes.
    scale : sequence of int
        Fine pixels in a coarse one.
    shift : sequence of float
        In fine pixels.

    Returns
    -------
    tuple of slice
        Empty ones, at worst.
    """
    window = []
    for n, length, k, t in zip(coarse, fine, scale, shift, strict=True):
        # A tenth of a pixel beyond the border is as good as on it.
        first = max(0, int(np.ceil((-t - 0.1) / k)))
        last = min(n, int(np.floor((length - t + 0.1) / k)))
        window.append(slice(first, max(first, last)))
    return tuple(window)


def _grey(image: Readable, window: Sequence[slice]) -> np.ndarray:
    block = image.read(window)
    return block if block.ndim == len(window) else block.mean(axis=0)


def _within(part: Sequence[slice], whole: Sequence[slice]) -> tuple[slice, ...]:
    """Return a window counted from the first pixel of another one."""
    return tuple(
        slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True)
    )


def _middle(part: slice, longest: int) -> slice:
    spare = max(0, part.stop - part.start - longest)
    return slice(part.start + spare // 2, part.stop - (spare - spare // 2))


def _piece(image: Readable) -> tuple[slice, ...]:
    """Return the window with the most to see: the middle, or that of a quarter."""
    longest = _COMPARED[len(image.shape)]
    whole = tuple(slice(0, n) for n in image.shape)
    middle = tuple(_middle(w, n) for w, n in zip(whole, longest, strict=True))
    if middle == whole:
        return whole
    halves = [
        [slice(0, n // 2), slice(n // 2, n)] if n > m else [slice(0, n)]
        for n, m in zip(image.shape, longest, strict=True)
    ]
    corners = (
        tuple(_middle(w, n) for w, n in zip(corner, longest, strict=True))
        for corner in itertools.product(*halves)
    )
    return max((middle, *corners), key=lambda window: float(_band(_grey(image, window)).std()))


def _band(image: np.ndarray) -> np.ndarray:
    """Return what is neither noise nor shading."""
    band: np.ndarray = gaussian_filter(image, _SMOOTH) - gaussian_filter(image, _BACKGROUND)
    return band


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt(float((a * a).sum()) * float((b * b).sum())))
    return float((a * b).sum()) / power if power > 0 else 0.0


def _fit(seen: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return the gain and offset that take one image to the other."""
    x, y = seen - seen.mean(), target - target.mean()
    power = float((x * x).sum())
    gain = float((x * y).sum()) / power if power > 0 else 1.0
    return gain, float(target.mean() - gain * seen.mean())


def _whole_shift(
    target: np.ndarray, piece: Sequence[slice], fine: Readable, scale: Sequence[int]
) -> tuple[int, ...]:
    """Return the shift in coarse pixels at which both images correlate best."""
    lengths = [n // k for n, k in zip(fine.shape, scale, strict=True)]
    reach = [int(_SEARCHED * n) for n in target.shape]
    around = tuple(
        slice(min(n, max(0, p.start - r)), min(n, p.stop + r))
        for p, r, n in zip(piece, reach, lengths, strict=True)
    )
    if any(w.start >= w.stop for w in around):
        return (0,) * target.ndim
    still, moving = _band(target), _band(_read_binned(fine, around, scale))
    ones = np.ones_like(still), np.ones_like(moving)
    product = correlate(moving, still, "full", "fft")
    power = correlate(moving**2, ones[0], "full", "fft") * correlate(
        ones[1], still**2, "full", "fft"
    )
    floor = 1e-6 * float(power.max())
    score = product / np.sqrt(np.maximum(power, max(floor, 1e-30)))
    for axis, (p, w, r) in enumerate(zip(piece, around, reach, strict=True)):
        # Entry j of the full correlation has the first pixel of the piece at `first + j`.
        first = w.start - p.start - (p.stop - p.start - 1)
        shifts = first + np.arange(score.shape[axis])
        outside = np.abs(shifts) > r
        score[(slice(None),) * axis + (outside,)] = -np.inf
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return tuple(
        int(j) + w.start - p.start - (p.stop - p.start - 1)
        for j, p, w in zip(best, piece, around, strict=True)
    )


def _read_binned(fine: Readable, window: Sequence[slice], scale: Sequence[int]) -> np.ndarray:
    """Read a window of coarse pixels, a few rows at a time."""
    rows = []
    for start in range(window[0].start, window[0].stop, 64):
        part = (slice(start, min(start + 64, window[0].stop)), *window[1:])
        fine_part = [slice(w.start * k, w.stop * k) for w, k in zip(part, scale, strict=True)]
        rows.append(average_blocks(_grey(fine, fine_part), scale))
    return np.concatenate(rows)


def _seen(
    fine: Readable, scale: Sequence[int], shift: np.ndarray, window: Sequence[slice]
) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Return what coarse pixels see of the moved fine image, and which of them do."""
    usable = usable_range([w.stop for w in window], fine.shape, scale, shift.tolist())
    where = tuple(
        slice(max(w.start, u.start), max(w.start, u.start, u.stop))
        for w, u in zip(window, usable, strict=True)
    )
    if any(w.start >= w.stop for w in where):
        return np.zeros((0,) * len(where), np.float32), where
    parts, matrices = [], []
    for w, k, t, length in zip(where, scale, shift.tolist(), fine.shape, strict=True):
        whole = int(np.floor(t))
        count = w.stop - w.start
        source, matrix = shifting_matrix(length, whole + w.start * k, count * k, t - whole)
        parts.append(source)
        matrices.append(matrix.reshape(count, k, -1).mean(axis=1))
    return apply_matrices(_grey(fine, parts), matrices), where


def _refined(
    target: np.ndarray,
    window: Sequence[slice],
    fine: Readable,
    scale: Sequence[int],
    shift: np.ndarray,
) -> np.ndarray:
    """Return the shift in fine pixels at which the difference is least."""
    start, step = shift, np.array(scale, float)
    for _ in range(_STEPS):
        seen, where = _seen(fine, scale, shift, window)
        if min(seen.shape) < 2:
            return start
        wanted = _band(target[_within(where, window)])
        here = _band(seen)
        gain, _ = _fit(here, wanted)
        slopes = [gain * np.gradient(here, axis=a) / k for a, k in enumerate(scale)]
        columns = np.stack([s.ravel() for s in (*slopes, here, np.ones_like(here))], axis=1)
        columns = columns.astype(np.float64)
        residual = (wanted - gain * here).ravel()
        solved = np.linalg.lstsq(columns.T @ columns, columns.T @ residual, rcond=None)[0]
        change = np.clip(solved[: len(step)], -0.5 * step, 0.5 * step)
        shift = np.clip(shift + change, start - 1.5 * step, start + 1.5 * step)
        if np.all(np.abs(change) < _CONVERGED * step):
            break
    return shift
