"""The images to learn from, as chosen in the window: layers, files or folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hrsr.errors import OutputError
from napari_hrsr.layers import RECORD_KEY, layer_axes, layer_metadata, layer_source
from napari_hrsr.metadata import ImageMetadata

PREVIEW_KEY = "napari_hrsr_preview"
"""Marks layers that only show something: nothing is to be learned from them."""

_READ_AS = {2: "cubic-2x2", 3: "cubic-2x2x2"}


@dataclass(frozen=True, slots=True, eq=False)
class LayerImage:
    """A layer to learn from; its pixels are held by reference.

    Attributes
    ----------
    name : str
        Of the layer.
    source : array-like
        Its pixels.
    metadata : ImageMetadata
        Axes, pixel size, origin.
    """

    name: str
    source: Any
    metadata: ImageMetadata


def layer_image(layer: Any, ndim: int) -> LayerImage:
    """Describe a layer; where its labels say nothing, its last axes are space.

    Parameters
    ----------
    layer : napari.layers.Image
        The layer.
    ndim : int
        Number of spatial axes, 2 or 3.

    Raises
    ------
    InputError
        If it is no image, or its axes make no sense.
    """
    names = layer_axes(layer, None, _READ_AS[ndim])
    return LayerImage(str(layer.name), layer_source(layer), layer_metadata(layer, names))


def is_learnable(layer: Any) -> bool:
    """Tell whether a layer is an image that was measured, not made by this plugin."""
    return RECORD_KEY not in layer.metadata and PREVIEW_KEY not in layer.metadata


def file_names(images: Sequence[LayerImage]) -> list[str]:
    """Name a file for each layer, without its suffix; no two are the same."""
    names: list[str] = []
    for image in images:
        kept = "".join(c if c.isalnum() or c in " -_." else "-" for c in image.name)
        # Two underscores would divide the name of a source from that of an image.
        while "__" in kept:
            kept = kept.replace("__", "_")
        name = kept.strip(" .")[:80] or "layer"
        number = 1
        while name.lower() in (other.lower() for other in names):
            number += 1
            name = f"{kept.strip(' .')[:80] or 'layer'} {number}"
        names.append(name)
    return names


def write_layer(
    image: LayerImage,
    folder: Path,
    name: str,
    *,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Path:
    """Write a layer as OME-TIFF, or as OME-Zarr where its type of pixel asks for that.

    Parameters
    ----------
    image : LayerImage
        What to write.
    folder : Path
        Made if it does not exist.
    name : str
        File name without suffix.
    progress : callable
        Called with the number of parts written and in total.
    cancelled : callable
        Polled between parts.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    HrsrError
        If it cannot be written, or was cancelled.
    """
    from napari_hrsr.files import check_output, write_image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder}: {error.strerror or error}"
        raise OutputError(msg) from None
    path = folder / f"{name}.ome.tif"
    try:
        check_output(path, image.metadata, image.source.dtype)
    except OutputError:
        path = folder / f"{name}.ome.zarr"
    write_image(
        path, image.source, image.metadata, progress=progress, cancelled=cancelled, overwrite=True
    )
    return path
