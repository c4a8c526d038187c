"""Images in TIFF: OME-TIFF, ImageJ's stacks, and plain ones, read lazily."""

from __future__ import annotations

import json
import logging
import math
import threading
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
import zarr

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.files.image_file import RECORD_KEY, ImageFile, LazyPixels, checked_path, damaged
from napari_hrsr.files.units import MICROMETRES, unit_name
from napari_hrsr.metadata import ImageMetadata

PRINT_RESOLUTIONS = (72.0, 96.0, 150.0, 300.0, 600.0)
"""Dots per inch that say how an image is printed, not how large a pixel is."""

_DAMAGE = ("invalid page offset", "corrupted", "failed to reshape")
_NO_CALIBRATION = 5_000.0


def read_tiff(path: str | Path) -> ImageFile:
    """Open the first image series of a TIFF.

    Pixels are mapped where they lie in one uncompressed piece, else decoded
    when they are sliced. The first resolution level is taken.

    Parameters
    ----------
    path : str or Path
        Of the file.

    Raises
    ------
    InputError
        If it is no TIFF, or pixels are missing.
    """
    path = checked_path(path)
    with _Complaints() as complaints:
        try:
            tiff = tifffile.TiffFile(path)
        except Exception as error:
            raise damaged(path.name, error) from error
        try:
            return _read(tiff, path, complaints)
        except HrsrError:
            tiff.close()
            raise
        except Exception as error:
            tiff.close()
            raise damaged(path.name, error) from error


class _Complaints(logging.Handler):
    """Collects what tifffile logs while this thread opens a file.

    A file that was cut off opens with fewer planes, and only its log says so.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.damage: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that tells of missing planes."""
        text = record.getMessage()
        if record.thread == self._thread and any(word in text for word in _DAMAGE):
            self.damage = text

    def __enter__(self) -> Self:
        logging.getLogger("tifffile").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tifffile").removeHandler(self)


def _read(tiff: tifffile.TiffFile, path: Path, complaints: _Complaints) -> ImageFile:
    every = tiff.series
    if complaints.damage is not None:
        raise damaged(path.name, ValueError(complaints.damage))
    if not every:
        msg = f"{path.name} holds no image"
        raise InputError(msg)
    series = every[0]
    # Smaller ones beside it are thumbnails and labels.
    if any(other.size >= series.size for other in every[1:]):
        msg = f"{path.name} holds {len(every)} images; only the first is read"
        warnings.warn(msg, UserWarning, stacklevel=4)
    _check_complete(series, path.name)
    own = _own_annotation(tiff)
    axes = _letters(series.axes, tuple(series.shape), own)
    array: Any
    if series.dataoffset is not None and len({p.parent for p in series.pages if p}) == 1:
        array = np.memmap(
            path,
            dtype=np.dtype(series.dtype).newbyteorder(tiff.byteorder),
            mode="r",
            offset=series.dataoffset,
            shape=tuple(series.shape),
        )
        tiff_close = None
        metadata = _metadata(tiff, axes)
        tiff.close()
    else:
        opened = zarr.open(series.aszarr(level=0), mode="r")
        array = opened if isinstance(opened, zarr.Array) else opened["0"]
        tiff_close = tiff.close
        metadata = _metadata(tiff, axes)
    record = own.get("record") if own else None
    return ImageFile(LazyPixels(array, path.name, close=tiff_close), metadata, record, path.name)


def _check_complete(series: tifffile.TiffPageSeries, name: str) -> None:
    """Refuse a file that ends before its pixels do: they would be read as zeros."""
    if series.dataoffset is not None:
        filehandle = series.parent.filehandle if series.parent else None
        if filehandle is not None and series.dataoffset + series.nbytes > filehandle.size:
            msg = f"{name} is incomplete: it ends before its pixels do. Copy or save it again"
            raise InputError(msg)
        return
    for page in series.pages:
        if page is None:
            msg = f"{name} is incomplete: planes are missing from it"
            raise InputError(msg)
        size = page.parent.filehandle.size
        ends = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(offset + count > size for offset, count in ends):
            msg = f"{name} is incomplete: it ends before its pixels do. Copy or save it again"
            raise InputError(msg)


def _letters(axes: str, shape: tuple[int, ...], own: dict[str, Any] | None) -> str:
    """One letter per axis; the names that we stored, where they still fit."""
    if own is not None:
        stored_shape, stored = own.get("shape", ()), str(own.get("axes", ""))
        if len(stored_shape) == len(stored):
            kept = [(n, a) for n, a in zip(stored_shape, stored, strict=True) if n > 1 or a in "YX"]
            if tuple(n for n, _ in kept) == shape:
                return "".join(a for _, a in kept)
    return "".join(letter if letter.isalpha() else "Q" for letter in axes.upper())


def _own_annotation(tiff: tifffile.TiffFile) -> dict[str, Any] | None:
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    for element in ET.fromstring(tiff.ome_metadata).iter():
        if element.tag.endswith("}M") and element.get("K") == RECORD_KEY and element.text:
            own = json.loads(element.text)
            return own if isinstance(own, dict) else None
    return None


def _metadata(tiff: tifffile.TiffFile, axes: str) -> ImageMetadata:
    """Read pixel size, origin and units from whatever kind of TIFF this is."""
    scale: dict[str, float] = {}
    origin: dict[str, float] = {}
    units: dict[str, str] = {}
    channels: tuple[str, ...] = ()
    if tiff.is_ome and tiff.ome_metadata:
        channels = _ome_geometry(tiff.ome_metadata, scale, origin, units)
    elif tiff.is_imagej:
        _imagej_geometry(tiff, scale, units)
    if "X" not in scale:
        _baseline_geometry(tiff.pages.first, scale, units)
    return ImageMetadata(
        axes,
        tuple(scale.get(letter, 1.0) for letter in axes),
        tuple(origin.get(letter, 0.0) for letter in axes),
        tuple(units.get(letter, "pixel") for letter in axes),
        channels=channels,
    )


def _ome_geometry(
    xml: str, scale: dict[str, float], origin: dict[str, float], units: dict[str, str]
) -> tuple[str, ...]:
    root = ET.fromstring(xml)
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return ()
    for letter in "XYZ":
        size = _positive(pixels.get(f"PhysicalSize{letter}"))
        if size is not None:
            scale[letter] = size
            units[letter] = unit_name(pixels.get(f"PhysicalSize{letter}Unit", "µm"))
    step = _positive(pixels.get("TimeIncrement"))
    if step is not None:
        scale["T"] = step
        units["T"] = unit_name(pixels.get("TimeIncrementUnit", "s"))
    first = {"TheC": "0", "TheZ": "0", "TheT": "0"}
    for plane in pixels:
        if plane.tag.endswith("}Plane") and all(plane.get(k) == v for k, v in first.items()):
            for letter in "XYZ":
                position = _number(plane.get(f"Position{letter}"))
                unit = unit_name(plane.get(f"Position{letter}Unit"))
                if position is not None and letter in scale:
                    origin[letter] = position * _conversion(unit, units[letter])
            break
    names = [e.get("Name", "") for e in pixels if e.tag.endswith("}Channel")]
    return tuple(names) if any(names) else ()


def _conversion(unit: str, wanted: str) -> float:
    if unit == wanted or unit not in MICROMETRES or wanted not in MICROMETRES:
        return 1.0
    return MICROMETRES[unit] / MICROMETRES[wanted]


def _imagej_geometry(
    tiff: tifffile.TiffFile, scale: dict[str, float], units: dict[str, str]
) -> None:
    facts = tiff.imagej_metadata or {}
    unit = unit_name(str(facts.get("unit", "")))
    tags = tiff.pages.first.tags
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        per_unit = _ratio(tags[tag].value) if tag in tags else None
        if per_unit and facts.get("unit"):
            scale[letter] = 1 / per_unit
            units[letter] = unit
    spacing = _positive(facts.get("spacing"))
    if spacing is not None:
        scale["Z"] = spacing
        units["Z"] = unit
    interval = _positive(facts.get("finterval"))
    if interval is not None:
        scale["T"] = interval
        units["T"] = unit_name(str(facts.get("tunit", "sec")))


def _baseline_geometry(page: Any, scale: dict[str, float], units: dict[str, str]) -> None:
    tags = page.tags
    if "ResolutionUnit" not in tags or "XResolution" not in tags or "YResolution" not in tags:
        return
    micrometres = {2: 25_400.0, 3: 10_000.0}.get(int(tags["ResolutionUnit"].value))
    x, y = _ratio(tags["XResolution"].value), _ratio(tags["YResolution"].value)
    if micrometres is None or not x or not y:
        return
    inch = x if micrometres == 25_400.0 else x * 2.54
    if any(math.isclose(inch, dpi, rel_tol=1e-3) for dpi in PRINT_RESOLUTIONS):
        return
    if micrometres / x > _NO_CALIBRATION:
        return
    scale["X"], scale["Y"] = micrometres / x, micrometres / y
    units["X"] = units["Y"] = "micrometer"


def _ratio(value: Any) -> float | None:
    numerator, denominator = value
    return _positive(numerator / denominator) if denominator else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None
