"""A point spread function that somebody measured, from a file to a kernel of a training."""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, shift

from napari_hrsr.errors import InputError
from napari_hrsr.files import read_image
from napari_hrsr.forward import PointSpread

Floats = NDArray[np.float64]

_LARGEST = 2**26
"""Pixels of a file that is looked at: a larger one is no image of beads."""

_VISIBLE = 5.0
"""Standard deviations of the noise by which a bead stands out, at least."""

_OTHER = 0.5
"""Share of the brightest bead's height from which a point is another bead."""

_LOST = 0.002
"""Share of the light that may lie outside of the kernel."""

_CLEAR, _DARK = 4.0, 0.004
"""What is light: so many times the noise and this share of the maximum, once smoothed."""

_LEAST_REACH = 2
_ALIKE = 0.1
"""Share of the light by which a kernel may differ from its mirror image to be called even."""


def read_point_spread(path: str | Path, ndim: int, sha256: str = "") -> PointSpread:
    """Read the image of a point, or of several beads, which are averaged.

    The median of the outermost pixels is the background. What stands out of it
    is cut around each bead, centred to a fraction of a pixel by its centre of
    mass, so that a network that undoes the blur moves nothing, and divided by
    its sum.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-Zarr, NIfTI or any other image with axes ([Z,] Y, X); its pixels
        are as large as those of the sharp images to learn from.
    ndim : int
        Number of spatial axes of the training.
    sha256 : str
        Of the file, where a run began with it; see `digest_of`.

    Returns
    -------
    PointSpread
        As large as it takes to hold all but 0.2 per cent of the light.

    Raises
    ------
    InputError
        If the file cannot be read or is another one, has other axes, holds
        values that are no numbers, or no point stands out.
    """
    path = Path(path)
    if sha256 and digest_of(path) != sha256:
        msg = (
            f"{path.name} is not the point spread function that this run began with: "
            "put that one back, or start a new run"
        )
        raise InputError(msg)
    return _read(path, ndim, _stamp(path))


def digest_of(path: Path) -> str:
    """Return the sha256 of a file, or of all files in a folder with their names.

    Raises
    ------
    InputError
        If it is not there, or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if path.is_file():
            digest.update(path.read_bytes())
        else:
            files = sorted(p for p in path.rglob("*") if p.is_file())
            for file in files:
                digest.update(file.relative_to(path).as_posix().encode())
                digest.update(file.read_bytes())
            if not files:
                msg = f"there is no point spread function {path}: check the path"
                raise InputError(msg)
    except OSError as error:
        msg = f"cannot read {path.name}: {error.strerror or error}"
        raise InputError(msg) from None
    return digest.hexdigest()


def widths_of(spread: PointSpread) -> tuple[float, ...]:
    """Return the standard deviation of a point spread function along each axis, in pixels."""
    widths = []
    for axis, side in enumerate(spread.kernel.shape):
        along = spread.kernel.sum(tuple(a for a in range(spread.ndim) if a != axis))
        places = np.arange(side) - float(along @ np.arange(side))
        widths.append(math.sqrt(float(along @ places**2)))
    return tuple(widths)


def even_axes(
    spread: PointSpread, exchanged: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how an image may be turned without turning what blurred it.

    Parameters
    ----------
    spread : PointSpread
        What blurred it.
    exchanged : tuple of int
        Axes that may be exchanged otherwise.

    Returns
    -------
    flipped : tuple of int
        Axes along which the kernel is its own mirror image.
    exchanged : tuple of int
        Those of `exchanged`, if it stays the same for every order of them.
    """
    kernel = spread.kernel

    def alike(other: Floats) -> bool:
        return other.shape == kernel.shape and float(np.abs(other - kernel).sum()) < _ALIKE

    flipped = tuple(axis for axis in range(kernel.ndim) if alike(np.flip(kernel, axis)))
    for a, b in itertools.combinations(exchanged, 2):
        if not alike(kernel.swapaxes(a, b)):
            return flipped, ()
    return flipped, exchanged


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=8)
def _read(path: Path, ndim: int, stamp: tuple[int, int]) -> PointSpread:
    """Read it once: every pair of a training asks for it."""
    image = read_image(path)
    shape = tuple(n for n in image.data.shape if n > 1)
    if len(shape) != ndim:
        msg = (
            f"the point spread function {path.name} has {_sides(image.data.shape)} pixels, the "
            f"images {ndim} axes in space: give one grey image with just these axes"
        )
        raise InputError(msg)
    if math.prod(shape) > _LARGEST:
        msg = f"{path.name} has {_sides(shape)} pixels: crop it around the beads"
        raise InputError(msg)
    values = np.asarray(image.data[...], np.float64).reshape(shape)
    if not np.isfinite(values).all():
        msg = f"the point spread function {path.name} holds values that are no numbers"
        raise InputError(msg)
    light, noise = _without_background(values)
    beads = _beads(light, noise, path.name)
    return PointSpread(_trimmed(_mean_bead(light, beads, path.name)))


def _without_background(values: Floats) -> tuple[Floats, float]:
    """Subtract the median of the outermost pixels; return their noise, too."""
    outer = np.ones(values.shape, bool)
    outer[tuple(slice(1, -1) for _ in values.shape)] = False
    background = float(np.median(values[outer]))
    noise = 1.4826 * float(np.median(np.abs(values[outer] - background)))
    return values - background, noise


def _beads(light: Floats, noise: float, name: str) -> list[tuple[int, ...]]:
    """Return the places of the brightest point, and of others that are about as bright."""
    from skimage.feature import peak_local_max

    smooth = gaussian_filter(light, 0.7)
    height = float(smooth.max())
    if not height > max(_VISIBLE * noise, 1e-9 * float(np.abs(light).max())):
        msg = (
            f"no point stands out of the background of {name}: give an image of beads smaller "
            "than the blur, or of a point spread function that falls to its background"
        )
        raise InputError(msg)
    find: Any = peak_local_max
    found = find(
        smooth, min_distance=_LEAST_REACH, threshold_abs=_OTHER * height, exclude_border=False
    )
    return [tuple(int(p) for p in place) for place in found]


def _mean_bead(light: Floats, beads: list[tuple[int, ...]], name: str) -> Floats:
    """Cut the beads out, centre them and average them."""
    ends = [[min(p, n - 1 - p) for p, n in zip(bead, light.shape, strict=True)] for bead in beads]
    reach = list(np.max(ends, axis=0))
    for one, other in itertools.combinations(beads, 2):
        # Half way to the next bead, along the axis on which they are farthest apart.
        apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
        axis = int(np.argmax(apart))
        reach[axis] = min(reach[axis], (apart[axis] - 1) // 2)
    inside = [b for b, e in zip(beads, ends, strict=True) if np.all(np.array(e) >= reach)]
    if min(reach) < _LEAST_REACH or not inside:
        msg = (
            f"the bright points of {name} lie too close to each other or to its border: "
            "crop it around one of them"
        )
        raise InputError(msg)
    total = np.zeros([2 * int(r) + 1 for r in reach])
    for bead in inside:
        box = tuple(slice(p - int(r), p + int(r) + 1) for p, r in zip(bead, reach, strict=True))
        total += _centred(light[box])
    return _centred(total)


def _centred(light: Floats) -> Floats:
    """Move the centre of mass of what stands out to the middle pixel."""
    # The centre of mass of noise is nowhere.
    clear = np.where(light > 0.1 * light.max(), light, 0.0)
    middle = (np.array(light.shape) - 1) / 2
    grid = np.indices(light.shape).reshape(light.ndim, -1)
    centre = grid @ clear.ravel() / clear.sum()
    moved: Floats = shift(light, middle - centre, order=3, mode="nearest")
    return moved


def _trimmed(light: Floats) -> Floats:
    """Set what is no light to zero, and cut sides that hold none."""
    light, _ = _without_background(light)
    smooth, noise = _without_background(gaussian_filter(light, 1.0))
    # Pixel by pixel, half of the noise of a dark surrounding would count as light.
    seen = binary_dilation(smooth > max(_CLEAR * noise, _DARK * smooth.max()))
    kernel = np.where(seen, np.maximum(light, 0.0), 0.0)
    kernel /= kernel.sum()
    for axis in range(kernel.ndim):
        along = kernel.sum(tuple(a for a in range(kernel.ndim) if a != axis))
        middle, cut = len(along) // 2, 0
        while cut < middle and along[: cut + 1].sum() + along[-cut - 1 :].sum() <= _LOST:
            cut += 1
        kernel = kernel.take(range(cut, len(along) - cut), axis=axis)
    result: Floats = np.ascontiguousarray(kernel)
    return result


def _sides(shape: Any) -> str:
    return " x ".join(str(int(n)) for n in shape)
