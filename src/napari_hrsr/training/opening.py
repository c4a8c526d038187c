"""From what was found to lazy views of single images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.axes import check_names, default_names, resolve_axes
from napari_hrsr.errors import InputError
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import check_source
from napari_hrsr.training.file_pixels import FilePixels
from napari_hrsr.training.finding import Found
from napari_hrsr.training.views import View

ISOTROPIC_PLANES = 90
"""A volume of at least this many planes is sampled finely enough to be cut along any axis."""

_PLANES = 4
_TIME_POINTS = 8
_UNEVEN = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One channel at one time point of a file, and the images it gives.

    Attributes
    ----------
    label : str
        Channel and time point, empty where there is one only.
    whole : View
        All of it; its range is that of the images.
    images : tuple of (str, View)
        Label and view: `whole` itself, or planes of a volume.
    """

    label: str
    whole: View
    images: tuple[tuple[str, View], ...]


def open_pixels(found: Found, axes: str | None = None) -> tuple[Any, ImageMetadata | None, str]:
    """Open a file, or check an array.

    Parameters
    ----------
    found : Found
        From `find_images`.
    axes : str, optional
        One letter per axis; for images of so many axes that hold no colours
        and, if they are arrays, have no axes of their own.

    Returns
    -------
    pixels : array-like
        Read when it is sliced.
    metadata : ImageMetadata or None
        What the file says.
    names : str
        One letter per axis.

    Raises
    ------
    InputError
        If it cannot be opened, or is no image.
    """
    metadata = None
    if isinstance(found.content, Path):
        pixels = FilePixels(found.content)
        metadata = pixels.metadata
        names = metadata.axes
        if axes and len(axes) == len(names) and "S" not in names:
            names = axes
    else:
        pixels = check_source(found.content.pixels)
        ndim = len(pixels.shape)
        names = found.content.axes or (axes if axes and len(axes) == ndim else default_names(ndim))
    check_source(pixels)
    return pixels, metadata, check_names(names, len(pixels.shape))


def cut_series(
    pixels: Any,
    names: str,
    *,
    ndim: int,
    channels: int,
    metadata: ImageMetadata | None = None,
    only_z: bool = False,
) -> list[Series]:
    """Cut what is in a file into images of the wanted kind.

    Every channel is a series of its own, and so are some time points, evenly
    spread. In 2D a volume gives planes between a quarter and three quarters of
    its depth; one of at least `ISOTROPIC_PLANES` planes gives such along y and
    x too, unless its planes are spaced more widely than its pixels.

    Parameters
    ----------
    pixels : array-like
        From `open_pixels`.
    names : str
        One letter per axis.
    ndim : int
        2 for planes, 3 for volumes.
    channels : int
        1 for grey images (colours become luminance), 3 for colour images.
    metadata : ImageMetadata, optional
        Tells the spacing.
    only_z : bool
        Cut planes along z only.

    Returns
    -------
    list of Series

    Raises
    ------
    InputError
        If the image is of another kind.
    """
    if ndim == 3 and "Z" not in names:
        msg = (
            f"it has no Z axis (its axes are {names}), and training in 3D needs volumes: "
            "name its axes if one of them is Z"
        )
        raise InputError(msg)
    axes = resolve_axes(names, ndim)
    shape = tuple(int(n) for n in pixels.shape)
    key: list[int | slice] = [slice(0, n) for n in shape]
    samples = axes.samples
    if samples is not None and shape[samples] <= 2:
        key[samples], samples = 0, None
    if samples is not None:
        if shape[samples] > 4:
            msg = f"its pixels hold {shape[samples]} samples each: colours have 3 or 4"
            raise InputError(msg)
        key[samples] = slice(0, 3)
    if channels > 1 and samples is None:
        msg = "it holds no colours: training on colours needs RGB images"
        raise InputError(msg)
    planes_of = names.index("Z") if ndim == 2 and "Z" in names else None
    looped = [a for a in axes.looped if a != planes_of]
    series = []
    for index in _indices(shape, names, looped):
        for axis, i in zip(looped, index, strict=True):
            key[axis] = i
        label = "".join(
            f" {names[a].lower()}={i}" for a, i in zip(looped, index, strict=True) if shape[a] > 1
        )
        whole = View(pixels, tuple(key), samples, channels == 1)
        images: list[tuple[str, View]] = [("", whole)]
        if planes_of is not None:
            deep = not only_z and _is_deep(shape, names, metadata)
            cut = [names.index(letter) for letter in ("ZYX" if deep else "Z")]
            images = [_plane(whole, names, a, i) for a in cut for i in _planes(shape[a])]
        series.append(Series(label, whole, tuple(images)))
    return series


def _indices(shape: Sequence[int], names: str, looped: list[int]) -> Iterator[tuple[int, ...]]:
    """Every channel; of everything else that is looped over, some evenly spread."""
    others = [a for a in looped if names[a] != "C"]
    count = math.prod(shape[a] for a in others)
    picked = np.unique(np.linspace(0, count - 1, min(count, _TIME_POINTS)).round().astype(int))
    channels = next((shape[a] for a in looped if names[a] == "C"), 1)
    for channel, position in itertools.product(range(channels), picked):
        at = iter(np.unravel_index(position, [shape[a] for a in others]) if others else ())
        yield tuple(channel if names[a] == "C" else int(next(at)) for a in looped)


def _planes(length: int) -> list[int]:
    positions = np.linspace(0.25 * length, 0.75 * length, _PLANES)
    return sorted({int(p) for p in positions})


def _plane(volume: View, names: str, axis: int, index: int) -> tuple[str, View]:
    key = tuple(index if a == axis else k for a, k in enumerate(volume.key))
    view = View(volume.array, key, volume.samples, volume.grey)
    return (f" {names[axis].lower()}={index}" if volume.array.shape[axis] > 1 else ""), view


def _is_deep(shape: Sequence[int], names: str, metadata: ImageMetadata | None) -> bool:
    if shape[names.index("Z")] < ISOTROPIC_PLANES:
        return False
    if metadata is None or metadata.axes != names:
        return True
    z, y = names.index("Z"), names.index("Y")
    known = metadata.units[z] == metadata.units[y] != "pixel"
    return not known or metadata.scale[z] <= _UNEVEN * metadata.scale[y]
