"""Where layers that explain a network lie, and what they look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr.axes import Axes
from napari_hrsr.geometry import upscaled_scale_translate

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_hrsr.explaining import Attribution, FeatureMaps, ReceptiveField

EXPLAINED_KEY = "napari_hrsr_explained"
"""Where a layer's metadata say what it explains."""

COLOURS = {"region": "white", "core": "yellow", "field": "cyan"}

_MOST_SLICES = 64


def maps_layer(
    layer: Image, axes: Axes, loop: Sequence[int], maps: FeatureMaps, model: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return data and attributes of feature maps: their number first, then the source's axes.

    Parameters
    ----------
    layer : napari.layers.Image
        The source.
    axes : Axes
        The roles of its axes.
    loop : sequence of int
        The index on each axis that is looped over.
    maps : FeatureMaps
        What is shown.
    model : str
        Name of the model.
    """
    shape = _spread(axes, maps.data.shape[1:], [1] * len(loop))
    data = maps.data.reshape(len(maps.data), *shape[: layer.ndim])
    place = _place(layer, axes, loop, maps.layer.factor, maps.start)
    low, high = np.percentile(data[..., :: max(1, data.shape[-1] // 512)], (0.5, 99.5))
    attributes = _with_first_axis(place, "feature") | {
        "name": f"{layer.name} {maps.layer.name}",
        "colormap": "gray",
        "contrast_limits": (float(low), float(max(high, low + 1e-6))),
        "metadata": {EXPLAINED_KEY: {"model": model, "layer": maps.layer.name}},
    }
    return data, attributes


def attribution_layer(
    layer: Image, axes: Axes, loop: Sequence[int], found: Attribution, model: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return data and attributes of an attribution map; see `maps_layer`."""
    shape = _spread(axes, found.data.shape, [1] * len(loop))
    data = found.data.reshape(shape[: layer.ndim])
    place = _place(layer, axes, loop, (1.0,) * len(axes.spatial), found.start)
    most = float(np.abs(data).max()) or 1.0
    attributes = place | {
        "name": f"{layer.name} attribution",
        "colormap": "PiYG",
        "contrast_limits": (-most, most),
        "opacity": 0.7,
        "blending": "translucent",
        "interpolation2d": "nearest",
        "metadata": {
            EXPLAINED_KEY: {
                "model": model,
                "region": [list(bounds) for bounds in found.region],
                "diffusion_index": found.diffusion_index,
            }
        },
    }
    return data, attributes


def field_layer(
    layer: Image, axes: Axes, loop: Sequence[int], found: ReceptiveField, model: str
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return polygons and attributes of a Shapes layer: region, core and whole field.

    In a volume each is drawn on every slice that it has, up to 64 evenly spread ones.
    """
    polygons, kinds = [], []
    for kind, box in (("field", found.bounds), ("core", found.core), ("region", found.region)):
        slices: Sequence[float | None] = [None]
        if len(axes.spatial) == 3:
            first, stop = box[0]
            slices = np.unique(np.linspace(first, stop - 1, _MOST_SLICES).round()).tolist()
        (top, bottom), (left, right) = box[-2:]
        for z in slices:
            polygon = np.zeros((4, layer.ndim))
            for axis, index in zip(axes.looped, loop, strict=True):
                polygon[:, axis] = index
            if z is not None:
                polygon[:, axes.spatial[0]] = z
            polygon[:, axes.spatial[-2]] = np.array([top, top, bottom, bottom]) - 0.5
            polygon[:, axes.spatial[-1]] = np.array([left, right, right, left]) - 0.5
            polygons.append(polygon)
            kinds.append(kind)
    attributes = _transform(layer, layer.scale, layer.translate) | {
        "name": f"{layer.name} receptive field",
        "shape_type": "polygon",
        "edge_color": [COLOURS[kind] for kind in kinds],
        "face_color": "transparent",
        "edge_width": 0.5,
        "features": {"kind": kinds},
        "metadata": {EXPLAINED_KEY: {"model": model}},
    }
    return polygons, attributes


def _spread(axes: Axes, spatial: Sequence[int], looped: Sequence[int]) -> list[int]:
    shape = [1] * axes.ndim
    for axis, n in zip((*axes.spatial, *axes.looped), (*spatial, *looped), strict=True):
        shape[axis] = n
    return shape


def _place(
    layer: Image,
    axes: Axes,
    loop: Sequence[int],
    factor: Sequence[float],
    start: Sequence[float],
) -> dict[str, Any]:
    n = layer.ndim
    factors, starts = np.ones(axes.ndim), np.zeros(axes.ndim)
    factors[list(axes.spatial)], starts[list(axes.spatial)] = factor, start
    starts[list(axes.looped)] = loop
    scale, translate = upscaled_scale_translate(
        layer.scale, layer.translate, layer.rotate, layer.shear, factors[:n], starts[:n]
    )
    return _transform(layer, scale, translate)


def _transform(layer: Image, scale: Any, translate: Any) -> dict[str, Any]:
    return {
        "scale": np.array(scale),
        "translate": np.array(translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def _with_first_axis(place: dict[str, Any], label: str) -> dict[str, Any]:
    """Put an axis in front that has no place in the world."""
    n = len(place["scale"])
    shear = place["shear"]
    if shear.ndim == 1:
        matrix = np.eye(n)
        matrix[np.triu_indices(n, 1)] = shear
        shear = matrix
    wide = {name: np.eye(n + 1) for name in ("rotate", "shear")}
    wide["rotate"][1:, 1:], wide["shear"][1:, 1:] = place["rotate"], shear
    affine = np.eye(n + 2)
    affine[1:, 1:] = place["affine"]
    labels = [str(name) for name in place["axis_labels"]]
    # Labels that are only numbers count from the end, and would clash.
    if not any(name.lstrip("-").isdigit() for name in labels):
        labels = [label, *labels]
    else:
        labels = [str(i) for i in range(-n - 1, 0)]
    return {
        "scale": np.concatenate([[1.0], place["scale"]]),
        "translate": np.concatenate([[0.0], place["translate"]]),
        "rotate": wide["rotate"],
        "shear": wide["shear"][np.triu_indices(n + 1, 1)],
        "affine": affine,
        "units": ("pixel", *place["units"]),
        "axis_labels": tuple(labels),
    }
