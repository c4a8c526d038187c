r"""Fade tiles into each other, for networks whose output depends on the whole image.

Tiles of such networks never equal the whole image, whatever halo they read.
Beside each border the two results are mixed, by weights that sum to one::

    weight of tile 1   1 ____________
                                     \____________ 0
    weight of tile 2   1              ____________
                       0 ____________/
                                  |  |  |
                             -width  |  +width
                                   border

Each tile's result is kept until its neighbours have been mixed with it, or
computed again where it was not kept, so tiles may be asked for in any order.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.tiling import TilePlan

MARGIN = {2: 32, 3: 12}
"""Source pixels that are read around the tiles of networks without a halo."""

Interval = tuple[int, int]

_KEPT = 2**29
"""Bytes of results that are kept for their neighbours."""


@dataclass(frozen=True, slots=True)
class Crossfade:
    """How the tiles of a plan fade into each other.

    Attributes
    ----------
    plan : TilePlan
        Its halo is the margin; tiles are mixed over half of it on either side
        of a border, the other half is context.
    """

    plan: TilePlan

    @property
    def width(self) -> tuple[int, ...]:
        """Source pixels on either side of a border over which tiles are mixed, per axis."""
        return tuple(max(1, h // 2) for h in self.plan.halo)

    def extent(self, tile: int) -> tuple[Interval, ...]:
        """Return the source pixels that a tile has a part in, per axis."""
        spans = zip(self.plan[tile], self.width, self.plan.region, strict=True)
        return tuple(
            (max(low, s.body_start - w), min(high, s.body_stop + w)) for s, w, (low, high) in spans
        )

    def partners(self, window: Sequence[Interval]) -> Iterator[int]:
        """Find the tiles that have a part in some source pixels."""
        choices = []
        axes = zip(self.plan.axes, window, self.width, strict=True)
        for spans, (start, stop), w in axes:
            choices.append(
                [
                    i
                    for i, s in enumerate(spans)
                    if s.body_start - w < stop and start < s.body_stop + w
                ]
            )
        lengths = [len(spans) for spans in self.plan.axes]
        for position in itertools.product(*choices):
            index = 0
            for i, n in zip(position, lengths, strict=True):
                index = index * n + i
            yield index

    def weights(
        self, tile: int, window: Sequence[Interval], scale: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return a tile's weights for the result's pixels in some source pixels.

        Parameters
        ----------
        tile : int
            Its number in the plan.
        window : sequence of (int, int)
            First and one past the last source pixel, per axis.
        scale : sequence of int
            Pixels of the result in one of the source, per axis.

        Returns
        -------
        ndarray of float32, shape (window * scale)
            Over all tiles they sum to one.
        """
        total = np.ones((1,) * len(scale), np.float32)
        for axis, ((start, stop), k) in enumerate(zip(window, scale, strict=True)):
            spans, width = self.plan.axes[axis], self.width[axis]
            after = math.prod(len(other) for other in self.plan.axes[axis + 1 :])
            position = tile // after % len(spans)
            at = start + (np.arange((stop - start) * k) + 0.5) / k

            def step(
                edge: int, at: NDArray[np.float64] = at, width: int = width
            ) -> NDArray[np.float64]:
                return np.clip((at - edge + width) / (2 * width), 0, 1)

            weight = np.ones_like(at) if position == 0 else step(spans[position].body_start)
            if position + 1 < len(spans):
                weight = weight - step(spans[position + 1].body_start)
            shape = [1] * len(scale)
            shape[axis] = -1
            total = total * weight.astype(np.float32).reshape(shape)
        return total


@dataclass(slots=True)
class Faded:
    """Results of tiles, mixed.

    Attributes
    ----------
    crossfade : Crossfade
        Where tiles are mixed.
    scale : tuple of int
        Pixels of the result in one of the source, per axis.
    compute : callable
        Takes the number of a tile (over all looped axes) and the source pixels
        that are wanted of it, and returns its result, channels first.
    """

    crossfade: Crossfade
    scale: tuple[int, ...]
    compute: Callable[[int, tuple[Interval, ...]], NDArray[np.float32]]
    _kept: OrderedDict[int, NDArray[np.float32]] = field(default_factory=OrderedDict)

    def mixed(self, index: int, window: tuple[Interval, ...]) -> tuple[NDArray[np.float32], float]:
        """Mix what tiles made of some source pixels.

        Parameters
        ----------
        index : int
            Of the tile that they belong to, over all looped axes.
        window : tuple of (int, int)
            First and one past the last source pixel, per axis.

        Returns
        -------
        result : ndarray of float32, shape (channels, *(window * scale))
            The mean by the weights.
        difference : float
            Twice the largest standard deviation among the tiles that have a part
            in a pixel: where two are mixed evenly, what they differ by.
        """
        position, _ = divmod(index, len(self.crossfade.plan))
        shape = [(b - a) * k for (a, b), k in zip(window, self.scale, strict=True)]
        total: NDArray[np.float32] | None = None
        parts = []
        for tile in self.crossfade.partners(window):
            extent = self.crossfade.extent(tile)
            common = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(window, extent, strict=True)]
            if any(a >= b for a, b in common):
                continue
            result = self._result(position * len(self.crossfade.plan) + tile, extent)
            # A copy, so that a result need not stay in memory for a strip of it.
            part = result[(slice(None), *self._inside(common, extent))].copy()
            weight = self.crossfade.weights(tile, common, self.scale)
            place = (slice(None), *self._inside(common, window))
            if total is None:
                total = np.zeros((len(result), *shape), np.float32)
            total[place] += weight * part
            parts.append((place, weight, part))
        assert total is not None
        # In a second pass: the mean square less the square of the mean would leave nothing of
        # differences below a thousandth.
        spread = np.zeros_like(total)
        for place, weight, part in parts:
            part -= total[place]
            spread[place] += weight * np.square(part, out=part)
        return total, 2 * float(np.sqrt(spread.max()))

    def _result(self, index: int, extent: tuple[Interval, ...]) -> NDArray[np.float32]:
        if index not in self._kept:
            self._kept[index] = self.compute(index, extent)
            size = sum(result.nbytes for result in self._kept.values())
            while size > _KEPT and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                size -= dropped.nbytes
        self._kept.move_to_end(index)
        return self._kept[index]

    def _inside(self, part: Sequence[Interval], whole: Sequence[Interval]) -> tuple[slice, ...]:
        """Return where a part of some source pixels lies in their result."""
        axes = zip(part, whole, self.scale, strict=True)
        return tuple(slice((a - c) * k, (b - c) * k) for (a, b), (c, _), k in axes)
