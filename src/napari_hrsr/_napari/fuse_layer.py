"""Where the layer of a fused image lies, and what it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr.frames.stack import FRAME_AXIS
from napari_hrsr.geometry import upscaled_scale_translate
from napari_hrsr.layers import RECORD_KEY, layer_axes

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_hrsr.frames.fusing import Fusion

_CARRIED = ("blending", "gamma", "interpolation2d", "interpolation3d", "opacity", "rendering")


def frame_axes(layer: Image) -> str:
    """Name the axes of a layer that holds frames: time first, where nothing else is said.

    Parameters
    ----------
    layer : napari.layers.Image
        With three or four axes, or more if they are labelled.
    """
    n = layer.ndim
    names = layer_axes(layer, None)
    if FRAME_AXIS in names or n not in (3, 4):
        return names
    return layer_axes(layer, FRAME_AXIS + "ZYX"[-(n - 1) :])


def fused_attributes(
    layer: Image, axes: str, fusion: Fusion, *, scale: int, moving: bool = False
) -> dict[str, Any]:
    """Return the attributes of a layer that lies exactly on the reference frame.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer of all frames, or that of the reference frame.
    axes : str
        One letter per axis of its data.
    fusion : Fusion
        The result.
    scale : int
        Fine pixels in a pixel of a frame.
    moving : bool
        For the map of what moved, which has the frames' own pixels.

    Returns
    -------
    dict
        Keyword arguments of ``viewer.add_image``.
    """
    letters = axes[: layer.ndim]
    # A map of what moved is the same for all channels.
    kept = [
        axis
        for axis, letter in enumerate(letters)
        if letter != FRAME_AXIS and (not moving or letter in "ZYX")
    ]
    factor = [1 if moving or letters[a] not in "ZYX" else scale for a in kept]
    rotate = np.asarray(layer.rotate)[np.ix_(kept, kept)]
    shear = _shear_matrix(np.asarray(layer.shear), layer.ndim)[np.ix_(kept, kept)]
    size, place = upscaled_scale_translate(
        np.asarray(layer.scale)[kept], np.asarray(layer.translate)[kept], rotate, shear, factor
    )
    everything = [*kept, layer.ndim]
    affine = np.asarray(layer.affine.affine_matrix)[np.ix_(everything, everything)]
    attributes: dict[str, Any] = {
        "name": f"{layer.name} {'moving' if moving else 'fused'}",
        "scale": size,
        "translate": place,
        "rotate": rotate,
        "shear": shear[np.triu_indices(len(kept), 1)] if len(kept) > 1 else None,
        "affine": affine,
        "units": tuple(str(layer.units[a]) for a in kept),
        "axis_labels": tuple(layer.axis_labels[a] for a in kept),
        "metadata": {RECORD_KEY: fusion.record},
    }
    if moving:
        return attributes | {
            "colormap": "inferno", "contrast_limits": (0.0, 1.0), "visible": False,
        }  # fmt: skip
    attributes |= {name: getattr(layer, name) for name in _CARRIED}
    attributes["rgb"] = bool(layer.rgb)
    if not layer.rgb:
        attributes["contrast_limits"] = tuple(layer.contrast_limits)
        attributes["colormap"] = layer.colormap
    return attributes


def _shear_matrix(shear: np.ndarray, n: int) -> np.ndarray:
    if shear.ndim == 2:
        return shear
    matrix = np.eye(n)
    matrix[np.triu_indices(n, 1)] = shear
    return matrix
