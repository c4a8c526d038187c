"""Images in OME-Zarr 0.4 and 0.5, and in plain Zarr arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from napari_hrsr.axes import default_names
from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.files.image_file import RECORD_KEY, ImageFile, LazyPixels, checked_path, damaged
from napari_hrsr.files.ome_zarr_axes import stored_axes
from napari_hrsr.files.units import unit_name
from napari_hrsr.metadata import ImageMetadata, plain_metadata

_OLD_AXES = "TCZYX"


def read_ome_zarr(path: str | Path) -> ImageFile:
    """Open the finest level of an OME-Zarr, or a Zarr array.

    Parameters
    ----------
    path : str or Path
        Folder of the image.

    Raises
    ------
    InputError
        If it is no Zarr or no single image, or if chunks are missing from a
        result of napari-hrsr. (In other files a missing chunk means zeros.)
    """
    path = checked_path(path)
    try:
        return _read(path)
    except HrsrError:
        raise
    except Exception as error:
        raise damaged(path.name, error) from error


def open_levels(path: str | Path) -> tuple[Any, ...]:
    """Open all levels of an OME-Zarr that napari-hrsr wrote, finest first.

    Parameters
    ----------
    path : str or Path
        Folder of the image.

    Returns
    -------
    tuple of zarr.Array or dask array
        In the axis order that the image was given in.
    """
    group = zarr.open_group(path, mode="r")
    own: Any = group.attrs.asdict()[RECORD_KEY]
    order = stored_axes(own["axes"]).order
    arrays = [group[key] for key in sorted(group.array_keys(), key=int)]
    if order == tuple(range(len(order))):
        return tuple(arrays)
    # Seconds to import, and rarely needed.
    import dask.array as da

    back = [order.index(axis) for axis in range(len(order))]
    return tuple(
        da.from_zarr(array).transpose(back)  # type: ignore[no-untyped-call]
        for array in arrays
    )


def _read(path: Path) -> ImageFile:
    if not any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        msg = f"{path.name} is no Zarr: there is no zarr.json, .zgroup or .zarray in it"
        raise InputError(msg)
    store = zarr.open(path, mode="r")
    if isinstance(store, zarr.Array):
        names: Any = store.metadata.to_dict().get("dimension_names") or ()
        axes = "".join(str(name)[:1] for name in names)
        if len(axes) != store.ndim or not axes.isalpha():
            axes = default_names(store.ndim) if store.ndim < 4 else _OLD_AXES[-store.ndim :]
        axes = axes.upper()
        return ImageFile(LazyPixels(store, path.name), plain_metadata(axes), None, path.name)
    attributes: Mapping[str, Any] = store.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if "multiscales" not in ome:
        raise InputError(_no_image(path, ome))
    image = ome["multiscales"][0]
    level = image["datasets"][0]
    array = store[str(level["path"])]
    assert isinstance(array, zarr.Array)
    metadata = _metadata(image, level, array.ndim, ome)
    own = attributes.get(RECORD_KEY)
    if not isinstance(own, dict) or "axes" not in own:
        return ImageFile(LazyPixels(array, path.name), metadata, None, path.name)
    record = own.get("record")
    kept = isinstance(record, dict) and record.get("complete") is False
    if not kept and array.nchunks_initialized < array.nchunks:
        missing = array.nchunks - array.nchunks_initialized
        msg = f"{path.name} is incomplete: {missing} of its {array.nchunks} chunks are missing"
        raise InputError(msg)
    data, metadata = _as_given(array, metadata, own["axes"], path.name)
    return ImageFile(data, metadata, record, path.name)


def _as_given(
    array: zarr.Array[Any], metadata: ImageMetadata, axes: str, name: str
) -> tuple[LazyPixels, ImageMetadata]:
    """Undo the order in which an image of ours was stored."""
    stored = stored_axes(axes)
    back = [stored.order.index(axis) for axis in range(len(axes))]
    arranged = ImageMetadata(
        axes,
        tuple(metadata.scale[i] for i in back),
        tuple(metadata.translate[i] for i in back),
        tuple(metadata.units[i] for i in back),
        channels=metadata.channels,
    )
    return LazyPixels(array, name, back), arranged


def _metadata(
    image: Mapping[str, Any], level: Mapping[str, Any], ndim: int, ome: Mapping[str, Any]
) -> ImageMetadata:
    axes = image.get("axes") or [letter.lower() for letter in _OLD_AXES[-ndim:]]
    entries = [a if isinstance(a, dict) else {"name": a} for a in axes]
    letters = _letters(entries)
    scale, translate = [1.0] * ndim, [0.0] * ndim
    # The image's own transformations apply after those of its level.
    for transforms in (
        level.get("coordinateTransformations", ()),
        image.get("coordinateTransformations", ()),
    ):
        for transform in transforms:
            if transform["type"] == "scale":
                factors = [float(v) for v in transform["scale"]]
                scale = [s * f for s, f in zip(scale, factors, strict=True)]
                translate = [t * f for t, f in zip(translate, factors, strict=True)]
            elif transform["type"] == "translation":
                offset = [float(v) for v in transform["translation"]]
                translate = [t + o for t, o in zip(translate, offset, strict=True)]
    channels = ome.get("omero", {}).get("channels", ())
    return ImageMetadata(
        letters,
        tuple(scale),
        tuple(translate),
        tuple(unit_name(entry.get("unit")) for entry in entries),
        channels=tuple(str(c.get("label", "")) for c in channels),
    )


def _letters(entries: Sequence[Mapping[str, Any]]) -> str:
    """One letter per axis, by its name, or its type where the name says nothing."""
    letters = ""
    for entry in entries:
        letter = str(entry["name"])[:1].upper()
        kind = {"time": "T", "channel": "C"}.get(str(entry.get("type")), "Q")
        if letter not in _OLD_AXES or letter in letters:
            letter = kind if kind not in letters else "Q"
        letters += letter
    return letters


def _no_image(path: Path, ome: Mapping[str, Any]) -> str:
    if "plate" in ome or "well" in ome:
        return f"{path.name} is a plate of many images: choose one, for example {path.name}/A/1/0"
    if "bioformats2raw.layout" in ome:
        return f"{path.name} is a collection of images: choose one, for example {path.name}/0"
    return f"{path.name} is a Zarr group without an image: choose an array or image inside it"
