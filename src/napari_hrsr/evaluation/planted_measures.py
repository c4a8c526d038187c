"""What is read off a scene of planted objects, or off what a model made of it."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import map_coordinates, maximum_filter

from napari_hrsr.evaluation.images import Image
from napari_hrsr.evaluation.planted_scenes import Scene

APART = 1 - 8 / math.pi**2
"""Dip between two points that Rayleigh's criterion asks for, with a slit: 0.19."""

_SECOND = 0.5
"""A second maximum counts from this share of the first one's height."""

_REACH = 2.0
"""How far from a single point, in pixels of the source, a second maximum is looked for."""


def dip(scene: Scene, image: Image, number: int, span: Image) -> float:
    """Return the dip between two points over their height, 0 for none."""
    distance = float(np.linalg.norm(span))
    along = np.linspace(-0.8, 0.8, 81)
    values, ground = (_profile(scene, x, number, span, along) for x in (image, scene.background))
    left, right = np.flatnonzero(along < -0.2), np.flatnonzero(along > 0.2)
    first, second = left[values[left].argmax()], right[values[right].argmax()]
    lower = min(values[first], values[second])
    height = lower - ground.mean()
    if height <= 0 or distance == 0:
        return 0.0
    return float(np.clip((lower - values[first : second + 1].min()) / height, 0.0, 1.0))


def _profile(scene: Scene, image: Image, number: int, span: Image, along: Image) -> Image:
    cell, apart = scene.cell(image, number)
    places = [
        (share * along - axis.ravel()[0]) * k
        for share, axis, k in zip(span, apart, scene.factor, strict=True)
    ]
    return np.asarray(map_coordinates(cell, places, order=3, mode="nearest"))


def is_split(scene: Scene, image: Image, number: int) -> bool:
    """Tell whether a point has become two."""
    cell, apart = scene.cell(image, number)
    ground = float(scene.cell(scene.background, number)[0].mean())
    inside = sum((a**2 for a in apart), np.zeros((1,) * cell.ndim)) <= _REACH**2
    summits = np.argwhere((cell == maximum_filter(cell, 3)) & inside)
    heights = cell[tuple(summits.T)] - ground
    if not len(heights) or heights.max() <= 0:
        return False
    top = int(heights.argmax())
    for place, height in zip(summits, heights, strict=True):
        if height < _SECOND * heights[top] or (place == summits[top]).all():
            continue
        line = np.linspace(summits[top], place, 33).T
        valley = float(map_coordinates(cell, line, order=1).min()) - ground
        if (height - valley) / height >= APART:
            return True
    return False


def contrasts(scene: Scene, image: Image, widths: Image) -> Image:
    """Return the mean within half of each width, less that of a shell around it."""
    found = []
    for number, width in enumerate(widths):
        cell, apart = scene.cell(image, number)
        radius = np.sqrt(sum((a**2 for a in apart), np.zeros((1,) * cell.ndim)))
        # Pixels may be as long as a lesion: the middle one always counts.
        core = radius <= max(width / 4, float(radius.min()))
        shell = (radius > width / 2 + 1) & (radius < width / 2 + 3)
        found.append(float(cell[core].mean() - cell[shell].mean()))
    return np.array(found)
