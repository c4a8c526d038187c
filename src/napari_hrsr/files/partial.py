"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr

from napari_hrsr.errors import CancelledError, OutputError

Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]

_DISK_SHARE = 0.9


@contextlib.contextmanager
def partial_file(path: Path, nbytes: int) -> Iterator[BinaryIO]:
    """Open a hidden file beside `path` that takes its name at the end.

    It is removed when the block fails, whatever the reason, and `path` is
    left as it was.

    Parameters
    ----------
    path : Path
        The final name; an existing file is replaced at the end.
    nbytes : int
        Bytes that will be written, for the check of the disk's space.

    Raises
    ------
    OutputError
        If the folder cannot be written to, or the disk is too small.
    """
    check_folder(path.parent)
    if path.is_dir():
        msg = f"{path.name} is a folder: choose another name for the result"
        raise OutputError(msg)
    check_space(path.parent, nbytes)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_result(
    folder: str | Path,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
) -> Iterator[zarr.Array[Any]]:
    """Hold a result that is larger than memory on disk, and remove it at the end.

    Parameters
    ----------
    folder : str or Path
        Where; a hidden folder that only the user can read is made in it.
    shape, chunks : tuple of int
        Of the array.
    dtype : optional
        Of the array.

    Raises
    ------
    OutputError
        If the folder cannot be written to, or the disk is too small.
    """
    folder = Path(folder)
    check_folder(folder)
    dtype = np.dtype(dtype)
    check_space(folder, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    try:
        scratch = tempfile.mkdtemp(".partial", ".napari-hrsr.", folder)
    except OSError as error:
        raise cannot_write(folder / "temporary files", error) from error
    try:
        yield zarr.create_array(
            Path(scratch) / "result.zarr", shape=shape, dtype=dtype, chunks=chunks
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not exist or cannot be written to.

    Raises
    ------
    OutputError
        With what to do about it.
    """
    if not folder.is_dir():
        msg = f"the folder {folder} does not exist: create it first"
        raise OutputError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"the folder {folder} cannot be written to: choose another one"
        raise OutputError(msg)


def check_space(folder: Path, nbytes: int) -> None:
    """Refuse a result that would fill the disk.

    Raises
    ------
    OutputError
        With the numbers.
    """
    free = shutil.disk_usage(folder).free
    if nbytes > _DISK_SHARE * free:
        msg = (
            f"the result needs up to {_told(nbytes)}, but only {_told(free)} are free "
            f"on the disk of {folder}: free some space, choose another folder, or a region"
        )
        raise OutputError(msg)


def _told(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Say that a result cannot be written, and why."""
    return OutputError(f"cannot write {path.name}: {error.strerror or error}")


def check_cancelled(cancelled: Cancelled | None) -> None:
    """Stop where the user asked to.

    Raises
    ------
    CancelledError
        If `cancelled` returns True.
    """
    if cancelled is not None and cancelled():
        msg = "cancelled while the result was being written"
        raise CancelledError(msg)
