"""The range and the noise of an image, measured once, never per tile.

Tiles that were normalised one by one would differ in brightness, so the
black level, the white level and the noise are measured before the first tile
and shared by all of them: one measurement per channel by default, one for
the whole image, or one per channel and time point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.noise_level import estimate_noise
from napari_hrsr.pixels import check_block, needs_every_value, read_block

Per = Literal["image", "channel", "frame"]

LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9

Levels = tuple[float, float] | None
"""What black and white are measured as; see `Intensity`."""

_SLAB = 4_000_000
_PATCH = 64
_SAMPLED_SLABS = 16
_NOISE_PLANES = 8
_NOISE_SIDE = 1024
_SAMPLE = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Intensity:
    """Black level, white level and noise of an image, in its own units.

    Attributes
    ----------
    low, high : ndarray
        The 0.1 and 99.9 percentiles; one entry per index of each looped axis,
        or length 1 where an axis shares one measurement.
    noise : ndarray
        Standard deviation of the noise, same shape.
    levels : tuple of float or None
        The percentiles that `low` and `high` are; None where they are the mean
        and the mean plus one standard deviation.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    noise: NDArray[np.float64]
    levels: Levels = (LOW_PERCENTILE, HIGH_PERCENTILE)

    def at(self, index: Sequence[int]) -> tuple[float, float, float]:
        """Return low, high and noise for an index along the looped axes."""
        at = tuple(i if n > 1 else 0 for i, n in zip(index, self.low.shape, strict=True))
        low, high, noise = self.low[at], self.high[at], self.noise[at]
        return float(low), float(high if high > low else low + 1.0), float(noise)

    def with_noise(self, noise: float) -> Intensity:
        """Return a copy with a given noise level, in the image's units."""
        return replace(self, noise=np.full_like(self.noise, noise))

    def summary(self) -> dict[str, Any]:
        """Return the numbers as plain lists."""
        numbers = {k: getattr(self, k).tolist() for k in ("low", "high", "noise")}
        usual = self.levels == (LOW_PERCENTILE, HIGH_PERCENTILE)
        return numbers if usual else numbers | {"levels": self.levels and list(self.levels)}


def intensity_from_summary(summary: dict[str, Any]) -> Intensity:
    """Rebuild an `Intensity` from what `Intensity.summary` returned."""
    low, high, noise = (np.asarray(summary[k], dtype=float) for k in ("low", "high", "noise"))
    levels = summary.get("levels", (LOW_PERCENTILE, HIGH_PERCENTILE))
    return Intensity(low, high, noise, None if levels is None else (levels[0], levels[1]))


def wanted_levels(spec: ModelSpec) -> Levels:
    """Return what a model wants to be measured as black and white."""
    return None if spec.normalisation == "standard" else spec.percentiles


def measure_intensity(
    source: Any,
    axes: Axes,
    *,
    per: Per = "channel",
    levels: Levels = (LOW_PERCENTILE, HIGH_PERCENTILE),
    every: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Intensity:
    """Measure range and noise, and check the values, in one pass.

    Integer images are sampled at evenly spaced places. Floating-point images,
    and integers wider than 16 bits, are read once from end to end, a slab at
    a time, because a single NaN would spread over everything that the network
    sees around it.

    Parameters
    ----------
    source : array
        As `check_source` returns it.
    axes : Axes
        The roles of its axes.
    per : {"channel", "image", "frame"}
        Measure every channel on its own, all together, or every channel and
        time point on its own.
    levels : tuple of float or None
        Percentiles that are measured as black and white; None for the mean and
        the mean plus one standard deviation.
    every : bool, optional
        Read and check every value, by default those of the images named above.
        Where it is False, values that cannot be used are passed over.
    progress : callable, optional
        Called with the number of slabs done and in total.
    cancelled : callable, optional
        Polled between slabs.

    Returns
    -------
    Intensity
        In the image's own units.

    Raises
    ------
    InputError
        If a value is NaN or infinite, or an integer is too large to be exact
        in float32.
    CancelledError
        If `cancelled` returned True.
    """
    if per not in ("channel", "image", "frame"):
        msg = f"intensity is measured per 'channel', 'image' or 'frame', got {per!r}"
        raise InputError(msg)
    every = needs_every_value(source.dtype) if every is None else every
    apart = {"channel": "C", "image": "", "frame": "CT"}[per]
    lengths = axes.pick_looped(source.shape)
    groups = tuple(
        n if axes.names[axis] in apart else 1 for axis, n in zip(axes.looped, lengths, strict=True)
    )
    low, high, noise = (np.zeros(groups) for _ in range(3))
    slabs = {group: _slabs(source, axes, group, groups, every) for group in np.ndindex(groups)}
    total, done = sum(len(s) for s in slabs.values()), 0
    for group, keys in slabs.items():
        values: list[NDArray[Any]] = []
        sigmas: list[float] = []
        planes = set(np.linspace(0, len(keys) - 1, min(len(keys), _NOISE_PLANES)).astype(int))
        for position, key in enumerate(keys):
            slab = _colours(_checked_slab(source, key, every, cancelled), axes)
            values.append(_thin(slab, _SAMPLE // len(keys)))
            if position in planes:
                sigmas.extend(_noise_levels(slab, axes))
            done += 1
            if progress is not None:
                progress(done, total)
        sample = np.concatenate(values).astype(np.float64)
        if not every:
            sample = sample[np.abs(sample) <= np.finfo(np.float32).max]
            sample = sample if sample.size else np.zeros(1)
        if levels is None:
            low[group], high[group] = sample.mean(), sample.mean() + sample.std()
        else:
            low[group], high[group] = np.percentile(sample, levels)
        noise[group] = float(np.median(sigmas)) if sigmas else 0.0
    return Intensity(low, high, noise, levels)


def check_values(source: Any, axes: Axes, *, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Read an image once, and refuse values that cannot be used.

    For runs whose `Intensity` is given; `measure_intensity` checks by itself.

    Raises
    ------
    InputError, CancelledError
        As `measure_intensity`.
    """
    if needs_every_value(source.dtype):
        together = (1,) * len(axes.looped)
        for key in _slabs(source, axes, (0,) * len(axes.looped), together, every=True):
            _checked_slab(source, key, True, cancelled)


def _slabs(
    source: Any, axes: Axes, group: tuple[int, ...], groups: tuple[int, ...], every: bool
) -> list[tuple[Any, ...]]:
    """Keys of the slabs that belong to one group: all of them, or a sample."""
    shape = source.shape
    choices: list[Sequence[Any]] = [
        (group[i],) if groups[i] > 1 else range(shape[axis]) for i, axis in enumerate(axes.looped)
    ]
    lengths = _slab_lengths(axes.pick_spatial(shape), axes.pick_spatial(_chunks(source)))
    choices += [_cuts(shape[a], n) for a, n in zip(axes.spatial, lengths, strict=True)]
    counts = [len(options) for options in choices]
    count = math.prod(counts)
    picked = (
        range(count)
        if every or count <= _SAMPLED_SLABS
        else np.unique(np.linspace(0, count - 1, _SAMPLED_SLABS).astype(int)).tolist()
    )
    keys = []
    for position in picked:
        key: list[Any] = [slice(None)] * axes.ndim
        at = np.unravel_index(position, counts)
        for axis, options, index in zip((*axes.looped, *axes.spatial), choices, at, strict=True):
            key[axis] = options[int(index)]
        keys.append(tuple(key))
    return keys


def _slab_lengths(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Lengths of a slab: whole chunks, at least a patch, then up to `_SLAB` pixels."""
    patch = (1, _PATCH, _PATCH)[-len(shape) :]
    lengths = [
        min(n, math.ceil(least / chunk) * chunk)
        for n, least, chunk in zip(shape, patch, chunks, strict=True)
    ]
    for axis in reversed(range(len(shape))):
        room = max(1, _SLAB // math.prod(lengths))
        lengths[axis] = min(shape[axis], lengths[axis] * room)
    return tuple(lengths)


def _chunks(source: Any) -> tuple[int, ...]:
    """Chunk lengths of a zarr or dask array; ones for any other."""
    chunks = getattr(source, "shards", None) or getattr(source, "chunks", None)
    chunks = chunks or (1,) * len(source.shape)
    return tuple(int(max(c) if isinstance(c, tuple) else c) for c in chunks)


def _cuts(n: int, length: int) -> list[slice]:
    """Cut an axis; what is left over joins the last piece where it is short."""
    count = max(1, round(n / length))
    return [slice(i * length, n if i == count - 1 else (i + 1) * length) for i in range(count)]


def _checked_slab(
    source: Any, key: tuple[Any, ...], every: bool, cancelled: Callable[[], bool]
) -> NDArray[Any]:
    if cancelled():
        msg = "cancelled while the intensity was measured"
        raise CancelledError(msg)
    slab = read_block(source, key)
    if every:
        check_block(slab, key)
    return slab


def _colours(slab: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Leave out the opacity, which is not light."""
    if axes.samples is None:
        return slab
    position = axes.samples - sum(axis < axes.samples for axis in axes.looped)
    count = slab.shape[position]
    kept = slice(count - 1 if count in (2, 4) else count)
    return slab[(slice(None),) * position + (kept,)]


def _thin(slab: NDArray[Any], count: int) -> NDArray[Any]:
    """Take about `count` evenly spaced values, from every column and every colour."""
    flat = slab.reshape(-1)
    step = max(1, math.ceil(flat.size / max(1, count)))
    # A step that shared a factor with the width would see some columns only.
    while math.gcd(step, flat.size) > 1:
        step += 1
    return flat[::step]


def _noise_levels(slab: NDArray[Any], axes: Axes) -> Iterator[float]:
    """Noise of the middle plane of a slab, one figure per colour sample."""
    kept = [axis for axis in range(axes.ndim) if axis not in axes.looped]
    order = [kept.index(axis) for axis in axes.spatial]
    planes = np.moveaxis(slab, order, range(len(order)))
    if len(order) == 3:
        planes = planes[len(planes) // 2]
    planes = planes[tuple(_middle(n) for n in planes.shape[:2])]
    planes = planes.reshape(*planes.shape[:2], -1).astype(np.float64)
    for sample in itertools.islice(range(planes.shape[-1]), 3):
        yield estimate_noise(planes[..., sample])


def _middle(n: int) -> slice:
    start = max(0, (n - _NOISE_SIDE) // 2)
    return slice(start, start + _NOISE_SIDE)
