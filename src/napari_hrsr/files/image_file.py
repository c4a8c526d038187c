"""An image in a file: lazily read pixels, what they mean, and how they were made."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.metadata import ImageMetadata

RECORD_KEY = "napari_hrsr"
"""Name under which files hold the record of how a result was made."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image that was opened.

    Attributes
    ----------
    data : array-like
        The pixels, read from the file when they are sliced: offers ``shape``,
        ``dtype``, ``ndim`` and slicing with integers and slices.
    metadata : ImageMetadata
        Axes, pixel size, origin and units.
    record : dict or None
        How napari-hrsr made this file, None for other files.
    name : str
        Base name of the file, without its folder.
    """

    data: Any
    metadata: ImageMetadata
    record: dict[str, Any] | None
    name: str


class LazyPixels:
    """Pixels of a file, possibly with their axes in another order.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and slicing.
    name : str
        Base name of the file, for messages.
    order : sequence of int, optional
        Axis ``i`` of this view is axis ``order[i]`` of `array`.
    close : callable, optional
        Called when this view is no longer used.
    """

    def __init__(
        self,
        array: Any,
        name: str,
        order: Sequence[int] | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self._array = array
        self._name = name
        n = len(array.shape)
        self._order = tuple(range(n)) if order is None else tuple(order)
        self.shape = tuple(int(array.shape[axis]) for axis in self._order)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        chunks = getattr(array, "chunks", None) or array.shape
        self.chunks = tuple(int(chunks[axis]) for axis in self._order)
        if close is not None:
            weakref.finalize(self, close)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        keys, kept = self._keys(key)
        try:
            block = np.asarray(self._array[keys])
        except (HrsrError, MemoryError):
            raise
        except IndexError:
            raise
        except Exception as error:
            raise damaged(self._name, error) from error
        return block.transpose(kept)

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a part."""
        keys, kept = self._keys(key)
        values = np.asarray(values)
        if values.ndim == len(kept):
            values = values.transpose(np.argsort(kept))
        self._array[keys] = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _keys(self, key: Any) -> tuple[tuple[Any, ...], list[int]]:
        """Sort a key into the array's order; say how its block must be transposed."""
        key = key if isinstance(key, tuple) else (key,)
        if any(k is Ellipsis for k in key):
            at = next(i for i, k in enumerate(key) if k is Ellipsis)
            missing = self.ndim - len(key) + 1
            key = (*key[:at], *[slice(None)] * missing, *key[at + 1 :])
        if len(key) > self.ndim:
            msg = f"{len(key)} indices for an image with {self.ndim} axes"
            raise IndexError(msg)
        key = (*key, *[slice(None)] * (self.ndim - len(key)))
        keys: list[Any] = [slice(None)] * self.ndim
        for axis, k in zip(self._order, key, strict=True):
            keys[axis] = k if isinstance(k, slice) else int(k)
        kept = [axis for axis, k in zip(self._order, key, strict=True) if isinstance(k, slice)]
        ranks = sorted(kept)
        return tuple(keys), [ranks.index(axis) for axis in kept]


def damaged(name: str, error: BaseException) -> InputError:
    """Say that a file cannot be read, and why."""
    reason = str(error).strip().splitlines()
    why = f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__
    return InputError(f"{name} cannot be read, it may be damaged or incomplete ({why})")


def checked_path(path: str | Path) -> Path:
    """Return the path of an existing file or folder.

    Raises
    ------
    InputError
        If there is none, or it cannot be looked at.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except OSError as error:
        msg = f"cannot look at {path.name}: {error.strerror}"
        raise InputError(msg) from error
    if not exists:
        msg = f"there is no file {path}: check the path"
        raise InputError(msg)
    return path
