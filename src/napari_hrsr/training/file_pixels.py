"""Pixels of many files: opened when they are read, kept while there is room.

A training reads small windows of thousands of files at random. Small and
compressed images are kept decoded, up to a bound that all files share; files
that are read in parts stay open, but not so many that the system refuses.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError
from napari_hrsr.files import ImageFile, read_image
from napari_hrsr.memory import free_memory

KEPT_DECODED = 64 * 2**20
"""Bytes up to which the pixels of a file are kept in memory."""

_LIMIT = 2**30
_OPEN_FILES = 64


class FileCache:
    """Arrays of files, the ones used longest ago forgotten first.

    Parameters
    ----------
    limit : int
        Bytes that all arrays together may take; one larger array is kept alone.
    open_files : int
        Files that may be open at a time.
    """

    def __init__(self, limit: int, open_files: int = _OPEN_FILES) -> None:
        self._limit = limit
        self._open_cost = limit // open_files
        self._arrays: OrderedDict[tuple[str, int, int], tuple[ImageFile, int]] = OrderedDict()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, path: Path) -> ImageFile:
        """Open a file, or return it as it was opened before.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        try:
            state = path.stat()
        except OSError as error:
            msg = f"{path.name} is gone or cannot be looked at: {error.strerror}"
            raise InputError(msg) from error
        name = (str(path), state.st_mtime_ns, state.st_size)
        with self._lock:
            if name not in self._arrays:
                self._arrays[name] = _load(path, self._open_cost)
                self._shrink()
            self._arrays.move_to_end(name)
            return self._arrays[name][0]

    def _shrink(self) -> None:
        while len(self._arrays) > 1 and sum(c for _, c in self._arrays.values()) > self._limit:
            self._arrays.popitem(last=False)

    def _after_fork(self) -> None:
        # Parent and child would share the position in an open file.
        self._lock = threading.Lock()
        self._arrays = OrderedDict(
            (name, kept) for name, kept in self._arrays.items() if type(kept[0].data) is np.ndarray
        )


def _load(path: Path, open_cost: int) -> tuple[ImageFile, int]:
    """Return an image, and the bytes that it stands for in the cache."""
    image = read_image(path)
    pixels = image.data
    nbytes = int(np.prod(pixels.shape, dtype=np.int64)) * np.dtype(pixels.dtype).itemsize
    if nbytes <= KEPT_DECODED:
        return replace(image, data=np.array(pixels[...], order="C")), nbytes
    # These cannot be read in parts, so that the whole is in memory.
    unpacked = isinstance(pixels, np.ndarray) or path.suffix.lower() == ".gz"
    return image, nbytes if unpacked else open_cost


_CACHE = FileCache(min(_LIMIT, free_memory() // 4))


class FilePixels:
    """The pixels of a file, read through the shared cache.

    Parameters
    ----------
    path : Path
        Of an image that `read_image` reads.
    cache : FileCache
        Where it is kept; by default one that all files share.

    Attributes
    ----------
    metadata : ImageMetadata
        Axes and pixel size.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, cache: FileCache | None = None) -> None:
        self.path = path
        self._cache = cache
        image = self._opened()
        pixels = image.data
        self.metadata = image.metadata
        self.shape = tuple(int(n) for n in pixels.shape)
        self.dtype: np.dtype[Any] = np.dtype(pixels.dtype)
        chunks = getattr(pixels, "chunks", None) or (1,) * len(self.shape)
        self.chunks = tuple(int(n) for n in chunks)

    def _opened(self) -> ImageFile:
        cache = _CACHE if self._cache is None else self._cache
        return cache.get(self.path)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part.

        Raises
        ------
        InputError
            If the file is damaged there, or another image than when it was opened.
        """
        pixels = self._opened().data
        if tuple(pixels.shape) != self.shape:
            msg = f"{self.path.name} changed while it was used: start again"
            raise InputError(msg)
        block: NDArray[Any] = pixels[key]
        return block
