"""Results as OME-TIFF, plane by plane in flat memory."""

from __future__ import annotations

import itertools
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_hrsr.errors import OutputError
from napari_hrsr.files.image_file import RECORD_KEY
from napari_hrsr.files.partial import Cancelled, Progress, check_cancelled, partial_file
from napari_hrsr.files.units import MICROMETRES, OME_SYMBOLS, TIME_UNITS
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import read_block

CLASSIC_LIMIT = 3_900_000_000
"""Bytes above which a TIFF needs 64-bit offsets, with room for its tags."""

_DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
_BYTES_PER_PLANE = 512
_SLAB = 128_000_000


def write_tiff(
    path: Path,
    data: Any,
    metadata: ImageMetadata,
    record: dict[str, Any] | None,
    *,
    progress: Progress,
    cancelled: Cancelled | None,
) -> None:
    """Write an OME-TIFF that lies where `metadata` says.

    Colour samples are stored last whatever their place in `data`. The pixel
    size is written to OME-XML and to the resolution tags.

    Parameters
    ----------
    path : Path
        Its final name; an existing file is replaced at the end.
    data : array-like
        Pixels, read a few planes at a time.
    metadata : ImageMetadata
        Of `data`.
    record : dict or None
        How the result was made.
    progress : callable
        Called with the number of planes written and in total.
    cancelled : callable, optional
        Polled between planes.

    Raises
    ------
    OutputError
        If OME-TIFF cannot hold such an image, or the file cannot be written.
    CancelledError
        If `cancelled` returned True.
    """
    dtype = np.dtype(data.dtype).newbyteorder("=")
    check_tiff(metadata, dtype)
    order = plane_order(metadata.axes)
    axes = "".join(metadata.axes[i] for i in order)
    shape = tuple(int(data.shape[i]) for i in order)
    stored = _ome_axes(axes)
    planes = int(np.prod(shape[: axes.index("Y")], dtype=np.int64))
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    own = {"axes": axes, "shape": list(shape), "record": record}
    text = json.dumps(own)
    description = _description(metadata, axes, shape)
    description["MapAnnotation"] = {"Namespace": "napari-hrsr", RECORD_KEY: text}
    # The default would be made from this computer's network address.
    description["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, text))
    description["axes"] = stored
    resolution, unit = _resolution(metadata)
    with (
        partial_file(path, nbytes + planes * _BYTES_PER_PLANE) as file,
        tifffile.TiffWriter(file, bigtiff=needs_bigtiff(nbytes, planes), ome=True) as tiff,
    ):
        tiff.write(
            _counted(read_planes(data, order, axes, dtype), planes, progress, cancelled),
            shape=shape,
            dtype=dtype,
            photometric="rgb" if "S" in axes and shape[-1] in (3, 4) else "minisblack",
            planarconfig="contig" if "S" in axes else None,
            extrasamples=_extra_samples(shape[-1] if "S" in axes else 1),
            resolution=resolution,
            resolutionunit=unit,
            software="napari-hrsr",
            metadata=description,
        )


def check_tiff(metadata: ImageMetadata, dtype: np.dtype[Any]) -> None:
    """Refuse an image that OME-TIFF cannot hold.

    Raises
    ------
    OutputError
        With what can hold it.
    """
    if dtype.name not in _DTYPES:
        msg = (
            f"OME-TIFF cannot hold {dtype} pixels: choose another data type, for example float32, "
            "or write .ome.zarr"
        )
        raise OutputError(msg)
    _ome_axes(metadata.axes)


def needs_bigtiff(nbytes: int, planes: int) -> bool:
    """Tell whether an image needs a TIFF with 64-bit offsets.

    Parameters
    ----------
    nbytes : int
        Of its pixels.
    planes : int
        Number of planes, which take a few hundred bytes of tags each.
    """
    return nbytes + planes * _BYTES_PER_PLANE > CLASSIC_LIMIT


def plane_order(axes: str) -> tuple[int, ...]:
    """Order of axes in a TIFF: whatever is looped over, then Y, X and S."""
    last = [axes.index(letter) for letter in "YXS" if letter in axes]
    return (*(i for i in range(len(axes)) if i not in last), *last)


def read_planes(
    data: Any, order: tuple[int, ...], axes: str, dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Yield planes (Y, X) or (Y, X, S), reading as many at once as a chunk holds.

    Parameters
    ----------
    data : array-like
        The image.
    order : tuple of int
        Order in which its axes are written.
    axes : str
        Their letters, in that order.
    dtype : numpy.dtype
        Of the planes.
    """
    looped = order[: axes.index("Y")]
    kept = sorted(set(range(len(order))) - set(looped[:-1]))
    arrange = [kept.index(i) for i in order if i in kept]
    chunks = getattr(data, "chunks", None)
    depth, length = 1, data.shape[looped[-1]] if looped else 1
    if looped:
        plane = int(np.prod([data.shape[i] for i in order[axes.index("Y") :]])) * dtype.itemsize
        chunk = chunks[looped[-1]] if chunks else 1
        chunk = max(chunk) if isinstance(chunk, tuple) else chunk
        # Equal parts of a chunk, so that no part needs two chunks.
        depth = math.ceil(chunk / math.ceil(chunk * plane / _SLAB))
    for index in itertools.product(*(range(data.shape[i]) for i in looped[:-1])):
        for start in range(0, length, depth):
            key: list[Any] = [slice(None)] * len(order)
            for axis, at in zip(looped[:-1], index, strict=True):
                key[axis] = at
            if looped:
                key[looped[-1]] = slice(start, min(start + depth, length))
            block = read_block(data, tuple(key)).transpose(arrange)
            for plane_data in block if looped else [block]:
                yield np.ascontiguousarray(plane_data, dtype)


def _counted(
    planes: Iterator[NDArray[Any]], total: int, progress: Progress, cancelled: Cancelled | None
) -> Iterator[NDArray[Any]]:
    for done, plane in enumerate(planes):
        check_cancelled(cancelled)
        yield plane
        progress(done + 1, total)


def _ome_axes(axes: str) -> str:
    """Put axes that OME-TIFF has no name for in the place of ones that are not there."""
    free = [letter for letter in "TCZ" if letter not in axes]
    named = ""
    for letter in axes:
        if letter in "TCZYXS":
            named += letter
        elif free:
            named += free.pop(0)
        else:
            msg = (
                f"OME-TIFF holds time, channels and space; axes {axes!r} have more: "
                "write one part at a time"
            )
            raise OutputError(msg)
    return named


def _description(metadata: ImageMetadata, axes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """OME-XML facts: pixel size, units, origin, channel names."""
    facts: dict[str, Any] = {}
    plane: dict[str, Any] = {}
    looped = shape[: axes.index("Y")]
    planes = int(np.prod(looped, dtype=np.int64))
    for letter, scale, origin, unit in zip(
        metadata.axes, metadata.scale, metadata.translate, metadata.units, strict=True
    ):
        symbol = OME_SYMBOLS.get(unit, "pixel")
        if letter in "XYZ":
            facts[f"PhysicalSize{letter}"] = abs(scale)
            facts[f"PhysicalSize{letter}Unit"] = symbol
            positions = np.full(planes, origin)
            if letter == "Z":
                depth = np.indices(looped)[axes.index("Z")].ravel()
                positions = origin + scale * depth
            plane[f"Position{letter}"] = positions.tolist()
            plane[f"Position{letter}Unit"] = [symbol] * planes
        elif letter == "T" and unit in TIME_UNITS:
            facts["TimeIncrement"] = scale
            facts["TimeIncrementUnit"] = symbol
    if any(metadata.translate):
        facts["Plane"] = plane
    if "C" in axes and len(metadata.channels) == shape[axes.index("C")]:
        facts["Channel"] = {"Name": list(metadata.channels)}
    return facts


def _resolution(metadata: ImageMetadata) -> tuple[tuple[float, float] | None, str | None]:
    """Pixels per centimetre along X and Y, for viewers that do not know OME-XML."""
    per_centimetre = []
    for letter in "XY":
        axis = metadata.axes.index(letter)
        micrometres = MICROMETRES.get(metadata.units[axis], 0.0) * abs(metadata.scale[axis])
        # A ratio of two 32-bit integers; beyond it there is only OME-XML.
        if not 1e-4 < micrometres < 1e9:
            return None, None
        per_centimetre.append(10_000.0 / micrometres)
    return (per_centimetre[0], per_centimetre[1]), "CENTIMETER"


def _extra_samples(samples: int) -> list[str] | None:
    return ["UNASSALPHA"] if samples in (2, 4) else None
