"""Series of DICOM slices as one volume, with its place in the patient and nothing else of them.

Only geometry and grey values are taken from the headers: what says whom, when
or where stays in the files, and not even the name of their folder is passed on::

    position(z, y, x) = first slice + x * row direction * column spacing
                                    + y * column direction * row spacing
                                    + z * step from slice to slice

in millimetres to the patient's left, back and head, turned here to right, front
and head as NIfTI has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.files.image_file import ImageFile, LazyPixels, checked_path, damaged
from napari_hrsr.metadata import ImageMetadata

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")

NAME = "DICOM series"
"""In place of a name: folders of such files are often called like the patient."""

_TAGS = [
    "SeriesInstanceUID", "SeriesNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "NumberOfFrames",
    "SliceThickness",
]  # fmt: skip
_UNEVEN = 0.02
"""Share of the step by which the distance of two slices may differ from it."""

_TILTED = 1e-3
_TO_RIGHT_FRONT_HEAD = np.diag([-1.0, -1.0, 1.0, 1.0])
_PREAMBLE = 132


@dataclass(frozen=True, slots=True)
class _Slice:
    """What the header of one slice says."""

    path: Path
    series: str
    number: str
    position: NDArray[np.float64]
    directions: NDArray[np.float64]  # (2, 3): along a row, along a column
    spacing: tuple[float, float]  # of rows, of columns
    thickness: float
    shape: tuple[int, int]
    stored: np.dtype[Any]
    bits: int
    slope: float
    intercept: float


def is_dicom(path: Path) -> bool:
    """Tell whether a file, or any of the first files of a folder, is DICOM.

    Parameters
    ----------
    path : Path
        A file or folder that exists.

    Raises
    ------
    InputError
        If the files of a folder cannot be listed.
    """
    if path.is_file():
        return path.name.lower().endswith(DICOM_SUFFIXES) or _has_mark(path)
    files = [p for p in _files(path) if not p.name.startswith(".")]
    return any(_has_mark(file) for file in files[:20])


def read_dicom(path: str | Path) -> ImageFile:
    """Open a series of slices as a volume, or a single slice as an image.

    Parameters
    ----------
    path : str or Path
        Of a folder with the files of one series, or of one file.

    Returns
    -------
    ImageFile
        Axes ZYX (YX of one slice), slices in the order of their positions; grey
        values as the headers scale them (Hounsfield units of CT). Read slice by
        slice when they are used.

    Raises
    ------
    InputError
        If slices are missing, belong to several series, or cannot be put
        together, with the reason.
    """
    path = checked_path(path)
    try:
        slices = _slices(path)
    except HrsrError:
        raise
    except Exception as error:
        raise damaged(NAME, error) from error
    return _volume(slices)


def _files(folder: Path) -> list[Path]:
    """List the files of a folder by their names."""
    try:
        return sorted(p for p in folder.iterdir() if p.is_file())
    except OSError as error:
        msg = f"the folder cannot be read ({error.strerror}): check its permissions"
        raise InputError(msg) from error


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE)[-4:] == b"DICM"
    except OSError:
        return False


def _slices(path: Path) -> list[_Slice]:
    """Read the headers, and sort the slices along the direction across them."""
    files = [path] if path.is_file() else [p for p in _files(path) if _has_mark(p)]
    found = [_header(file) for file in files]
    if not found:
        msg = "the folder holds no DICOM images"
        raise InputError(msg)
    series = {s.series: s.number for s in found}
    if len(series) > 1:
        numbers = ", ".join(sorted(series.values()))
        msg = (
            f"the folder holds {len(series)} DICOM series (numbers {numbers}): "
            "put the files of one into a folder of its own"
        )
        raise InputError(msg)
    first = found[0]
    normal = np.cross(*first.directions)
    for other in found[1:]:
        alike = (
            other.shape == first.shape
            and other.stored == first.stored
            and np.allclose(other.spacing, first.spacing, rtol=1e-3)
            and np.allclose(other.directions, first.directions, atol=_TILTED)
        )
        if not alike:
            msg = "the slices differ in size, spacing or direction: they are not one volume"
            raise InputError(msg)
    return sorted(found, key=lambda s: float(s.position @ normal))


def _header(path: Path) -> _Slice:
    import pydicom

    try:
        facts = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=False)
    except Exception as error:
        msg = f"a file of the {NAME} cannot be read ({type(error).__name__}): copy it again"
        raise InputError(msg) from None
    if int(facts.get("NumberOfFrames") or 1) > 1:
        msg = "DICOM files with several frames cannot be read: convert them to NIfTI (dcm2niix)"
        raise InputError(msg)
    if int(facts.get("SamplesPerPixel", 1)) != 1:
        msg = "the DICOM images are coloured; only grey ones can be read"
        raise InputError(msg)
    missing = [
        tag
        for tag in ("Rows", "Columns", "PixelSpacing", "BitsAllocated")
        if facts.get(tag) is None
    ]
    if missing:
        msg = f"a DICOM file states no {' and no '.join(missing)}: it is no image of a scanner"
        raise InputError(msg)
    position = facts.get("ImagePositionPatient") or (0.0, 0.0, 0.0)
    directions = facts.get("ImageOrientationPatient") or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    rows, columns = (float(v) for v in facts.PixelSpacing)
    kind = "i" if int(facts.get("PixelRepresentation", 0)) else "u"
    return _Slice(
        path,
        str(facts.get("SeriesInstanceUID", "")),
        str(facts.get("SeriesNumber", "?")),
        np.array([float(v) for v in position]),
        np.array([float(v) for v in directions]).reshape(2, 3),
        (rows, columns),
        float(facts.get("SliceThickness") or 1.0),
        (int(facts.Rows), int(facts.Columns)),
        np.dtype(f"{kind}{int(facts.BitsAllocated) // 8}"),
        int(facts.get("BitsStored") or facts.BitsAllocated),
        1.0 if facts.get("RescaleSlope") is None else float(facts.RescaleSlope),
        0.0 if facts.get("RescaleIntercept") is None else float(facts.RescaleIntercept),
    )


def _volume(slices: Sequence[_Slice]) -> ImageFile:
    first = slices[0]
    step = _step(slices)
    size: tuple[float, ...] = (float(np.linalg.norm(step)), *first.spacing)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.directions[1] * first.spacing[0]
    affine[:3, 2] = first.directions[0] * first.spacing[1]
    affine[:3, 3] = first.position
    affine = _TO_RIGHT_FRONT_HEAD @ affine
    pixels: Any = _Planes(slices)
    axes = "ZYX"
    if len(slices) == 1:
        axes, size = "YX", size[1:]
        pixels = _Single(pixels)
    # Tilted and flipped grids have their place in the matrix alone.
    upright = np.allclose(affine[:3, [2, 1, 0]], np.diag(size[::-1])) if len(size) == 3 else False
    origin = tuple(affine[[2, 1, 0], 3].tolist()) if upright else (0.0,) * len(size)
    metadata = ImageMetadata(axes, size, origin, ("millimeter",) * len(size), affine=affine)
    return ImageFile(LazyPixels(pixels, NAME), metadata, None, NAME)


def _step(slices: Sequence[_Slice]) -> NDArray[np.float64]:
    """Return the way from one slice to the next, in millimetres.

    Raises
    ------
    InputError
        If two lie at one place, or one is missing.
    """
    first = slices[0]
    normal: NDArray[np.float64] = np.cross(*first.directions)
    if len(slices) == 1:
        return normal * first.thickness
    positions = np.array([s.position for s in slices])
    ways = np.diff(positions, axis=0)
    heights = ways @ normal
    middle = float(np.median(heights))
    if heights.min() < 1e-3:
        msg = (
            "several DICOM slices lie at one place: give the folder one phase or echo of the series"
        )
        raise InputError(msg)
    if np.abs(heights - middle).max() > _UNEVEN * middle + 1e-3:
        at = int(np.argmax(np.abs(heights - middle)))
        msg = (
            f"the DICOM slices are not evenly spaced: {heights[at]:.3g} mm after slice {at + 1}, "
            f"{middle:.3g} mm elsewhere. Is one missing?"
        )
        raise InputError(msg)
    whole: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(slices) - 1)
    return whole


class _Planes:
    """The grey values of a series, read slice by slice."""

    def __init__(self, slices: Sequence[_Slice]) -> None:
        self._slices = list(slices)
        self.shape = (len(slices), *slices[0].shape)
        self.chunks = (1, *slices[0].shape)
        self.dtype = _scaled_dtype(slices)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        z, y, x = key
        if not isinstance(z, slice):
            plane: NDArray[Any] = self._plane(self._slices[z])[y, x]
            return plane
        chosen = self._slices[z]
        planes = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for plane, one in zip(planes, chosen, strict=True):
            plane[:] = self._plane(one)
        part: NDArray[Any] = planes[:, y, x]
        return part

    def _plane(self, one: _Slice) -> NDArray[Any]:
        import pydicom

        try:
            stored = pydicom.dcmread(one.path).pixel_array
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            msg = f"a slice of the {NAME} cannot be unpacked: {reason}"
            raise InputError(msg) from None
        if stored.shape != one.shape:
            msg = f"a slice of the {NAME} has another size than its header says: copy it again"
            raise InputError(msg)
        values: NDArray[Any] = stored * np.float64(one.slope) + one.intercept
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if values.min() < limits.min or values.max() > limits.max:
                msg = f"a slice of the {NAME} holds larger values than its header says"
                raise InputError(msg)
        return values.astype(self.dtype)


class _Single:
    """The only slice of a series."""

    def __init__(self, planes: _Planes) -> None:
        self._planes = planes
        self.shape = planes.shape[1:]
        self.chunks = planes.chunks[1:]
        self.dtype = planes.dtype

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self._planes[(0, *key)]


def _scaled_dtype(slices: Sequence[_Slice]) -> np.dtype[Any]:
    """Return the smallest type that holds the scaled values exactly, else float32."""
    whole = all(s.slope == int(s.slope) and s.intercept == int(s.intercept) for s in slices)
    if not whole:
        return np.dtype(np.float32)
    # Stored values rarely fill their type: 12 of 16 bits, shifted below zero.
    first, bits = slices[0], max(s.bits for s in slices)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if first.stored.kind == "i" else (0, 2**bits)
    ends = [end * s.slope + s.intercept for s in slices for end in (low, high - 1)]
    for name in (str(first.stored), "int16", "uint16", "int32"):
        kind = np.iinfo(name)
        if kind.min <= min(ends) and max(ends) <= kind.max:
            return np.dtype(name)
    return np.dtype(np.float32)
