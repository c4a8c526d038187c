"""Images that are read in boxes, and the box with the most structure."""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from scipy.ndimage import uniform_filter

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import LUMINANCE, Image, check_image
from napari_hrsr.files.partial import check_space
from napari_hrsr.pixels import read_block

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluating import Report

Box = tuple[slice, ...]

TILE = 2**20
"""Voxels of a box that is read at once, about."""

_BLOCKS = 4
"""Blocks along each side of the box with the most structure."""

_GRAIN = 4
"""Pixels over which noise is averaged before structure is measured."""


class LargeImage:
    """An image that is read in boxes, as float64.

    Parameters
    ----------
    array : array-like
        2 or 3 spatial axes, then colours if `rgb`; numpy, zarr or dask.
    name : str
        What it is called in an error.
    rgb : bool
        Whether the last axis holds colours; they become their luminance.

    Attributes
    ----------
    shape : tuple of int
        Of the spatial axes.
    low, high : float
        Of the values, once it was scanned.
    """

    def __init__(self, array: Any, name: str, rgb: bool) -> None:
        self.array, self.name, self.rgb = array, name, rgb
        self.shape = tuple(int(n) for n in (array.shape[:-1] if rgb else array.shape))
        self.low, self.high = math.inf, -math.inf

    def cut(self, box: Box) -> Any:
        """Read a box as it is stored, colours included."""
        return read_block(self.array, (*box, slice(None)) if self.rgb else box)

    def read(self, box: Box) -> Image:
        """Read a box.

        Raises
        ------
        InputError
            If it cannot be read, or holds values that are not finite.
        """
        values = self.cut(box).astype(np.float64)
        if self.rgb:
            values = values[..., :3] @ np.array(LUMINANCE)
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            start = tuple(s.start for s in box)
            msg = (
                f"the {self.name} has {broken} pixels that are not finite (NaN or infinite) in "
                f"the part that begins at {start}: crop or fill them"
            )
            raise InputError(msg)
        return np.asarray(values)

    def see(self, values: Image) -> None:
        """Take note of the range of some of its values."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def check_range(self) -> None:
        """Refuse an image that is constant, once all of it was seen."""
        if self.low == self.high:
            msg = (
                f"the {self.name} is {self.low:g} everywhere: "
                "a constant image holds nothing to measure"
            )
            raise InputError(msg)

    def scan(self, report: Report, check: Callable[[], None]) -> None:
        """Read all of it once: its range, and whether it can be measured."""
        tiles = boxes(self.shape)
        for number, box in enumerate(tiles):
            check()
            report(f"Reading the {self.name}", number, len(tiles))
            self.see(self.read(box))
        report(f"Reading the {self.name}", len(tiles), len(tiles))
        self.check_range()


def opened(image: Any, name: str, rgb: bool) -> LargeImage:
    """Return an image that is read in boxes, after checking all but its pixels.

    Raises
    ------
    InputError
        If its type or its number of axes cannot be measured.
    """
    if not hasattr(image, "shape") or not hasattr(image, "dtype"):
        image = np.asarray(image)
    # A sample says as much of type and axes as the whole does.
    sample = np.zeros([min(n, 4) for n in image.shape], image.dtype)
    if sample.size and sample.dtype.kind in "buif":
        sample.flat[0] = 1
    check_image(sample, name, rgb=rgb)
    return LargeImage(image, name, rgb)


def boxes(
    shape: Sequence[int], unit: Sequence[int] | None = None, voxels: int | None = None
) -> list[Box]:
    """Cut an image into boxes of about equal size.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    unit : sequence of int, optional
        Sides of boxes are multiples of this.
    voxels : int, optional
        In a box, about; `TILE` if left out.
    """
    unit = unit or (1,) * len(shape)
    side, left = list(shape), float(voxels or TILE)
    # Sides that are short leave more for the others.
    for rank, axis in enumerate(sorted(range(len(shape)), key=lambda a: shape[a])):
        side[axis] = min(shape[axis], max(16, int(left ** (1 / (len(shape) - rank)))))
        left = max(1.0, left / side[axis])
    steps = [max(u, s // u * u) for s, u in zip(side, unit, strict=True)]
    along = [
        [slice(a, min(n, a + s)) for a in range(0, n, s)] for n, s in zip(shape, steps, strict=True)
    ]
    return list(itertools.product(*along))


def grown(box: Box, margin: Sequence[int], shape: Sequence[int]) -> tuple[Box, Box]:
    """Add a margin to a box, within the image; return it with where the box lies in it."""
    wide = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(box, margin, shape, strict=True)
    )
    inner = tuple(
        slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True)
    )
    return wide, inner


def finer(box: Box, factor: Sequence[float], shape: Sequence[int]) -> Box:
    """Return the box of the result that a box of the source covers."""
    return tuple(
        slice(round(s.start * k), min(n, math.ceil(s.stop * k - 1e-6)))
        for s, k, n in zip(box, factor, shape, strict=True)
    )


def richest_box(
    guide: LargeImage,
    factor: Sequence[float],
    voxels: int,
    report: Report,
    check: Callable[[], None],
) -> Box:
    """Find the box with the most structure, and scan the image on the way.

    Structure is the energy of differences between neighbours, after an average
    that takes most of the noise away.

    Parameters
    ----------
    guide : LargeImage
        The source; the result where there is none.
    factor : sequence of float
        Pixels of the result in one of `guide`, per axis.
    voxels : int
        Of the result that the box may cover, at most.
    report, check : callable
        As for `LargeImage.scan`.
    """
    shape = guide.shape
    shrink = (voxels / math.prod(n * k for n, k in zip(shape, factor, strict=True))) ** (
        1 / len(shape)
    )
    side = [min(n, max(16, int(n * min(1.0, shrink)))) for n in shape]
    block = [max(1, -(-s // _BLOCKS)) for s in side]
    energy = np.zeros([-(-n // b) for n, b in zip(shape, block, strict=True)])
    tiles = boxes(shape, block)
    for number, box in enumerate(tiles):
        check()
        report(f"Reading the {guide.name}", number, len(tiles))
        values = guide.read(box)
        guide.see(values)
        smooth = uniform_filter(values, [min(_GRAIN, n) for n in values.shape])
        change = np.zeros(values.shape)
        for axis, length in enumerate(values.shape):
            if length > 1:
                change += np.gradient(smooth, axis=axis) ** 2
        first = [s.start // b for s, b in zip(box, block, strict=True)]
        for axis, b in enumerate(block):
            change = np.add.reduceat(change, np.arange(0, change.shape[axis], b), axis=axis)
        counts: tuple[int, ...] = change.shape
        where = tuple(slice(f, f + c) for f, c in zip(first, counts, strict=True))
        energy[where] = change
    report(f"Reading the {guide.name}", len(tiles), len(tiles))
    guide.check_range()
    window = [min(_BLOCKS, n) for n in energy.shape]
    views = np.lib.stride_tricks.sliding_window_view(energy, window)
    sums = views.sum(axis=tuple(range(energy.ndim, 2 * energy.ndim)))
    best = [int(i) for i in np.unravel_index(int(np.argmax(sums)), sums.shape)]
    starts = [min(i * b, n - s) for i, b, n, s in zip(best, block, shape, side, strict=True)]
    whole = [_aligned(start, k) for start, k in zip(starts, factor, strict=True)]
    return tuple(slice(a, a + s) for a, s in zip(whole, side, strict=True))


def _aligned(start: int, factor: float) -> int:
    """Move a start down to where the result has a pixel's edge too."""
    while start and abs(start * factor - round(start * factor)) > 1e-6:
        start -= 1
    return start


def scratch(shape: Sequence[int], side: Sequence[int]) -> Any:
    """Make an array of float32 on disk that is removed once nothing refers to it.

    Parameters
    ----------
    shape, side : sequence of int
        Of the array, and of what is written at once.

    Raises
    ------
    OutputError
        If the disk is too small.
    """
    folder = tempfile.mkdtemp(prefix="napari-hrsr-")
    try:
        check_space(Path(folder), 4 * math.prod(shape))
        array = zarr.create_array(
            Path(folder) / "map.zarr", shape=tuple(shape), dtype=np.float32,
            chunks=tuple(min(n, s) for n, s in zip(shape, side, strict=True)),
        )  # fmt: skip
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
    return array


def counted(
    tiles: Sequence[Box], what: str, report: Report, check: Callable[[], None]
) -> Iterator[Box]:
    """Go through boxes, tell how far it is, and stop where asked to."""
    for number, box in enumerate(tiles):
        check()
        report(what, number, len(tiles))
        yield box
    report(what, len(tiles), len(tiles))
