"""What a viewer shows of a live view when it is zoomed out: the source, ever coarser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_hrsr.lazy.live import LiveView
from napari_hrsr.lazy.source_levels import SourceLevel, in_memory

_COARSEST = 2048
"""Longest side of the coarsest level, which a viewer may hold whole."""


def add_levels(view: LiveView, coarser: Sequence[Any] = ()) -> None:
    """Give a live view the coarse levels that cost nothing: the source's.

    Viewers take the coarsest level that has a pixel for each of the screen.
    Where the model does not enlarge the plane, the source itself would hide
    the result at once, so the first coarse level is half as fine.

    Parameters
    ----------
    view : LiveView
        Its `levels` are set.
    coarser : sequence of array
        Coarser levels of the source where it has some, finest first.
    """
    job = view.job
    plane = job.axes.spatial[-2:]
    levels: list[Any] = [view.source]
    steps = (1,) * job.axes.ndim
    finest: Any = job.source
    if min(job.model.spec.scale[-2:]) == 1:
        levels = []
    for source in coarser:
        finest, steps = source, (1,) * job.axes.ndim
        levels.append(_level(view, source, steps))
    longest = max(finest.shape[axis] for axis in plane)
    while longest > _COARSEST or not levels:
        steps = tuple(
            2 * k if axis in plane and finest.shape[axis] >= 4 * k else k
            for axis, k in enumerate(steps)
        )
        levels.append(_level(view, finest, steps))
        longest = -(-longest // 2)
    if not in_memory(finest) and view.array.ndim - (job.axes.samples is not None) == 2:
        levels[-1] = _filled(view, levels[-1])
    view.levels = [view.array, *levels]


def _level(view: LiveView, source: Any, steps: Sequence[int]) -> SourceLevel:
    return SourceLevel(source, steps, view.job.axes, view.job.dtype, view.blocks)


def _filled(view: LiveView, level: SourceLevel) -> Any:
    """Return a level as an array that is black at first and filled by a thread.

    Viewers hold the coarsest level of a plane as the array that they once got.
    """
    whole = np.zeros(level.shape, level.dtype)
    level.fill(whole)
    return whole
