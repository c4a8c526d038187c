"""Low- and high-resolution images of the same field, in register before they are learned from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.ndimage import shift as shifted

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.training.collection import LeftOut, TrainingImage, nothing_left, open_collection
from napari_hrsr.training.registration import (
    LARGEST_SHIFT,
    SAME_FIELD,
    Registration,
    register,
    usable_range,
)

_SMALLEST = 24
"""Shortest side of the part that both images of a pair show, in coarse pixels."""

_MARGIN = 4
"""Fine pixels read beyond a window so that its border can be interpolated."""

_FEW = 5
_SUFFIX = re.compile(
    r"([ _.-]*(lr|hr|low|high|coarse|fine|lowres|highres|x\d+|\d+x))+$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, eq=False)
class PairedImage:
    """A low-resolution image and a sharp one of the same field.

    Attributes
    ----------
    coarse, fine : TrainingImage
        Each with black at 0 and white at 1.
    scale : tuple of int
        Fine pixels in a coarse one, per axis.
    registration : Registration
        How the one follows from the other.
    window : tuple of slice
        The part of the coarse image that is used.
    """

    coarse: TrainingImage
    fine: TrainingImage
    scale: tuple[int, ...]
    registration: Registration
    window: tuple[slice, ...]

    @property
    def source(self) -> str:
        """What it came from."""
        return self.fine.source

    @property
    def name(self) -> str:
        """Of the sharp image."""
        return self.fine.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape in coarse pixels."""
        return tuple(w.stop - w.start for w in self.window)

    def read_pair(self, window: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
        """Read a part of both, in the units of the coarse one.

        Parameters
        ----------
        window : sequence of slice
            One per spatial axis, in pixels of `shape`.

        Returns
        -------
        coarse : ndarray
            Shape ([C,] *window), float32.
        fine : ndarray
            Shape ([C,] *(window * scale)), float32, moved into register by
            cubic splines.
        """
        there = [
            slice(w.start + part.start, w.start + part.stop)
            for w, part in zip(self.window, window, strict=True)
        ]
        coarse = self.coarse.read(there)
        registration, lead = self.registration, self.coarse.channels > 1
        reads, pads, rests, kept = [], [], [], []
        for part, k, t, length in zip(
            there, self.scale, registration.shift, self.fine.shape, strict=True
        ):
            whole = round(t)
            start, stop = part.start * k + whole - _MARGIN, part.stop * k + whole + _MARGIN
            reads.append(slice(max(0, start), min(length, stop)))
            pads.append((max(0, -start), max(0, stop - length)))
            rests.append(whole - t)
            kept.append(slice(_MARGIN, _MARGIN + (part.stop - part.start) * k))
        fine = self.fine.read(reads)
        fine = np.pad(fine, [(0, 0)] * lead + pads, mode="edge")
        if any(abs(rest) > 1e-3 for rest in rests):
            fine = shifted(fine, [0.0] * lead + rests, order=3, mode="nearest")
        fine = fine[(slice(None),) * lead + tuple(kept)]
        moved = fine * np.float32(registration.gain) + np.float32(registration.offset)
        return coarse, moved.astype(np.float32)

    def part(self, axis: int, start: int, stop: int) -> Self:
        """Return what lies within a range of an axis, in pixels of `shape`."""
        window = list(self.window)
        first = window[axis].start
        window[axis] = slice(first + start, first + stop)
        return replace(self, window=tuple(window))


@dataclass(frozen=True, slots=True)
class PairCollection:
    """Pairs to learn from, and what was left out.

    Attributes
    ----------
    images : tuple of PairedImage
        In register.
    left_out : tuple of LeftOut
        With the reason.
    """

    images: tuple[PairedImage, ...]
    left_out: tuple[LeftOut, ...]


def open_pairs(
    coarse_items: Iterable[Any],
    fine_items: Iterable[Any],
    *,
    scale: tuple[int, ...],
    ndim: int,
    channels: int = 1,
    axes: str | None = None,
) -> PairCollection:
    """Open pairs, put them in register, and leave out those that do not match.

    Images belong together whose names agree but for endings such as ``_lr``
    and ``_hr``; where no names agree, in the order in which they are given.

    Parameters
    ----------
    coarse_items, fine_items : iterable
        Files, folders or arrays; see `open_collection`.
    scale : tuple of int
        Fine pixels in a coarse one, per axis.
    ndim, channels, axes
        As for `open_collection`.

    Returns
    -------
    PairCollection

    Raises
    ------
    InputError
        If the images cannot be told to belong together, or no pair matches.
    """
    sides = [
        open_collection(items, ndim=ndim, channels=channels, axes=axes, minimum=_SMALLEST)
        for items in (coarse_items, fine_items)
    ]
    left_out = [*sides[0].left_out, *sides[1].left_out]
    images = []
    for coarse, fine in matched(sides[0].images, sides[1].images):
        try:
            images.append(_registered(coarse, fine, scale))
        except HrsrError as error:
            left_out.append(LeftOut(fine.name, str(error)))
    if not images:
        raise nothing_left(left_out)
    return PairCollection(tuple(images), tuple(left_out))


def matched(
    coarse: Sequence[TrainingImage], fine: Sequence[TrainingImage]
) -> list[tuple[TrainingImage, TrainingImage]]:
    """Return which images belong together, by name, else by order.

    Raises
    ------
    InputError
        If neither tells.
    """
    by_name = [{_key(image.name): image for image in side} for side in (coarse, fine)]
    common = [key for key in by_name[0] if key in by_name[1]]
    distinct = len(by_name[0]) == len(coarse) and len(by_name[1]) == len(fine)
    if common and distinct and len(common) == min(len(coarse), len(fine)):
        return [(by_name[0][key], by_name[1][key]) for key in common]
    if len(coarse) == len(fine):
        return list(zip(coarse, fine, strict=True))
    msg = (
        f"{len(coarse)} low-resolution and {len(fine)} sharp images do not pair up: give as "
        "many of each, or the same names but for endings such as _lr and _hr"
    )
    raise InputError(msg)


def _key(name: str) -> str:
    file, mark, rest = name.partition("#")
    stem = re.sub(r"\.(ome\.)?[A-Za-z0-9]{2,4}(\.gz)?$", "", file)
    return _SUFFIX.sub("", stem).lower() + mark + rest


def _registered(coarse: TrainingImage, fine: TrainingImage, scale: tuple[int, ...]) -> PairedImage:
    for n, length, k in zip(coarse.shape, fine.shape, scale, strict=True):
        if not 0.5 < length / (n * k) < 2:
            msg = (
                f"{coarse.name} has {coarse.shape} pixels and {fine.name} {fine.shape}: that is "
                f"not about {' x '.join(map(str, scale))} times as many"
            )
            raise InputError(msg)
    found = register(coarse, fine, scale)
    if found.correlation < SAME_FIELD:
        msg = (
            f"{coarse.name} and {fine.name} do not show the same field: they correlate by "
            f"{found.correlation:.2f}, at least {SAME_FIELD} is needed"
        )
        raise InputError(msg)
    for n, k, t in zip(coarse.shape, scale, found.shift, strict=True):
        if abs(t) > LARGEST_SHIFT * n * k:
            msg = f"{coarse.name} and {fine.name} are {t:.0f} pixels apart: crop them first"
            raise InputError(msg)
    window = usable_range(coarse.shape, fine.shape, scale, found.shift)
    if min(w.stop - w.start for w in window) < _SMALLEST:
        msg = f"{coarse.name} and {fine.name} share less than {_SMALLEST} pixels along an axis"
        raise InputError(msg)
    return PairedImage(coarse, fine, scale, found, window)


def split_pairs(
    images: Sequence[PairedImage], share: float, seed: int, *, margin: int = 8
) -> tuple[tuple[PairedImage, ...], tuple[PairedImage, ...]]:
    """Keep a part of the pairs for validation: whole pairs, or a stripe of each if they are few.

    Parameters
    ----------
    images : sequence of PairedImage
        At least one.
    share : float
        About which part to keep.
    seed : int
        Of the choice.
    margin : int
        Coarse pixels between both parts of a pair that is divided.

    Returns
    -------
    training, validation : tuple of PairedImage
        Without a pixel in common.
    """
    if len(images) >= _FEW:
        count = max(1, round(share * len(images)))
        kept = set(np.random.default_rng(seed).permutation(len(images))[:count].tolist())
        training = tuple(image for i, image in enumerate(images) if i not in kept)
        return training, tuple(images[i] for i in sorted(kept))
    parts = [_divided(image, share, margin) for image in images]
    return tuple(a for a, _ in parts), tuple(b for _, b in parts)


def _divided(image: PairedImage, share: float, margin: int) -> tuple[PairedImage, PairedImage]:
    axis = int(np.argmax(image.shape))
    length = image.shape[axis]
    stripe = max(8, round(share * length))
    if length - stripe - margin < 8:
        msg = f"{image.name} is too small to keep a part for measuring: name validation images"
        raise InputError(msg)
    return (
        image.part(axis, 0, length - stripe - margin),
        image.part(axis, length - stripe, length),
    )
