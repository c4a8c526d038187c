"""Whether a source is still the one that a run was begun with."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.pixels import read_block

_SAMPLE = 64
"""Longest side of the blocks whose pixels are looked at."""

_TOLD = {
    "shape": "its shape",
    "dtype": "its data type",
    "bytes": "its size on disk",
    "files": "the number of its files",
    "listing": "when its files were modified",
    "pixels": "its pixels",
}


def identify(path: Path, data: Any) -> dict[str, Any]:
    """Describe a source such that a change shows, without reading all of it.

    Parameters
    ----------
    path : Path
        The file, or the folder of a Zarr or of a series.
    data : array-like
        Its pixels.

    Returns
    -------
    dict
        In values that JSON can hold: shape, data type, bytes, number of files,
        a digest of their names, sizes and times of modification, and one of
        pixels from the corners and the middle.
    """
    entries = sorted(_files(path))
    listing = hashlib.sha256(repr(entries).encode()).hexdigest()
    return {
        "shape": [int(n) for n in data.shape],
        "dtype": np.dtype(data.dtype).str,
        "bytes": sum(size for _, size, _ in entries),
        "files": len(entries),
        "listing": listing,
        "pixels": sample_pixels(data),
    }


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what differs between two descriptions of a source, most telling first.

    Parameters
    ----------
    before, now : dict
        From `identify`.
    """
    return [
        f"{told} ({before.get(key)} then, {now[key]} now)" if key in ("shape", "dtype") else told
        for key, told in _TOLD.items()
        if before.get(key) != now[key]
    ]


def _files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield relative name, size and time of modification of every file."""
    try:
        if not path.is_dir():
            status = path.stat()
            yield "", status.st_size, status.st_mtime_ns
            return
        for folder, _, names in os.walk(path):
            for name in names:
                status = os.stat(os.path.join(folder, name))
                yield (
                    os.path.relpath(os.path.join(folder, name), path),
                    status.st_size,
                    status.st_mtime_ns,
                )
    except OSError as error:
        msg = f"cannot look at {path.name}: {error.strerror}"
        raise InputError(msg) from error


def sample_pixels(data: Any) -> str:
    """Digest the pixels of blocks in the first and last corner and in the middle.

    Parameters
    ----------
    data : array-like
        With ``shape`` and slicing.
    """
    digest = hashlib.sha256()
    sides = [
        min(n, _SAMPLE if axis >= len(data.shape) - 2 else 2) for axis, n in enumerate(data.shape)
    ]
    for share in (0.0, 0.5, 1.0):
        starts = [int((n - k) * share) for n, k in zip(data.shape, sides, strict=True)]
        block = tuple(slice(a, a + k) for a, k in zip(starts, sides, strict=True))
        pixels = np.ascontiguousarray(read_block(data, block))
        digest.update(repr(list(itertools.chain(starts, pixels.shape))).encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()
