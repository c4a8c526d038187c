"""Which tiles lie in what is looked at, and how large they should be."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from napari_hrsr.jobs import Job
from napari_hrsr.lazy.windows import Box
from napari_hrsr.models.spec import ModelSpec

_VIEW = 512
_SIDES = {2: (64, 96, 128, 192, 256), 3: (32, 48, 64, 96, 128)}
_CALL = 3000
_SLICES = (4, 16)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a result: its number, and its box in pixels of the result."""

    index: int
    box: Box


class TileMap:
    """Finds the tiles of a job by where they lie.

    Parameters
    ----------
    job : Job
        Of a whole image, with a model of whole factors.
    """

    def __init__(self, job: Job) -> None:
        axes, scale = job.axes, job.model.spec.scale
        self._shape = job.shape
        self._order = (*axes.looped, *axes.spatial)
        self._looped = len(axes.looped)
        self._counts = [
            *axes.pick_looped(job.shape),
            *(len(spans) for spans in job.plan.axes),
        ]  # fmt: skip
        self._edges = [
            [k * span.body_start for span in spans] + [k * spans[-1].body_stop]
            for spans, k in zip(job.plan.axes, scale, strict=True)
        ]
        longest = [k * n for k, n in zip(scale, job.plan.tile, strict=True)]
        samples = 1 if axes.samples is None else job.shape[axes.samples]
        self.nbytes = math.prod(longest) * samples * job.dtype.itemsize

    def tiles(self, box: Box) -> list[Tile]:
        """List the tiles that have pixels in a box, those near its middle first."""
        return sorted(self._all(box), key=lambda tile: _distance(tile.box, box))

    def _all(self, box: Box) -> list[Tile]:
        found = []
        for at in itertools.product(*self._places(box)):
            index = 0
            for i, n in zip(at, self._counts, strict=True):
                index = index * n + i
            bounds = [(0, n) for n in self._shape]
            for position, (axis, i) in enumerate(zip(self._order, at, strict=True)):
                if position < self._looped:
                    bounds[axis] = (i, i + 1)
                else:
                    edges = self._edges[position - self._looped]
                    bounds[axis] = (edges[i], edges[i + 1])
            found.append(Tile(index, tuple(bounds)))
        return found

    def _places(self, box: Box) -> list[range]:
        places = []
        for position, axis in enumerate(self._order):
            a, b = box[axis]
            if position < self._looped:
                places.append(range(a, b))
            else:
                edges = self._edges[position - self._looped]
                places.append(range(bisect_right(edges, a) - 1, bisect_left(edges, b)))
        return places


def view_tile(spec: ModelSpec, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Choose tiles for looking, which are smaller than those for a whole image.

    A view lies anywhere on the grid of tiles, so tiles are computed that lie
    in it with a corner only: small tiles waste less of this, large ones less
    halo. A slice through a volume needs few of the planes of a tile.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    shape : sequence of int
        Spatial shape of the image.

    Returns
    -------
    tuple of int or None
        Longest body per axis. None for a network that sees the whole image:
        the fewer tiles are faded into each other, the better.
    """
    if spec.halo is None:
        return None
    plane, halo = shape[-2:], spec.halo[-2:]
    through = tuple(
        min(n, max(_SLICES[0], min(h, _SLICES[1])))
        for n, h in zip(shape[:-2], spec.halo, strict=False)
    )
    depth = math.prod(t + 2 * h for t, h in zip(through, spec.halo, strict=False))

    def cost(side: int) -> float:
        touched = math.prod(min(math.ceil(n / side), (_VIEW - 1) / side + 1) for n in plane)
        read = math.prod(min(n, side + 2 * h) for n, h in zip(plane, halo, strict=True))
        return touched * (read * depth + _CALL)

    side = min(_SIDES[spec.ndim], key=cost)
    return (*through, *(min(n, side) for n in plane))


def _distance(box: Box, view: Box) -> float:
    return sum(
        ((a + b - c - d) / (d - c + 1)) ** 2 for (a, b), (c, d) in zip(box, view, strict=True)
    )
