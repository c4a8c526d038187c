"""Which part of a layer the user sees, in pixels of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari

Bounds = tuple[int, int]


def visible_region(
    viewer: napari.Viewer, layer: napari.layers.Image, spatial: tuple[int, ...]
) -> list[Bounds | None]:
    """Return what is on the canvas: a rectangle, and the current slice elsewhere.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari.layers.Image
        The layer.
    spatial : tuple of int
        Axes that are upscaled together. One of them that is not displayed (z
        of a volume shown slice by slice) is taken whole.

    Returns
    -------
    list of (int, int) or None
        One entry per axis of the layer's data, colours included.
    """
    shape = _shape(layer)
    region: list[Bounds | None] = [None] * len(shape)
    centre = view_centre(viewer, layer)
    displayed = _displayed(viewer, layer)
    factors = _level_factors(layer)
    corners = np.asarray(layer.corner_pixels)
    for axis in range(layer.ndim):
        n = shape[axis]
        if axis in displayed and viewer.dims.ndisplay == 2:
            start = int(np.floor(corners[0, axis] * factors[axis]))
            stop = int(np.ceil((corners[1, axis] + 1) * factors[axis]))
            start = min(max(0, start), n - 1)
            region[axis] = (start, min(max(stop, start + 1), n))
        elif axis not in spatial:
            index = min(max(0, round(centre[axis])), n - 1)
            region[axis] = (index, index + 1)
    return region


def view_centre(viewer: napari.Viewer, layer: napari.layers.Image) -> tuple[float, ...]:
    """Return the middle of what is shown, in pixels of the layer's data."""
    point = np.asarray(layer.world_to_data(viewer.dims.point[-layer.ndim :]), dtype=float)
    corners = np.asarray(layer.corner_pixels, dtype=float)
    factors = _level_factors(layer)
    for axis in _displayed(viewer, layer):
        point[axis] = corners[:, axis].mean() * factors[axis]
    return (*point.tolist(), *([0.0] if layer.rgb else []))


def _displayed(viewer: napari.Viewer, layer: napari.layers.Image) -> list[int]:
    offset = viewer.dims.ndim - layer.ndim
    return [axis - offset for axis in viewer.dims.displayed if axis >= offset]


def _level_factors(layer: Any) -> np.ndarray:
    if not layer.multiscale:
        return np.ones(layer.ndim)
    return np.asarray(layer.downsample_factors)[layer.data_level]


def _shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)
