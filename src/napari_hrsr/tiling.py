"""Where tiles are read and what each contributes: integers only.

One tile on one axis, in source pixels::

      0          read_start   body_start      body_stop   read_stop        n
      |---------------|============|###############|============|----------|
                        halo, read    contributed      halo, read
                        and thrown                     and thrown
                        away                           away

A read never leaves the (padded) image, so at the image's border the network
meets the same border that it meets when it sees the whole image. Every read
of a plan has the same length, so every tile has the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from napari_hrsr.errors import InputError


@dataclass(frozen=True, slots=True)
class Span:
    """One tile on one axis, in source pixels."""

    read_start: int
    read_stop: int
    body_start: int
    body_stop: int


@dataclass(frozen=True, slots=True)
class TilePlan:
    """All tiles of an image, as a product of spans per axis.

    Attributes
    ----------
    shape : tuple of int
        Spatial shape of the image.
    padded : tuple of int
        The shape after padding to the network's multiple and minimum; equal
        to `shape` for networks that need neither. Padding lies at the far end
        of each axis.
    tile : tuple of int
        Length of the longest body per axis.
    halo : tuple of int
        Least halo per axis, rounded up to the network's multiple.
    axes : tuple of tuple of Span
        The spans of each axis, in ascending order.
    """

    shape: tuple[int, ...]
    padded: tuple[int, ...]
    tile: tuple[int, ...]
    halo: tuple[int, ...]
    axes: tuple[tuple[Span, ...], ...]

    def __len__(self) -> int:
        return math.prod(len(spans) for spans in self.axes)

    def __getitem__(self, index: int) -> tuple[Span, ...]:
        if not 0 <= index < len(self):
            msg = f"tile {index} of {len(self)}"
            raise IndexError(msg)
        spans: list[Span] = []
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis))
            spans.append(axis[position])
        return tuple(reversed(spans))

    def __iter__(self) -> Iterator[tuple[Span, ...]]:
        return (self[i] for i in range(len(self)))

    @property
    def read(self) -> tuple[int, ...]:
        """Shape that the network is given for every tile."""
        return tuple(spans[0].read_stop - spans[0].read_start for spans in self.axes)

    @property
    def region(self) -> tuple[tuple[int, int], ...]:
        """First and one past the last source pixel that is upscaled, per axis."""
        return tuple((spans[0].body_start, spans[-1].body_stop) for spans in self.axes)


def plan_tiles(
    shape: Sequence[int],
    tile: Sequence[int],
    *,
    halo: Sequence[int],
    multiple: Sequence[int] | None = None,
    minimum: Sequence[int] | None = None,
    unit: Sequence[int] | None = None,
    region: Sequence[tuple[int, int]] | None = None,
) -> TilePlan:
    """Cut an image into tiles whose results equal those of the whole.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image, in pixels.
    tile : sequence of int
        Longest body per axis, rounded up to `multiple`. Bodies are made even:
        100 pixels in tiles of at most 60 become two of 50.
    halo : sequence of int
        Pixels on each side of an output pixel that can influence it.
    multiple : sequence of int, optional
        Every read starts and stops on a multiple of this (default 1).
    minimum : sequence of int, optional
        Least length that the network accepts (default 1).
    unit : sequence of int, optional
        Length of the output's write units, in source pixels, counted from the
        start of `region`. No body crosses from one unit into the next.
    region : sequence of (int, int), optional
        Part of the image to upscale, as first and one past the last pixel per
        axis. Reads may leave it; they stay inside the image.

    Returns
    -------
    TilePlan
        The tiles.

    Raises
    ------
    InputError
        If an axis is empty, a tile is shorter than one pixel, or the region
        does not lie in the image.
    """
    ndim = len(shape)
    ones = (1,) * ndim
    multiple = multiple or ones
    region = region or tuple((0, n) for n in shape)
    axes, padded = [], []
    for axis in range(ndim):
        if shape[axis] < 1:
            msg = f"the image is empty: its spatial shape is {tuple(shape)}"
            raise InputError(msg)
        if tile[axis] < 1:
            msg = f"a tile must be at least 1 pixel long, got {tuple(tile)}"
            raise InputError(msg)
        start, stop = region[axis]
        if not 0 <= start < stop <= shape[axis]:
            msg = (
                f"the region {start}:{stop} does not lie in the image, "
                f"which has {shape[axis]} pixels on that axis"
            )
            raise InputError(msg)
        least = max(shape[axis], (minimum or ones)[axis])
        length = _round_up(least, multiple[axis])
        bodies = list(_cut(start, stop, tile[axis], multiple[axis], unit[axis] if unit else None))
        shortest = _round_up((minimum or ones)[axis], multiple[axis])
        axes.append(tuple(_spans(bodies, length, halo[axis], multiple[axis], shortest)))
        padded.append(length)
    return TilePlan(
        shape=tuple(shape),
        padded=tuple(padded),
        tile=tuple(max(s.body_stop - s.body_start for s in spans) for spans in axes),
        halo=tuple(_round_up(h, m) for h, m in zip(halo, multiple, strict=True)),
        axes=tuple(axes),
    )


def widen_plan(
    plan: TilePlan,
    margin: Sequence[int],
    *,
    multiple: Sequence[int],
    minimum: Sequence[int],
) -> TilePlan:
    """Read more around every tile; what each contributes stays as it is.

    Parameters
    ----------
    plan : TilePlan
        The tiles.
    margin : sequence of int
        Pixels per axis to read beyond the halo.
    multiple, minimum : sequence of int
        As for `plan_tiles`.
    """
    if not any(margin):
        return plan
    halo = tuple(_round_up(h + m, k) for h, m, k in zip(plan.halo, margin, multiple, strict=True))
    axes = tuple(
        tuple(
            _spans(
                [(span.body_start, span.body_stop) for span in spans],
                plan.padded[axis],
                halo[axis],
                multiple[axis],
                _round_up(minimum[axis], multiple[axis]),
            )
        )
        for axis, spans in enumerate(plan.axes)
    )
    return replace(plan, halo=halo, axes=axes)


def _cut(
    start: int, stop: int, tile: int, multiple: int, unit: int | None
) -> Iterator[tuple[int, int]]:
    """Cut an interval into units, and each unit into even bodies."""
    unit = min(unit or stop - start, stop - start)
    count = math.ceil(unit / tile)
    body = _round_up(math.ceil(unit / count), multiple)
    for first in range(start, stop, unit):
        last = min(first + unit, stop)
        for position in range(first, last, body):
            yield position, min(position + body, last)


def _spans(
    bodies: Sequence[tuple[int, int]], length: int, halo: int, multiple: int, shortest: int
) -> Iterator[Span]:
    """Surround bodies by reads of one common length inside ``0..length``."""
    wanted = [
        (
            max(0, (start - halo) // multiple * multiple),
            min(length, _round_up(stop + halo, multiple)),
        )
        for start, stop in bodies
    ]
    read = max(shortest, *(stop - start for start, stop in wanted))
    for (start, stop), (first, _) in zip(bodies, wanted, strict=True):
        first = min(first, length - read)
        yield Span(first, first + read, start, stop)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
