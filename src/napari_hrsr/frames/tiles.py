"""A tile of the result.

Each is computed with a margin that is thrown away. The fine image is global,
but what lies far off hardly matters: tiles agree with the whole to
`AGREEMENT`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.frames.baselines import DROP, average, deposit
from napari_hrsr.frames.changes import find_changes
from napari_hrsr.frames.reconstructing import Recorded, reconstruct
from napari_hrsr.frames.scene import Scene, look, margin, record_view
from napari_hrsr.tiling import Span

AGREEMENT = 0.005
"""Largest difference of a tiled result and a whole one, over the image's range."""

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


def halo(scene: Scene) -> tuple[int, ...]:
    """Return how many pixels around a tile are read, per axis."""
    return tuple(HALO[scene.model.ndim] + m for m in margin(scene.model))


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
    around = halo(scene)
    start = tuple(s.body_start - h for s, h in zip(spans, around, strict=True))
    shape = tuple(s.body_stop - s.body_start + 2 * h for s, h in zip(spans, around, strict=True))
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
    body = tuple(
        slice(h * k, (n - h) * k) for h, k, n in zip(around, scene.model.factor, shape, strict=True)
    )
    inner = tuple(slice(h, n - h) for h, n in zip(around, shape, strict=True))
    return fine[body] * level.span + level.low, moving[inner]
