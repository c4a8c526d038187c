"""What a napari layer says, and what a result layer must say; without importing napari."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr.axes import check_names
from napari_hrsr.errors import InputError
from napari_hrsr.geometry import linear_matrix, scaled_point, upscaled_scale_translate
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.chaining import chain_steps
from napari_hrsr.models.spec import Upscaler

if TYPE_CHECKING:
    from napari_hrsr.jobs import Job

RECORD_KEY = "napari_hrsr"
"""Where a result layer's metadata hold the record of how it was made."""

_LETTERS = {
    "t": "T", "time": "T", "frame": "T",
    "c": "C", "ch": "C", "channel": "C", "channels": "C",
    "z": "Z", "plane": "Z", "depth": "Z",
    "y": "Y", "row": "Y", "height": "Y",
    "x": "X", "column": "X", "col": "X", "width": "X",
}  # fmt: skip

_CARRIED = (
    "attenuation", "auto_contrast", "blending", "depiction", "gamma", "interpolation2d",
    "interpolation3d", "iso_threshold", "opacity", "projection_mode", "rendering",
)  # fmt: skip

_OTHER_AXIS = "Q"


def is_layer(image: Any) -> bool:
    """Tell whether this is a napari layer, by what it offers, not by its class."""
    return hasattr(image, "as_layer_data_tuple") and hasattr(image, "data")


def layer_source(layer: Any) -> Any:
    """Return the pixels of an Image layer: the finest level where there are several.

    Raises
    ------
    InputError
        If the layer is not an Image layer.
    """
    kinds = {cls.__name__ for cls in layer.__class__.__mro__}
    if "Image" not in kinds:
        what = layer.__class__.__name__
        msg = f"layer {layer.name!r} is a {what} layer: super-resolution needs an Image layer"
        raise InputError(msg)
    return layer.data[0] if layer.multiscale else layer.data


def layer_file(layer: Any) -> Path | None:
    """Return the file that a layer was opened from, if it was."""
    path = getattr(getattr(layer, "source", None), "path", None)
    return None if path is None else Path(path)


def labelled_axes(layer: Any) -> str | None:
    """Name a layer's axes from its labels; None where the labels are not real names."""
    letters = [_LETTERS.get(str(label).strip().lower(), "") for label in layer.axis_labels]
    if not all(letters) or len(set(letters)) < len(letters):
        return None
    names = "".join(letters) + ("S" if layer.rgb else "")
    try:
        return check_names(names, len(names))
    except InputError:
        return None


def layer_axes(layer: Any, axes: str | None, model: Any = None) -> str:
    """Name a layer's axes: as given, as labelled, or the last ones as space.

    Parameters
    ----------
    layer : napari layer
        The source.
    axes : str, optional
        Names given by the user, with or without ``S`` for an RGB layer.
    model : str, Path, Upscaler or a sequence of them, optional
        With a 2D model only the last two axes are taken as space where the
        labels say nothing.
    """
    layer_source(layer)
    n = layer.ndim + (1 if layer.rgb else 0)
    if axes is not None:
        if layer.rgb and "S" not in axes.upper():
            axes += "S"
        return check_names(axes, n)
    labelled = labelled_axes(layer)
    if labelled is not None:
        return labelled
    ndim = min(3, layer.ndim)
    if isinstance(model, (list, tuple)) and model:
        model = model[0]
    if isinstance(model, str) and not model.endswith(".safetensors"):
        ndim = min(ndim, find_spec(model).ndim)
    elif model is not None and not isinstance(model, (str, Path)):
        spec = model.spec if isinstance(model, Upscaler) else None
        ndim = min(ndim, spec.ndim if spec else ndim)
    names = _OTHER_AXIS * (layer.ndim - ndim) + "ZYX"[-ndim:]
    return check_names(names + ("S" if layer.rgb else ""), n)


def layer_metadata(layer: Any, axes: str) -> ImageMetadata:
    """Read a layer's voxel size, origin and units, for a file.

    A file has no place for a layer's rotation, shear or further affine
    transform, save for NIfTI's matrix.
    """
    scale, translate = [float(v) for v in layer.scale], [float(v) for v in layer.translate]
    units = [_unit_name(unit) for unit in layer.units]
    if layer.rgb:
        scale, translate, units = [*scale, 1.0], [*translate, 0.0], [*units, "pixel"]
    affine = _nifti_affine(layer, axes)
    return ImageMetadata(axes, tuple(scale), tuple(translate), tuple(units), affine)


def result_attributes(layer: Any, job: Job, record: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a new layer that lies exactly on its source.

    Parameters
    ----------
    layer : napari.layers.Image
        The source.
    job : Job
        The run.
    record : dict
        How the result was made; goes into the layer's metadata.

    Returns
    -------
    dict
        Keyword arguments of ``viewer.add_image``.
    """
    n = layer.ndim
    factor, start = job.factor[:n], job.origin[:n]
    scale, translate = upscaled_scale_translate(
        layer.scale, layer.translate, layer.rotate, layer.shear, factor, start
    )
    attributes: dict[str, Any] = {name: getattr(layer, name) for name in _CARRIED}
    attributes |= {
        "name": result_name(str(layer.name), job),
        "scale": scale,
        "translate": translate,
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
        "rgb": bool(layer.rgb),
        "multiscale": False,
        "plane": _scaled_plane(layer.plane.model_dump(), factor, start),
        "experimental_clipping_planes": [
            _scaled_plane(plane.model_dump(), factor, start)
            for plane in layer.experimental_clipping_planes
        ],
        "metadata": {RECORD_KEY: record},
    }
    if not layer.rgb:
        attributes["contrast_limits"] = tuple(layer.contrast_limits)
        attributes["colormap"] = layer.colormap
    return attributes


def result_name(name: str, job: Job) -> str:
    """Name a result after its source and the steps, for example ``"cells denoise x2"``."""
    return " ".join((name, *chain_steps(job.model.spec)))


def _scaled_plane(
    plane: dict[str, Any], factor: tuple[float, ...], start: tuple[float, ...]
) -> dict[str, Any]:
    """Lay a slicing or clipping plane, given in pixels of the source, on the result."""
    axes = len(plane["position"])
    if len(factor) < axes:
        return plane
    factor, start = factor[-axes:], start[-axes:]
    # What is stretched along an axis leans away from it.
    normal = np.asarray(plane["normal"], dtype=float) / factor
    length = float(np.linalg.norm(normal))
    scaled = {
        **plane,
        "position": tuple(scaled_point(plane["position"], factor, start).tolist()),
        "normal": tuple((normal / length).tolist()),
    }
    if "thickness" in plane:
        scaled["thickness"] = plane["thickness"] / length
    return scaled


def _unit_name(unit: Any) -> str:
    text = str(unit)
    return {"micron": "micrometer", "um": "micrometer", "mm": "millimeter"}.get(text, text)


def _nifti_affine(layer: Any, axes: str) -> np.ndarray | None:
    """Spatial matrix of a layer with a real length unit, as NIfTI wants it: zyx to xyz."""
    if layer.ndim < 2 or any(letter not in axes for letter in "YX"):
        return None
    picked = [axes.find(letter) for letter in "ZYX"]
    data_to_world = np.eye(layer.ndim + 1)
    data_to_world[:-1, :-1] = linear_matrix(layer.scale, layer.rotate, layer.shear)
    data_to_world[:-1, -1] = layer.translate
    data_to_world = np.asarray(layer.affine.affine_matrix) @ data_to_world
    matrix = np.eye(4)
    for row, a in enumerate(picked):
        for column, b in enumerate(picked):
            if a >= 0 and b >= 0:
                matrix[row, column] = data_to_world[a, b]
        if a >= 0:
            matrix[row, 3] = data_to_world[a, -1]
    return matrix[[2, 1, 0, 3]]
