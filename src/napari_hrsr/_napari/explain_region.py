"""Which part of a layer the widget "Explain" is asked about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr._napari.regions import view_centre
from napari_hrsr.axes import Axes
from napari_hrsr.errors import InputError
from napari_hrsr.layers import layer_source

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

Bounds = tuple[int, int]

MIDDLE, SHAPE, CLICK = "Middle of the view", "Last shape drawn", "Where I click next"

_DEEP = 4
"""Slices of a region around a shape, which is flat."""


def asked_region(
    viewer: napari.Viewer,
    layer: Image,
    axes: Axes,
    where: str,
    clicked: np.ndarray | None,
    side: int,
) -> list[Bounds | None]:
    """Return the region, per axis of the layer's data: an index on axes that are looped over.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari.layers.Image
        The source.
    axes : Axes
        The roles of its axes.
    where : str
        `MIDDLE`, `SHAPE` or `CLICK`.
    clicked : ndarray or None
        World position of the click.
    side : int
        Pixels along each side of a region around a point.

    Raises
    ------
    InputError
        If there is no shape, no click, or it lies outside the image.
    """
    shape = layer_source(layer).shape
    low = high = np.array(view_centre(viewer, layer))[: layer.ndim]
    if where == CLICK:
        if clicked is None:
            msg = "click on the image first"
            raise InputError(msg)
        low = high = _to_data(layer, clicked)
    if where == SHAPE:
        low, high = _shape_bounds(viewer, layer)
    region: list[Bounds | None] = [None] * len(shape)
    for axis in axes.looped:
        index = int(np.clip(round(float(low[axis])), 0, shape[axis] - 1))
        region[axis] = (index, index + 1)
    for axis in axes.spatial:
        n = shape[axis]
        first, last = float(low[axis]), float(high[axis])
        if last < -0.5 or first > n - 0.5:
            msg = "the place lies outside the image: choose one inside"
            raise InputError(msg)
        least = side if where != SHAPE else _DEEP if last - first < 1 else 1
        length = min(n, max(least, round(last - first)))
        start = math.floor((first + last) / 2 - (length - 1) / 2 + 1e-6)
        start = int(np.clip(start, 0, n - length))
        region[axis] = (start, start + length)
    return region


def _shape_bounds(viewer: napari.Viewer, layer: Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the last shape in pixels of a layer."""
    for other in reversed(list(viewer.layers)):
        kinds = {c.__name__ for c in other.__class__.__mro__}
        if "Shapes" in kinds and len(other.data) and not other.name.endswith("receptive field"):
            chosen = sorted(other.selected_data) or [len(other.data) - 1]
            corners = [
                _to_data(layer, np.asarray(other.data_to_world(vertex)))
                for vertex in other.data[chosen[-1]]
            ]
            return np.min(corners, axis=0), np.max(corners, axis=0)
    msg = "draw a shape around the region first, in a Shapes layer"
    raise InputError(msg)


def _to_data(layer: Any, world: np.ndarray) -> np.ndarray:
    """Take a world position, of the viewer or of a layer, to pixels of a layer."""
    given = np.asarray(world, dtype=float)
    point = np.zeros(layer.ndim)
    count = min(layer.ndim, len(given))
    # Layers with fewer axes lie on the last ones of the others.
    point[layer.ndim - count :] = given[len(given) - count :]
    return np.asarray(layer.world_to_data(point), dtype=float)
