"""The frames: one array with an axis of frames, or several arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import SPATIAL, check_names
from napari_hrsr.errors import InputError
from napari_hrsr.pixels import check_block, check_source, needs_every_value, read_block

FRAME_AXIS = "T"

SMALLEST = {"Z": 8, "Y": 16, "X": 16}
"""Pixels along an axis below which nothing can be laid over anything."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FrameStack:
    """Frames of one scene, of one shape.

    Attributes
    ----------
    sources : tuple of array-like
        One array of all frames, or one a frame.
    axes : str
        One letter per axis of a frame.
    place : int or None
        Where the axis of the frames is in the one array.
    names : tuple of str
        Of the frames, for people.
    """

    sources: tuple[Any, ...]
    axes: str
    place: int | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, in the machine's byte order."""
        return np.result_type(*(np.dtype(s.dtype).newbyteorder("=") for s in self.sources))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame."""
        shape = tuple(int(n) for n in self.sources[0].shape)
        return shape if self.place is None else shape[: self.place] + shape[self.place + 1 :]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Positions of the axes of space."""
        return tuple(a for a, letter in enumerate(self.axes) if letter in SPATIAL)

    @property
    def extent(self) -> tuple[int, ...]:
        """Shape of a frame in space."""
        return tuple(self.shape[a] for a in self.spatial)

    @property
    def looped(self) -> tuple[int, ...]:
        """Lengths of the other axes: channels, colours."""
        return tuple(
            n for n, letter in zip(self.shape, self.axes, strict=True) if letter not in SPATIAL
        )

    def key(self, index: Sequence[int], window: Sequence[slice]) -> tuple[Any, ...]:
        """Return what picks a window of one channel of a frame.

        Parameters
        ----------
        index : sequence of int
            Along the axes that are not space.
        window : sequence of slice
            Along those that are.
        """
        others, spans = iter(index), iter(window)
        return tuple(next(spans) if a in SPATIAL else int(next(others)) for a in self.axes)

    def read(self, frame: int, index: Sequence[int], window: Sequence[slice]) -> Floats:
        """Read a window of a frame that lies inside it.

        Raises
        ------
        InputError
            If it cannot be read, or holds values that cannot be used.
        """
        key = self.key(index, window)
        source = self.sources[0 if self.place is not None else frame]
        if self.place is not None:
            key = (*key[: self.place], frame, *key[self.place :])
        block = read_block(source, key)
        if needs_every_value(source.dtype):
            check_block(block, key)
        return block.astype(np.float32)

    def read_around(
        self, frame: int, index: Sequence[int], start: Sequence[int], shape: Sequence[int]
    ) -> tuple[Floats, Floats]:
        """Read a window of a frame that may leave it.

        Parameters
        ----------
        frame : int
            Which.
        index : sequence of int
            As for `key`.
        start, shape : sequence of int
            Of the window.

        Returns
        -------
        values, inside : ndarray
            Pixels, 0 outside; 1 inside of the frame and 0 outside.
        """
        values, inside = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        stops = [s + n for s, n in zip(start, shape, strict=True)]
        window = [
            slice(max(0, a), min(n, b)) for a, b, n in zip(start, stops, self.extent, strict=True)
        ]
        if all(w.start < w.stop for w in window):
            place = tuple(
                slice(w.start - a, w.stop - a) for w, a in zip(window, start, strict=True)
            )
            values[place] = self.read(frame, index, window)
            inside[place] = 1.0
        return values, inside


def open_stack(frames: Any, axes: str | None, names: Sequence[str] = ()) -> FrameStack:
    """Check frames, without reading pixels.

    Parameters
    ----------
    frames : array-like, or sequence of array-likes
        One array with an axis ``T``, or one array a frame.
    axes : str, optional
        One letter per axis of the array, or of each of the arrays.
    names : sequence of str
        Of the frames.

    Raises
    ------
    InputError
        With what does not fit.
    """
    apart = isinstance(frames, (list, tuple))
    stack = _separate(frames, axes) if apart else _joined(frames, axes)
    if len(stack) < 2:
        msg = (
            f"there are {len(stack)} frames: two or more are needed to fuse anything. "
            "For a single image, use upscale"
        )
        raise InputError(msg)
    if names:
        stack = FrameStack(stack.sources, stack.axes, stack.place, tuple(names))
    for letter, n in zip((stack.axes[a] for a in stack.spatial), stack.extent, strict=True):
        if n < SMALLEST[letter]:
            hint = " or name it Q, to fuse plane by plane" if letter == "Z" else ""
            msg = (
                f"axis {letter} has {n} pixels, at least {SMALLEST[letter]} are needed: "
                f"use larger frames{hint}"
            )
            raise InputError(msg)
    return stack


def _joined(frames: Any, axes: str | None) -> FrameStack:
    source = check_source(frames)
    ndim = len(source.shape)
    if axes is None:
        if ndim not in (3, 4):
            msg = (
                f"frames with {ndim} axes need their names: give axes, one letter each "
                "(T the frames, Z Y X space, C channels), for example axes='TCYX'"
            )
            raise InputError(msg)
        axes = (FRAME_AXIS + SPATIAL)[-ndim:] if ndim == 4 else FRAME_AXIS + "YX"
    axes = check_names(axes, ndim)
    if FRAME_AXIS not in axes:
        msg = f"none of the axes {axes!r} holds frames: name that axis T, for example axes='TYX'"
        raise InputError(msg)
    place = axes.index(FRAME_AXIS)
    names = tuple(f"frame {k}" for k in range(source.shape[place]))
    return FrameStack((source,), axes.replace(FRAME_AXIS, ""), place, names)


def _separate(frames: Sequence[Any], axes: str | None) -> FrameStack:
    sources = tuple(check_source(f) for f in frames)
    if not sources:
        msg = "there are no frames"
        raise InputError(msg)
    shapes = {tuple(s.shape) for s in sources}
    if len(shapes) > 1:
        msg = f"the frames must have one shape, got {sorted(shapes)}: crop them to the same size"
        raise InputError(msg)
    ndim = len(sources[0].shape)
    if axes is None and ndim > 3:
        msg = f"frames with {ndim} axes each need their names: give axes, for example axes='CZYX'"
        raise InputError(msg)
    axes = SPATIAL[-ndim:] if axes is None else check_names(axes, ndim)
    if FRAME_AXIS in axes:
        msg = f"each of several frames is one image, so its axes {axes!r} cannot hold T"
        raise InputError(msg)
    return FrameStack(sources, axes, None, tuple(f"frame {k}" for k in range(len(sources))))
