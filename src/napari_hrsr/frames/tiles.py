"""A tile of the result.

Each is computed with a margin that is thrown away. The fine image is global,
but what lies far off hardly matters: tiles agree with the whole as
`AGREEMENT` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.frames.baselines import DROP, average, deposit
from napari_hrsr.frames.changes import find_changes
from napari_hrsr.frames.reconstructing import Recorded, reconstruct
from napari_hrsr.frames.scene import Scene, look, margin, record_view
from napari_hrsr.tiling import Span

AGREEMENT = (0.001, 0.02)
"""Difference of a tiled result and a whole one over the image's range, where the
strength fits: root of the mean square, and largest of a single pixel."""

HALO = {2: 12, 3: 7}
"""Pixels around a tile that it is computed with, beside those that see less of it."""

TILE = {2: (192, 192), 3: (32, 72, 72)}
"""Longest tile, in pixels of the frames."""

METHODS = ("robust", "average", "shift-and-add", "drizzle")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How tiles are computed.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    strength : float
        As for `reconstruct`.
    motion : bool
        Whether parts that move fall back to the reference.
    device : torch.device
        Where.
    """

    method: str
    strength: float
    motion: bool
    device: torch.device


def surround(
    scene: Scene, first: Sequence[int], stop: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the start and shape of the window that a part is computed with.

    Parameters
    ----------
    scene : Scene
        The frames.
    first, stop : sequence of int
        Of the part, per axis.
    """
    start, shape = [], []
    for a, b, n, m in zip(first, stop, scene.stack.extent, margin(scene.model), strict=True):
        around = HALO[scene.model.ndim] + m
        # Beyond the border only what the frames' last pixels collect matters.
        low, high = max(a - around, -m), min(b + around, n + m)
        start.append(low)
        shape.append(high - low)
    return tuple(start), tuple(shape)


def fuse_tile(
    scene: Scene,
    index: tuple[int, ...],
    spans: tuple[Span, ...],
    recipe: Recipe,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Floats, Floats]:
    """Compute one tile.

    Parameters
    ----------
    scene : Scene
        The frames.
    index : tuple of int
        Along the axes that are not space.
    spans : tuple of Span
        The tile; its body counts.
    recipe : Recipe
        How.
    cancelled : callable
        Polled.

    Returns
    -------
    values : ndarray, shape (body * factor)
        In the units of the frames.
    moving : ndarray, shape body
        Part of the frames that is left out; see `find_changes`.
    """
    start, shape = surround(scene, [s.body_start for s in spans], [s.body_stop for s in spans])
    level = scene.levels[index]
    view = look(scene, index, start, shape)
    where = (view.values, view.inside, scene.motions, view.start, view.offsets, scene.model.factor)
    moving = np.zeros(shape, np.float32)
    if recipe.method == "average":
        fine = average(*where)
    elif recipe.method in ("drizzle", "shift-and-add"):
        fine = deposit(*where, DROP if recipe.method == "drizzle" else 0.0)
    else:
        begin = torch.from_numpy(average(*where)).to(recipe.device)
        recorded = record_view(scene, view, level.noise, device=recipe.device)
        image = reconstruct(recorded, recipe.strength, begin, cancelled=cancelled)
        if recipe.motion:
            predicted = recorded.frames.apply(image).cpu().numpy()
            weights, moving = find_changes(
                view.values, predicted, recorded.weights.cpu().numpy(), level.noise
            )
            if moving.any():
                trusted = torch.from_numpy(weights).to(recipe.device)
                rest = Recorded(recorded.frames, recorded.values, trusted, recorded.noise)
                image = reconstruct(rest, recipe.strength, image, cancelled=cancelled)
        fine = image.cpu().numpy()
    inner = tuple(
        slice(s.body_start - a, s.body_stop - a) for s, a in zip(spans, start, strict=True)
    )
    body = tuple(
        slice(w.start * k, w.stop * k) for w, k in zip(inner, scene.model.factor, strict=True)
    )
    return fine[body] * level.span + level.low, moving[inner]
