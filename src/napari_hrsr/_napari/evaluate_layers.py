"""Which layers an evaluation is of, and where the layers of its maps lie: no Qt, no state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_hrsr._napari.choices import is_image
from napari_hrsr.geometry import upscaled_scale_translate
from napari_hrsr.layers import RECORD_KEY, layer_axes, layer_metadata, layer_source

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_hrsr.evaluation.showing import Map
    from napari_hrsr.evaluation.subject import Given, Subject

MAP_KEY = "napari_hrsr_map"
"""Where the layer of a map says, in its metadata, of which layer it is."""

_CLOSE = 0.5
"""How far outer corners of a result may lie from those of its source, in pixels of the source."""


def record_of(layer: Any) -> dict[str, Any] | None:
    """Return how a layer was made, None where it does not say."""
    record = layer.metadata.get(RECORD_KEY)
    return record if isinstance(record, dict) else None


def is_result(layer: Any) -> bool:
    """Tell whether a layer is a result, rather than a source or a map."""
    record = record_of(layer) if is_image(layer) else None
    if record is None or MAP_KEY in layer.metadata:
        return False
    coarse, factor = _recorded_shape(record), record.get("factor")
    shape = _shape(layer)
    if coarse is None or factor is None or not len(coarse) == len(factor) == len(shape):
        return True
    # Maps of doubt and of what moves carry the record of their result.
    return all(
        abs(n - k * c) < k for n, k, c in zip(shape, factor, coarse, strict=True)
    ) and not layer.name.endswith((" doubt", " moving"))


def find_source(result: Image, layers: Iterable[Any]) -> Image | None:
    """Find the layer that a result was made of: by the recorded name and shape, and by place.

    Parameters
    ----------
    result : napari.layers.Image
        The result.
    layers : iterable of layers
        To choose from.
    """
    record = record_of(result)
    best, most = None, 0
    for layer in layers:
        if layer == result or not is_image(layer) or MAP_KEY in layer.metadata:
            continue
        if layer.rgb != result.rgb or _voxels(layer) > _voxels(result):
            continue
        points = 0
        if record is not None:
            whole = record.get("source_shape")
            named = layer.name == record.get("source")
            frames = record.get("operation") == "fuse" and layer.ndim == result.ndim + 1
            fits = list(_shape(layer)) == whole or (whole is None and (frames or named))
            points = (2 + named + _covers(layer, result)) if fits else 0
        elif _covers(layer, result) and _multiples(_shape(layer), _shape(result)):
            points = 1
        if points > most:
            best, most = layer, points
    return best


def given_layer(layer: Image, like: Given | None = None) -> Given:
    """Return a layer as what an evaluation takes.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.
    like : Given, optional
        A result whose axes it has, if they are as many.
    """
    # It brings torch with it, for which nobody should wait when a widget opens.
    from napari_hrsr.evaluation.subject import Given

    data, record = layer_source(layer), record_of(layer)
    axes = None
    if like is not None:
        theirs = like.metadata.axes
        if len(theirs) == data.ndim:
            axes = theirs
        elif len(theirs) + 1 == data.ndim and "T" not in theirs:
            axes = "T" + theirs
    elif record is not None and len(str(record.get("axes", ""))) == data.ndim:
        axes = record["axes"]
    names = layer_axes(layer, axes)
    return Given(data, layer_metadata(layer, names), record, str(layer.name))


def shown_places(layer: Image, axes: str, point: Sequence[float]) -> dict[int, int]:
    """Return which time point, channel and so on of a layer is shown.

    Parameters
    ----------
    layer : napari.layers.Image
        The result.
    axes : str
        One letter per axis.
    point : sequence of float
        Where the viewer is, in the world: ``viewer.dims.point``.
    """
    where = np.asarray(layer.world_to_data(list(point)[-layer.ndim :]), dtype=float)
    return {
        axis: min(max(0, round(float(where[axis]))), int(layer_source(layer).shape[axis]) - 1)
        for axis, letter in enumerate(axes[: layer.ndim])
        if letter not in "ZYX"
    }


def map_data(part: Map, layer: Image, spatial: Sequence[int]) -> Any:
    """Return a map with as many axes as the layer that it lies on."""
    shape = [1] * layer.ndim
    for axis, n in zip(spatial, part.data.shape, strict=True):
        shape[axis] = n
    if isinstance(part.data, np.ndarray):
        return part.data.astype(np.float32).reshape(shape)
    chunks = tuple(min(n, 512) for n in part.data.shape)
    return da.from_array(part.data, chunks=chunks).reshape(shape)


def map_attributes(part: Map, layer: Image, subject: Subject, name: str) -> dict[str, Any]:
    """Return the attributes of the layer of a map.

    Parameters
    ----------
    part : Map
        The map.
    layer : napari.layers.Image
        What it lies on: the source or the result.
    subject : Subject
        What was evaluated.
    name : str
        Of the result's layer.

    Returns
    -------
    dict
        Keyword arguments of ``viewer.add_image``, save the colours of a map
        whose middle means nothing.
    """
    start = subject.source_start if part.on == "source" else subject.result_start
    scale, translate = upscaled_scale_translate(
        layer.scale, layer.translate, layer.rotate, layer.shear, 1, start
    )
    return {
        "name": f"{name} {part.name}",
        "scale": scale,
        "translate": translate,
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
        "rgb": False,
        "multiscale": False,
        "contrast_limits": (part.low, part.high),
        "interpolation2d": "nearest",
        "metadata": {MAP_KEY: name, "meaning": part.meaning},
    }


def _shape(layer: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in layer_source(layer).shape)


def _voxels(layer: Any) -> float:
    """Size of the part of the world that a pixel fills, the smaller the finer, inverted."""
    return 1 / float(np.prod(np.abs(np.asarray(layer.scale)[-2:])))


def _recorded_shape(record: dict[str, Any]) -> list[int] | None:
    region = record.get("region")
    if region:
        return [stop - start for start, stop in region]
    return record.get("frame_shape") or record.get("source_shape")


def _multiples(coarse: Sequence[int], fine: Sequence[int]) -> bool:
    return (
        len(coarse) == len(fine)
        and all(n % m == 0 for m, n in zip(coarse, fine, strict=True))
        and tuple(coarse) != tuple(fine)
    )


def _covers(source: Any, result: Any) -> bool:
    """Tell whether a result's outer corners lie within its source, to half a pixel."""
    if source.ndim != result.ndim:
        return False
    shape = np.array(_shape(result)[: result.ndim])
    limits = np.array(_shape(source)[: source.ndim]) - 0.5
    for corner in (np.zeros(result.ndim), shape):
        where = np.asarray(source.world_to_data(result.data_to_world(corner - 0.5)))
        if (where < -0.5 - _CLOSE).any() or (where > limits + _CLOSE).any():
            return False
    return True
