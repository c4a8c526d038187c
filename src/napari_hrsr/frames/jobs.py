"""A fusion, described completely before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_hrsr.axes import Axes
from napari_hrsr.frames.preparing import Wishes
from napari_hrsr.frames.stack import FrameStack
from napari_hrsr.tiling import TilePlan


@dataclass(frozen=True, slots=True, eq=False)
class FusionJob:
    """A run that can be started; to outputs it looks as a `jobs.Job` does."""

    stack: FrameStack
    wishes: Wishes
    plan: TilePlan
    dtype: np.dtype[Any]

    @property
    def axes(self) -> Axes:
        """The roles of the axes of the result."""
        names = self.stack.axes
        spatial = self.stack.spatial
        return Axes(names, spatial, tuple(a for a in range(len(names)) if a not in spatial))

    @property
    def factor(self) -> tuple[int, ...]:
        """Pixels of the result in one of a frame, on every axis."""
        return self.axes.spread(self.wishes.model.factor)

    @property
    def origin(self) -> tuple[int, ...]:
        """Where the result's first outer edge lies: on that of the reference."""
        return (0,) * len(self.stack.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(n * k for n, k in zip(self.stack.shape, self.factor, strict=True))

    @property
    def nbytes(self) -> int:
        """Size of the result in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks for a result on disk: every tile owns whole ones."""
        chunks = [
            min(n, t * k)
            for n, t, k in zip(
                self.shape, self.axes.spread(self.plan.tile), self.factor, strict=True
            )
        ]
        if "S" in self.stack.axes:
            chunks[self.stack.axes.index("S")] = self.shape[self.stack.axes.index("S")]
        return tuple(chunks)

    @property
    def total(self) -> int:
        """Number of tiles."""
        return len(self.plan) * int(np.prod(self.stack.looped, dtype=np.int64))
