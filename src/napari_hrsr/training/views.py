"""A lazy view of one image within a larger array: a channel, a time point, a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError
from napari_hrsr.pixels import read_block

LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)
"""Weights of red, green and blue in a grey image (ITU-R BT.709)."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An image within an array; nothing is read before it is sliced.

    Attributes
    ----------
    array : array-like
        With ``shape``, ``dtype`` and slicing.
    key : tuple of int and slice
        One entry per axis of `array`: an index, or a slice with start and
        stop for an axis of the image.
    samples : int or None
        Axis of `array` that holds red, green and blue.
    grey : bool
        Whether colours are read as their luminance.
    """

    array: Any
    key: tuple[int | slice, ...]
    samples: int | None = None
    grey: bool = True

    @property
    def spatial(self) -> tuple[int, ...]:
        """Axes of `array` that are axes of the image."""
        return tuple(
            a for a, k in enumerate(self.key) if isinstance(k, slice) and a != self.samples
        )

    @property
    def starts(self) -> tuple[int, ...]:
        """First index of the image along each of its axes."""
        return tuple(self.key[a].start for a in self.spatial)  # type: ignore[union-attr]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ([3,] *spatial); the colours come first."""
        lengths = tuple(self.key[a].stop - self.key[a].start for a in self.spatial)  # type: ignore[union-attr]
        return lengths if self.samples is None or self.grey else (3, *lengths)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that are read."""
        luminance = self.samples is not None and self.grey
        return np.dtype(np.float32 if luminance else self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape ([3,] *spatial) of what is stored in one piece; ones where unknown."""
        chunks = getattr(self.array, "shards", None) or getattr(self.array, "chunks", None)
        chunks = chunks or (1,) * len(self.key)
        lengths = [int(max(c) if isinstance(c, tuple) else c) for c in chunks]
        picked = [lengths[a] for a in self.spatial]
        picked = picked if len(picked) == len(self.shape) else [3, *picked]
        return tuple(max(1, min(c, n)) for c, n in zip(picked, self.shape, strict=True))

    def __getitem__(self, window: Sequence[slice]) -> NDArray[Any]:
        """Read a part.

        Parameters
        ----------
        window : sequence of slice
            One per axis of the view.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        window = list(window)
        colours = window.pop(0) if len(window) > len(self.spatial) else slice(None)
        key = list(self.key)
        for axis, part in zip(self.spatial, window, strict=True):
            own = key[axis]
            assert isinstance(own, slice)
            start, stop, _ = part.indices(own.stop - own.start)
            key[axis] = slice(own.start + start, own.start + stop)
        block = read_block(self.array, tuple(key))
        if self.samples is None:
            return block
        position = sum(isinstance(k, slice) for k in self.key[: self.samples])
        if self.grey:
            return np.moveaxis(block, position, -1).astype(np.float32) @ LUMINANCE
        return np.moveaxis(block, position, 0)[colours]

    def restricted(self, axis: int, start: int, stop: int) -> Self | None:
        """Return the part within a range of an axis of `array`, None if there is none.

        Parameters
        ----------
        axis : int
            Of `array`; the image may have it, or lie at one index of it.
        start, stop : int
            First index, and one past the last.
        """
        own = self.key[axis]
        if not isinstance(own, slice):
            return self if start <= own < stop else None
        part = slice(max(start, own.start), min(stop, own.stop))
        if part.start >= part.stop:
            return None
        key = tuple(part if a == axis else k for a, k in enumerate(self.key))
        return replace(self, key=key)

    def cropped(self, crop: Sequence[tuple[int, int]]) -> Self:
        """Return the part between a start and a stop on every spatial axis.

        Parameters
        ----------
        crop : sequence of (int, int)
            As in a slice: negative numbers count from the end.

        Raises
        ------
        InputError
            If nothing is left.
        """
        key = list(self.key)
        for axis, (first, last) in zip(self.spatial, crop, strict=True):
            own = key[axis]
            assert isinstance(own, slice)
            start, stop, _ = slice(first, last).indices(own.stop - own.start)
            if start >= stop:
                length = own.stop - own.start
                msg = f"nothing is left of {length} pixels after cropping to {first} to {last}"
                raise InputError(msg)
            key[axis] = slice(own.start + start, own.start + stop)
        return replace(self, key=tuple(key))

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def whole_view(array: Any, channels: int = 1) -> View:
    """Return a view of all of an array of shape ([C,] *spatial).

    Parameters
    ----------
    array : array-like
        Or a `View`, which is returned as it is.
    channels : int
        More than 1 if the first axis holds the colours.
    """
    if isinstance(array, View):
        return array
    key = tuple(slice(0, int(n)) for n in array.shape)
    return View(array, key, 0 if channels > 1 else None, grey=False)
