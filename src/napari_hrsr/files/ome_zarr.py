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

from napari_hrsr.errors import OutputError
from napari_hrsr.files.ome_zarr_axes import stored_axes
from napari_hrsr.files.ome_zarr_store import PYRAMID_SHARE, OmeZarrStore
from napari_hrsr.files.partial import (
    Cancelled,
    cannot_write,
    check_cancelled,
    check_folder,
    check_space,
)
from napari_hrsr.files.pyramid import blocks
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import read_block

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
        Where to write, see `OmeZarrStore`.

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
        self._overwrite = overwrite
        stored_axes(metadata.axes)
        check_folder(self.path.parent)
        check_target(self.path, overwrite=overwrite)
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        check_space(self.path.parent, int(nbytes * PYRAMID_SHARE))
        self._partial = partial_name(self.path)
        _claim(self._partial)
        try:
            self._store = OmeZarrStore.create(
                self._partial, shape=shape, dtype=dtype, chunks=chunks, metadata=metadata
            )
        except BaseException as error:
            self._remove()
            if isinstance(error, OSError):
                raise cannot_write(self.path, error) from error
            raise
        self.array: Any = self._store.array

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
            self._store.check_written()
        try:
            self._store.describe(record, image_name(self.path), cancelled)
            (self._partial / _OWNER).unlink()
            take_name(self._partial, self.path, overwrite=self._overwrite)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return self._store.renamed(self.path)

    def keep(self, record: dict[str, Any] | None = None) -> Any:
        """Finish a result of which only a part was computed.

        Like `finish`; the record says ``"complete": False``.
        """
        return self.finish({**(record or {}), "complete": False})

    def _remove(self) -> None:
        # After `finish` this folder has its final name, and nothing is removed.
        shutil.rmtree(self._partial, ignore_errors=True)


def partial_name(path: Path) -> Path:
    """Return where a result lies until it is complete."""
    return path.with_name(path.name + ".partial")


def image_name(path: Path) -> str:
    """Return the name of the image in an OME-Zarr."""
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def take_name(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give a complete OME-Zarr its name; an old one goes only after the new one has it.

    Raises
    ------
    OutputError
        As `check_target`.
    """
    check_target(path, overwrite=overwrite)
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


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
