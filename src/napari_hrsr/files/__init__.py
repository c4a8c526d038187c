"""Images in files: opened lazily, written completely or not at all.

The suffix says which format: TIFF (OME-TIFF, ImageJ), OME-Zarr, NIfTI, PNG;
series of DICOM slices are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.files.dicom import is_dicom, read_dicom
from napari_hrsr.files.image_file import RECORD_KEY, ImageFile, LazyPixels, checked_path
from napari_hrsr.files.nifti import check_nifti, read_nifti, write_nifti
from napari_hrsr.files.ome_zarr import OmeZarrResult, write_ome_zarr
from napari_hrsr.files.ome_zarr_axes import stored_axes
from napari_hrsr.files.ome_zarr_reading import open_levels, read_ome_zarr
from napari_hrsr.files.ome_zarr_store import OmeZarrStore
from napari_hrsr.files.partial import Cancelled, Progress, check_folder, temporary_result
from napari_hrsr.files.plain import PLAIN_SUFFIXES, check_png, read_plain, write_png
from napari_hrsr.files.tiff import read_tiff
from napari_hrsr.files.tiff_writing import check_tiff, write_tiff
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import check_source

__all__ = [
    "RECORD_KEY",
    "WRITTEN_SUFFIXES",
    "ImageFile",
    "LazyPixels",
    "OmeZarrResult",
    "OmeZarrStore",
    "check_output",
    "is_zarr_name",
    "open_levels",
    "read_image",
    "temporary_result",
    "write_image",
]

WRITTEN_SUFFIXES = (".ome.tif", ".tif", ".tiff", ".ome.zarr", ".zarr", ".nii", ".nii.gz", ".png")

_TIFF = (".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")


def read_image(path: str | Path) -> ImageFile:
    """Open an image without reading its pixels.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-Zarr (a folder), NIfTI, DICOM (a file, or the folder of a
        series), PNG, JPEG, BMP or WebP.

    Returns
    -------
    ImageFile
        Lazy pixels in the file's axis order, metadata, and the record of how
        it was made if napari-hrsr wrote it.

    Raises
    ------
    InputError
        If the file is missing, damaged, incomplete, or of an unknown kind.
    """
    path = checked_path(path)
    name = path.name.lower()
    if path.is_dir() and not is_dicom(path):
        return read_ome_zarr(path)
    if name.endswith(_TIFF):
        return read_tiff(path)
    if name.endswith(_NIFTI):
        return read_nifti(path)
    if name.endswith(PLAIN_SUFFIXES):
        return read_plain(path)
    if is_dicom(path):
        return read_dicom(path)
    msg = (
        f"{path.name} is of no kind that can be read: "
        "use TIFF, OME-Zarr, NIfTI (.nii, .nii.gz), DICOM, PNG, JPEG, BMP or WebP"
    )
    raise InputError(msg)


def write_image(
    path: str | Path,
    data: Any,
    metadata: ImageMetadata,
    *,
    record: dict[str, Any] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image with its place in the world, in flat memory.

    It is written under a hidden name in the same folder, and gets its own
    name when it is complete. An existing file is replaced then; an existing
    OME-Zarr only if `overwrite` is true.

    Parameters
    ----------
    path : str or Path
        The suffix says the format: ``.tif``, ``.tiff``, ``.ome.tif`` (all
        OME-TIFF), ``.ome.zarr``, ``.zarr`` (OME-NGFF 0.5), ``.nii``,
        ``.nii.gz`` or ``.png``.
    data : array-like
        Pixels; numpy, memory map, zarr, dask or `ImageFile.data`.
    metadata : ImageMetadata
        Axes, pixel size, origin and units of `data`.
    record : dict, optional
        How the image was made, in values that JSON can hold.
    progress : callable, optional
        Called with the number of parts written and in total.
    cancelled : callable, optional
        Polled between parts.
    overwrite : bool
        Replace an existing OME-Zarr.

    Raises
    ------
    InputError
        If `data` is no image, or `metadata` names other axes than it has.
    OutputError
        If the format cannot hold the image, or it cannot be written.
    CancelledError
        If `cancelled` returned True.
    """
    path = Path(path)
    check_output(path)
    data = check_source(data)
    if len(data.shape) != len(metadata.axes):
        msg = f"axes {metadata.axes!r} do not fit an image with {len(data.shape)} axes"
        raise InputError(msg)
    report = progress or (lambda done, total: None)
    name = path.name.lower()
    if is_zarr_name(path):
        write_ome_zarr(
            path, data, metadata, record, overwrite=overwrite, progress=report, cancelled=cancelled
        )
    elif name.endswith(_TIFF):
        write_tiff(path, data, metadata, record, progress=report, cancelled=cancelled)
    elif name.endswith(_NIFTI):
        write_nifti(path, data, metadata, record, progress=report, cancelled=cancelled)
    else:
        write_png(path, data, metadata, record, progress=report, cancelled=cancelled)


def check_output(
    path: str | Path, metadata: ImageMetadata | None = None, dtype: Any = None
) -> None:
    """Refuse, before any work, a result that could not be written.

    Parameters
    ----------
    path : str or Path
        Name of the result.
    metadata : ImageMetadata, optional
        Of the result; without it only the name is checked.
    dtype : optional
        Data type of the result.

    Raises
    ------
    OutputError
        If the suffix says no format that can be written, the format cannot
        hold such an image, or the folder cannot be written to.
    """
    name = Path(path).name.lower()
    if not name.endswith(WRITTEN_SUFFIXES):
        known = ", ".join(WRITTEN_SUFFIXES)
        msg = f"{Path(path).name} has no suffix that can be written: use {known}"
        raise OutputError(msg)
    check_folder(Path(path).parent)
    if metadata is None:
        return
    dtype = np.dtype(dtype)
    if is_zarr_name(path):
        stored_axes(metadata.axes)
    elif name.endswith(_TIFF):
        check_tiff(metadata, dtype)
    elif name.endswith(_NIFTI):
        check_nifti(metadata, dtype)
    else:
        check_png(metadata, dtype)


def is_zarr_name(path: str | Path) -> bool:
    """Tell whether a name says OME-Zarr."""
    return Path(path).name.lower().endswith(".zarr")
