"""Results as OME-Zarr (OME-NGFF 0.5), written tile by tile."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from napari_hrsr.errors import OutputError
from napari_hrsr.files.image_file import RECORD_KEY, LazyPixels
from napari_hrsr.files.ome_zarr_axes import multiscales_metadata, stored_axes
from napari_hrsr.files.partial import (
    Cancelled,
    cannot_write,
    check_cancelled,
    check_folder,
    check_space,
)
from napari_hrsr.files.pyramid import binned, blocks
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import read_block

PYRAMID_SHARE = 1.34
"""A 2D pyramid takes a third more than its finest level."""

_SMALLEST_LEVEL = 512
_ISOTROPIC = 1.5
_OWNER = ".writer"


class OmeZarrResult:
    """An OME-Zarr that appears under its name only when it is complete.

    Until then it lies beside it as ``name.ome.zarr.partial``. Leaving the
    context without `finish` or `keep` removes it.

    Parameters
    ----------
    path : str or Path
        Name of the result, a folder that must not exist yet.
    shape, chunks : tuple of int
        Of the finest level, in the image's own axis order.
    dtype : optional
        Data type.
    metadata : ImageMetadata
        Axes, pixel size, origin and units of the result.
    overwrite : bool
        Replace an existing OME-Zarr, once the new one is complete.

    Attributes
    ----------
    array : zarr.Array
        Where to write. Slices that cover whole chunks may be written from
        several threads. For images whose axes OME-Zarr stores in another
        order (colour samples last, for one) a view in the image's order.

    Raises
    ------
    OutputError
        If the result exists, its folder cannot be written to, or the disk is
        too small; before anything is written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        shape: tuple[int, ...],
        dtype: Any,
        chunks: tuple[int, ...],
        metadata: ImageMetadata,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._metadata = metadata
        self._stored = stored_axes(metadata.axes)
        self._overwrite = overwrite
        check_folder(self.path.parent)
        check_target(self.path, overwrite=overwrite)
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        check_space(self.path.parent, int(nbytes * PYRAMID_SHARE))
        self._partial = self.path.with_name(self.path.name + ".partial")
        _claim(self._partial)
        try:
            self._group = zarr.create_group(self._partial, zarr_format=3)
            order = self._stored.order
            self._levels = [
                self._create(
                    0, tuple(shape[i] for i in order), tuple(chunks[i] for i in order), dtype
                )
            ]
        except BaseException as error:
            self._remove()
            if isinstance(error, OSError):
                raise cannot_write(self.path, error) from error
            raise
        self.array: Any = self._present(self._levels[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()
        if isinstance(error, OSError):
            raise cannot_write(self.path, error) from error

    def finish(
        self, record: dict[str, Any] | None = None, cancelled: Cancelled | None = None
    ) -> Any:
        """Add the smaller levels and the metadata, and give the result its name.

        Parameters
        ----------
        record : dict, optional
            How the result was made, in values that JSON can hold.
        cancelled : callable, optional
            Polled between chunks of the smaller levels.

        Returns
        -------
        zarr.Array
            The finest level, or a view of it as for `array`.

        Raises
        ------
        OutputError
            If the disk is full, the result appeared meanwhile, or a chunk was
            never written.
        CancelledError
            If `cancelled` returned True.
        """
        if (record or {}).get("complete", True):
            self._check_written()
        try:
            while max(self._spatial(self._levels[-1].shape)) > _SMALLEST_LEVEL:
                self._add_level(cancelled)
            self._group.attrs[RECORD_KEY] = {
                "axes": self._metadata.axes,
                "shape": list(self.array.shape),
                "record": record,
            }
            # Last, so that an unfinished store is never taken for an image.
            self._group.attrs["ome"] = self._describe()
            (self._partial / _OWNER).unlink()
            self._rename()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return self._present(zarr.open_array(self.path / "0", mode="r+"))

    def keep(self, record: dict[str, Any] | None = None) -> Any:
        """Finish a result of which only a part was computed.

        Like `finish`; the record says ``"complete": False``.
        """
        return self.finish({**(record or {}), "complete": False})

    def _create(
        self, level: int, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
    ) -> zarr.Array[Any]:
        return self._group.create_array(
            str(level),
            shape=shape,
            chunks=tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True)),
            dtype=dtype,
            serializer=BytesCodec(),
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            fill_value=0,
            dimension_names=list(self._stored.names),
            # Zeros are written too, so that a missing chunk is known to be missing.
            config={"write_empty_chunks": True},
        )

    def _check_written(self) -> None:
        array = self._levels[0]
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            msg = f"{self.path.name}: {missing} of its {array.nchunks} chunks were never written"
            raise OutputError(msg)

    def _present(self, array: zarr.Array[Any]) -> Any:
        order = self._stored.order
        if order == tuple(range(len(order))):
            return array
        return LazyPixels(array, self.path.name, np.argsort(order).tolist())

    def _spatial(self, values: tuple[int, ...]) -> list[int]:
        kinds = zip(values, self._stored.types, strict=True)
        return [value for value, kind in kinds if kind == "space"]

    def _add_level(self, cancelled: Cancelled | None) -> None:
        """Halve Y and X of the last level, and Z where its pixels are not longer."""
        finer = self._levels[-1]
        scale = {
            name: self._metadata.scale[axis] * self._levels[0].shape[i] / finer.shape[i]
            for i, (name, axis) in enumerate(
                zip(self._stored.names, self._stored.order, strict=True)
            )
        }
        bins = []
        for name, kind, n in zip(self._stored.names, self._stored.types, finer.shape, strict=True):
            deep = name == "z" and abs(scale["z"]) > _ISOTROPIC * abs(scale["x"])
            bins.append(2 if kind == "space" and n > 1 and not deep else 1)
        shape = tuple(-(-n // k) for n, k in zip(finer.shape, bins, strict=True))
        coarser = self._create(len(self._levels), shape, finer.chunks, finer.dtype)
        for chunk in blocks(coarser.shape, coarser.chunks):
            check_cancelled(cancelled)
            coarser[chunk] = binned(finer, chunk, bins)
        self._levels.append(coarser)

    def _describe(self) -> dict[str, Any]:
        shapes = [level.shape for level in self._levels]
        name = self.path.name.removesuffix(".zarr").removesuffix(".ome")
        described = multiscales_metadata(self._metadata, self._stored, shapes, name)
        if self._metadata.channels and "C" in self._metadata.axes:
            described["omero"] = {
                "channels": [
                    {"label": label, "color": "FFFFFF", "active": True}
                    for label in self._metadata.channels
                ]
            }
        return described

    def _rename(self) -> None:
        """Take the name; an old result goes only after the new one has it."""
        check_target(self.path, overwrite=self._overwrite)
        if not self.path.exists():
            self._partial.rename(self.path)
            return
        old = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.partial")
        self.path.rename(old)
        try:
            self._partial.rename(self.path)
        except OSError:
            old.rename(self.path)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove(self) -> None:
        # After `finish` this folder has its final name, and nothing is removed.
        shutil.rmtree(self._partial, ignore_errors=True)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that is taken.

    Raises
    ------
    OutputError
        If `path` exists and is not an OME-Zarr that may be replaced.
    """
    if not path.exists():
        return
    if not overwrite:
        msg = f"{path.name} exists: choose another name, or allow it to be overwritten"
        raise OutputError(msg)
    is_zarr = any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))
    if not is_zarr:
        msg = f"{path.name} is not a Zarr, so it is not overwritten: choose another name"
        raise OutputError(msg)


def _claim(partial: Path) -> None:
    """Make the folder of an unfinished result; sweep one whose writer is dead."""
    if partial.exists() and not _is_written(partial):
        shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        (partial / _OWNER).write_text(str(os.getpid()), "utf-8")
    except FileExistsError:
        msg = (
            f"{partial.name} is being written by another run: wait for it, choose another name, "
            "or delete that folder if no run is going on"
        )
        raise OutputError(msg) from None
    except OSError as error:
        raise cannot_write(partial, error) from error


def _is_written(partial: Path) -> bool:
    """Tell whether the writer of an unfinished result may be alive."""
    with contextlib.suppress(OSError, ValueError):
        return bool(psutil.pid_exists(int((partial / _OWNER).read_text("utf-8"))))
    return True


def write_ome_zarr(
    path: Path,
    data: Any,
    metadata: ImageMetadata,
    record: dict[str, Any] | None,
    *,
    overwrite: bool,
    progress: Any,
    cancelled: Cancelled | None,
) -> None:
    """Copy an image into an OME-Zarr, chunk by chunk.

    Raises
    ------
    OutputError
        As `OmeZarrResult`.
    CancelledError
        If `cancelled` returned True.
    """
    shape = tuple(data.shape)
    letters = zip(metadata.axes, shape, strict=True)
    chunks = tuple(
        n if a == "S" else min(n, 512) if a in "YX" else min(n, 16) if a == "Z" else 1
        for a, n in letters
    )
    with OmeZarrResult(
        path, shape=shape, dtype=data.dtype, chunks=chunks, metadata=metadata, overwrite=overwrite
    ) as result:
        parts = list(blocks(shape, chunks))
        for done, block in enumerate(parts):
            check_cancelled(cancelled)
            result.array[block] = read_block(data, block)
            progress(done + 1, len(parts))
        result.finish(record, cancelled)
