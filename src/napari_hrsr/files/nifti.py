"""Images in NIfTI, with their orientation in the patient or animal."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import HrsrError, InputError, OutputError
from napari_hrsr.files.image_file import RECORD_KEY, ImageFile, LazyPixels, checked_path, damaged
from napari_hrsr.files.partial import Cancelled, Progress, check_cancelled, partial_file
from napari_hrsr.files.tiff_writing import read_planes
from napari_hrsr.files.units import MICROMETRES, TIME_UNITS
from napari_hrsr.metadata import ImageMetadata

_SPACE = {"meter": "meter", "mm": "millimeter", "micron": "micrometer"}
_TIME = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}
_NAMES = {name: code for code, name in (_SPACE | _TIME).items()}
_JSON_COMMENT = 6
_LONGEST = 32_767
_AXES = "CTZYX"


def read_nifti(path: str | Path) -> ImageFile:
    """Open a NIfTI image as (C)(T)(Z)YX.

    An uncompressed file is read when it is sliced. A ``.nii.gz`` cannot be
    read in places, so it is unpacked into memory.

    Parameters
    ----------
    path : str or Path
        Of a ``.nii`` or ``.nii.gz`` file.

    Raises
    ------
    InputError
        If it is no NIfTI, incomplete, holds colours, or is too large to
        unpack.
    """
    path = checked_path(path)
    try:
        return _read(path)
    except HrsrError:
        raise
    except Exception as error:
        raise damaged(path.name, error) from error


def _read(path: Path) -> ImageFile:
    # Seconds to import: only for files that need it.
    import nibabel as nib

    image: Any = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        msg = f"{path.name} is no NIfTI image"
        raise InputError(msg)
    header: Any = image.header
    proxy: Any = image.dataobj
    shape = tuple(int(n) for n in image.shape)
    if header.get_data_dtype().fields or len(shape) < 2:
        msg = f"{path.name} holds colours or no image: convert it to grey values first"
        raise InputError(msg)
    if len(shape) > len(_AXES):
        msg = f"{path.name} has {len(shape)} axes; at most 5 can be read"
        raise InputError(msg)
    raw: Any = proxy
    if path.suffix.lower() == ".gz":
        raw = _unpacked(path, proxy, header)
    else:
        needed = proxy.offset + int(np.prod(shape, dtype=np.int64)) * (
            header.get_data_dtype().itemsize
        )
        if path.stat().st_size < needed:
            msg = f"{path.name} is incomplete: it ends before its pixels do. Copy it again"
            raise InputError(msg)
    dropped = tuple(axis for axis, n in enumerate(shape) if axis > 2 and n == 1)
    pixels = LazyPixels(_Proxy(raw, shape, dropped), path.name)
    order = tuple(reversed(range(pixels.ndim)))
    axes = "".join(a for i, a in enumerate(_AXES[::-1][: len(shape)]) if i not in dropped)[::-1]
    metadata = _metadata(image, axes)
    return ImageFile(LazyPixels(pixels, path.name, order), metadata, _record(header), path.name)


def _unpacked(path: Path, proxy: Any, header: Any) -> Any:
    from psutil import virtual_memory

    itemsize = header.get_data_dtype().itemsize
    nbytes = int(np.prod(proxy.shape, dtype=np.int64)) * itemsize
    free = int(virtual_memory().available)
    if nbytes > 0.5 * free:
        msg = (
            f"{path.name} unpacks to {nbytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are "
            "free: unpack it first (gunzip), an uncompressed .nii is read in parts"
        )
        raise InputError(msg)
    with gzip.open(path) as file:
        # To its end, where the checksum is.
        content = io.BytesIO(file.read())
    if content.getbuffer().nbytes < proxy.offset + nbytes:
        msg = f"{path.name} is incomplete: it ends before its pixels do. Copy it again"
        raise InputError(msg)
    import nibabel as nib

    how = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    unpacked: Any = nib.arrayproxy.ArrayProxy
    return unpacked(content, how)


class _Proxy:
    """An array proxy of nibabel, without the empty axes at its end."""

    def __init__(self, array: Any, shape: tuple[int, ...], dropped: tuple[int, ...]) -> None:
        self._array = array
        self._dropped = dropped
        self.shape = tuple(n for axis, n in enumerate(shape) if axis not in dropped)
        self._ndim = len(shape)
        self.dtype = np.asanyarray(array[(slice(0, 1),) * self._ndim]).dtype
        # Read in whole planes along the file's slowest axis.
        self.chunks = (*self.shape[:2], *(1,) * (len(self.shape) - 2))

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        rest = iter(key)
        full = tuple(0 if axis in self._dropped else next(rest) for axis in range(self._ndim))
        return np.asanyarray(self._array[full])


def _metadata(image: Any, axes: str) -> ImageMetadata:
    header = image.header
    space, time = header.get_xyzt_units()
    length = _SPACE.get(space, "millimeter")  # what every reader assumes
    units = {"Z": length, "Y": length, "X": length, "T": _TIME.get(time, "pixel")}
    zooms = dict(zip(_AXES[::-1], (float(z) for z in header.get_zooms()), strict=False))
    affine = np.asarray(image.affine, dtype=float)
    linear, offset = affine[:3, :3], affine[:3, 3]
    upright = np.allclose(linear, np.diag(np.diag(linear))) and bool((np.diag(linear) > 0).all())
    # Flipped and tilted grids have their place in the matrix alone.
    origin = dict(zip("XYZ", offset.tolist(), strict=True)) if upright else {}
    return ImageMetadata(
        axes,
        tuple(zooms.get(a, 1.0) or 1.0 if a != "C" else 1.0 for a in axes),
        tuple(origin.get(a, 0.0) for a in axes),
        tuple(units.get(a, "pixel") for a in axes),
        affine=affine[:, [2, 1, 0, 3]],
    )


def _record(header: Any) -> dict[str, Any] | None:
    for extension in header.extensions:
        if extension.get_code() == _JSON_COMMENT:
            content = extension.get_content()
            text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
            try:
                own = json.loads(str(text).rstrip("\x00"))[RECORD_KEY]
            except (ValueError, KeyError, TypeError):
                continue
            return own if isinstance(own, dict) else None
    return None


def write_nifti(
    path: Path,
    data: Any,
    metadata: ImageMetadata,
    record: dict[str, Any] | None,
    *,
    progress: Progress,
    cancelled: Cancelled | None,
) -> None:
    """Write a NIfTI-1 image (NIfTI-2 where an axis is too long), plane by plane.

    Parameters
    ----------
    path : Path
        Its final name; ``.nii.gz`` is compressed.
    data, metadata, record, progress, cancelled
        As for `tiff_writing.write_tiff`.

    Raises
    ------
    OutputError
        If NIfTI cannot hold such an image, or the file cannot be written.
    CancelledError
        If `cancelled` returned True.
    """
    dtype = np.dtype(data.dtype).newbyteorder("=")
    header, order, axes = _header(data, metadata, dtype)
    if record is not None:
        from nibabel.nifti1 import Nifti1Extension

        content = json.dumps({RECORD_KEY: record}).encode()
        header.extensions.append(Nifti1Extension(_JSON_COMMENT, content))
    extensions = sum(e.get_sizeondisk() for e in header.extensions)
    header.set_data_offset(int(header.single_vox_offset) + extensions)
    header["magic"] = header.single_magic
    planes = int(np.prod([data.shape[i] for i in order[:-2]], dtype=np.int64))
    nbytes = int(np.prod(data.shape, dtype=np.int64)) * dtype.itemsize
    with partial_file(path, nbytes) as raw:
        packed = path.suffix.lower() == ".gz"
        # Neither the name nor the time goes into the compressed file.
        file: Any = gzip.GzipFile("", "wb", 3, raw, mtime=0) if packed else raw
        header.write_to(file)
        file.write(b"\0" * (header.get_data_offset() - file.tell()))
        for done, plane in enumerate(read_planes(data, order, axes, dtype)):
            check_cancelled(cancelled)
            file.write(plane.data)
            progress(done + 1, planes)
        if packed:
            file.close()


def check_nifti(metadata: ImageMetadata, dtype: np.dtype[Any]) -> None:
    """Refuse an image that NIfTI cannot hold.

    Raises
    ------
    OutputError
        With what can hold it.
    """
    unknown = [letter for letter in metadata.axes if letter not in _AXES]
    if unknown:
        what = "colour samples" if "S" in unknown else f"an axis {unknown[0]!r}"
        msg = f"NIfTI holds grey images in space and time, no {what}: write .ome.tif or .ome.zarr"
        raise OutputError(msg)
    if dtype.name == "float16":
        msg = "NIfTI cannot hold float16 pixels: choose float32, or write .ome.zarr"
        raise OutputError(msg)


def _header(
    data: Any, metadata: ImageMetadata, dtype: np.dtype[Any]
) -> tuple[Any, tuple[int, ...], str]:
    """Return the header, the order of the axes in the file, and their letters."""
    import nibabel as nib

    check_nifti(metadata, dtype)
    order = tuple(metadata.axes.index(letter) for letter in _AXES if letter in metadata.axes)
    axes = "".join(metadata.axes[i] for i in order)
    # Every axis before the last one that is used must be there.
    present = _AXES[_AXES.index(axes[0]) :] if len(axes) > 2 else "YX"
    lengths = {a: int(data.shape[metadata.axes.index(a)]) for a in axes}
    shape = tuple(lengths.get(a, 1) for a in reversed(present))
    kind: Any = nib.Nifti2Header if max(shape) > _LONGEST else nib.Nifti1Header
    header = kind()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    affine, space = _placed(metadata)
    scales = dict(zip(metadata.axes, metadata.scale, strict=True))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    zooms = [*sizes.tolist(), abs(scales.get("T", 1.0)), 1.0]
    header.set_zooms(zooms[: len(shape)])
    header.set_sform(affine, code="aligned")
    directions = affine[:3, :3] / sizes
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-5):
        header.set_qform(affine, code="aligned")
    time = metadata.units[metadata.axes.index("T")] if "T" in metadata.axes else ""
    header.set_xyzt_units(space, _NAMES.get(time, "sec" if time in TIME_UNITS else None))
    return header, order, axes


def _placed(metadata: ImageMetadata) -> tuple[np.ndarray, str | None]:
    """Matrix from (x, y, z, 1) to the world, and the name of its unit."""
    unit = metadata.units[metadata.axes.index("X")]
    factor, code = 1.0, _NAMES.get(unit)
    if code is None and unit in MICROMETRES:
        factor, code = MICROMETRES[unit] / MICROMETRES["millimeter"], "mm"
    if metadata.affine is not None:
        affine = np.asarray(metadata.affine, dtype=float)[:, [2, 1, 0, 3]].copy()
    else:
        affine = np.eye(4)
        for column, letter in enumerate("XYZ"):
            if letter in metadata.axes:
                axis = metadata.axes.index(letter)
                affine[column, column] = metadata.scale[axis]
                affine[column, 3] = metadata.translate[axis]
    affine[:3] *= factor
    return affine, code
