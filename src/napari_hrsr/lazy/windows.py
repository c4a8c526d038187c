"""Arrays whose pixels are fetched when they are asked for, a window at a time.

Slicing gives a `Window`, which reads nothing. ``numpy.asarray`` of a window
reads what it covers. Viewers slice first and ask for pixels after.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[tuple[int, int], ...]
"""First and one past the last pixel on every axis."""


def overlap(one: Box, other: Box) -> Box:
    """Return what two boxes that meet have in common."""
    return tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def copy_overlap(pixels: NDArray[Any], at: Box, target: NDArray[Any], box: Box) -> None:
    """Copy what two boxes have in common."""
    common = overlap(at, box)
    target[tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(common, box, strict=True))] = pixels[
        tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(common, at, strict=True))
    ]


class LazyArray(ABC):
    """What can be sliced like an array; pixels come with ``numpy.asarray``.

    Parameters
    ----------
    shape : sequence of int
        Of the array.
    dtype : numpy.dtype
        Of the pixels.
    """

    is_live_view = True

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Return the pixels of a box, of the shape of the box; may be called in any thread."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Window:
        return Window(self, tuple(range(n) for n in self.shape))[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].__array__(dtype, copy)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Part of a lazy array.

    Attributes
    ----------
    array : LazyArray
        Whose part it is.
    places : tuple of range or int
        The pixels of every axis of the array; a number takes the axis away.
    """

    array: LazyArray
    places: tuple[range | int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels."""
        return tuple(len(place) for place in self.places if isinstance(place, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Window:
        wanted = list(key) if isinstance(key, tuple) else [key]
        at = next((i for i, k in enumerate(wanted) if k is Ellipsis), None)
        if at is not None:
            wanted[at : at + 1] = [slice(None)] * (self.ndim - len(wanted) + 1)
        if len(wanted) > self.ndim:
            msg = f"{len(wanted)} indices for {self.ndim} axes"
            raise IndexError(msg)
        given = iter(wanted)
        places = tuple(
            _picked(place, next(given, slice(None))) if isinstance(place, range) else place
            for place in self.places
        )
        return Window(self.array, places)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if 0 in self.shape:
            return np.zeros(self.shape, dtype or self.dtype)
        bounds = [(p, p) if isinstance(p, int) else (min(p), max(p)) for p in self.places]
        pixels = self.array.read(tuple((first, last + 1) for first, last in bounds))
        inside = tuple(
            0 if isinstance(place, int) else _steps(place)
            for place in self.places
        )  # fmt: skip
        found = np.asarray(pixels[inside])
        return found if dtype is None else found.astype(dtype, copy=False)


def _picked(place: range, key: Any) -> range | int:
    if isinstance(key, slice):
        return place[key]
    try:
        return place[operator.index(key)]
    except TypeError:
        msg = f"a live view takes numbers and slices, got {key!r}: use numpy.asarray of a part"
        raise IndexError(msg) from None


def _steps(place: range) -> slice:
    return slice(None, None, place.step)
