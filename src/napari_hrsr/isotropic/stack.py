"""What is known of a stack before anything is computed: its voxels, and those wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import LARGEST_FACTOR
from napari_hrsr.regridding import result_length

LEAST_RATIO = 1.1
"""A stack whose slices are not farther apart than this many pixels is isotropic enough."""

LEAST_PIXELS = 24
"""A slice with fewer pixels along an axis shows no detail to learn from."""

CLEAN = 0.01
"""Noise, over the range, up to which slices count as clean and are reproduced exactly."""

LEAST_SLICES = 4
"""A stack of fewer slices than this cannot be refined."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A volume that is coarse along one axis, and the grid that it shall have.

    Attributes
    ----------
    shape : tuple of int
        Lengths of the three spatial axes, in the order of the array.
    spacing : tuple of float
        Distance of neighbouring voxels along each of them, in any one unit.
    target : tuple of float
        Likewise, of the result.
    axis : int
        The coarse one, 0 to 2.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    target: tuple[float, float, float]
    axis: int = 0

    @property
    def lateral(self) -> tuple[int, int]:
        """The two axes of a slice."""
        first, second = (a for a in range(3) if a != self.axis)
        return first, second

    @property
    def pixel(self) -> float:
        """Finest distance of pixels in a slice: how fine the detail is that can be learned."""
        return min(self.spacing[a] for a in self.lateral)

    @property
    def ratio(self) -> float:
        """Pixels of a slice from slice to slice."""
        return self.spacing[self.axis] / self.pixel

    @property
    def levels(self) -> int:
        """Whole factor of the network: its grid is as fine as a slice's pixels, or finer."""
        return levels_of(self.ratio)

    @property
    def factor(self) -> tuple[float, float, float]:
        """Voxels of the result in one of the source, per axis."""
        z, y, x = (s / t for s, t in zip(self.spacing, self.target, strict=True))
        return z, y, x

    @property
    def result_shape(self) -> tuple[int, int, int]:
        """Lengths of the result; the first outer edges coincide, the last voxel covers the end."""
        z, y, x = (result_length(n, f) for n, f in zip(self.shape, self.factor, strict=True))
        return z, y, x


def levels_of(ratio: float) -> int:
    """Return the whole factor of the network for a number of pixels from slice to slice.

    Parameters
    ----------
    ratio : float
        See `Stack.ratio`.
    """
    return math.ceil(ratio - 1e-3)


def describe_stack(
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    axis: int = 0,
    target: float | Sequence[float] | None = None,
) -> Stack:
    """Check a stack's voxels, and choose those of the result.

    Parameters
    ----------
    shape : sequence of int
        Three lengths.
    spacing : sequence of float
        Distances of the voxels along the three axes, in any one unit.
    axis : int
        The coarse axis.
    target : float or sequence of float, optional
        Voxel size of the result, one or three numbers in the same unit; by
        default the finer one of a slice's pixel sizes.

    Returns
    -------
    Stack

    Raises
    ------
    InputError
        If the numbers make no sense, or there is nothing to refine.
    """
    if len(shape) != 3 or len(spacing) != 3:
        msg = (
            "a stack has three spatial axes and one voxel size for each, "
            f"got the shape {tuple(shape)} and the voxel sizes {tuple(spacing)}"
        )
        raise InputError(msg)
    if axis not in (0, 1, 2):
        msg = f"axis is 0, 1 or 2, the one along which the slices were taken, got {axis!r}"
        raise InputError(msg)
    sizes = _three("voxel sizes", spacing)
    lateral = [a for a in range(3) if a != axis]
    pixel = min(sizes[a] for a in lateral)
    if sizes[axis] < LEAST_RATIO * pixel:
        msg = (
            f"the slices lie {sizes[axis]:g} apart and their pixels {pixel:g}: there is nothing "
            "to refine. Check the voxel sizes (z, y, x), or name the axis that is coarse"
        )
        raise InputError(msg)
    if sizes[axis] > LARGEST_FACTOR * pixel:
        msg = (
            f"the slices lie {sizes[axis] / pixel:.1f} pixels apart; up to {LARGEST_FACTOR} can "
            "be bridged: check the voxel sizes (z, y, x), or bin the slices' pixels first"
        )
        raise InputError(msg)
    if shape[axis] < LEAST_SLICES or min(shape[a] for a in lateral) < LEAST_PIXELS:
        msg = (
            f"the stack is too small, {' x '.join(map(str, shape))}: at least {LEAST_SLICES} "
            f"slices of {LEAST_PIXELS} x {LEAST_PIXELS} pixels are needed"
        )
        raise InputError(msg)
    if target is None:
        wanted = (pixel,) * 3
    elif isinstance(target, (int, float)):
        wanted = _three("target", (target,) * 3)
    else:
        wanted = _three("target", target)
    if wanted[axis] >= sizes[axis]:
        msg = (
            f"the target voxel of {wanted[axis]:g} is not finer than the slices, which lie "
            f"{sizes[axis]:g} apart: choose a smaller one"
        )
        raise InputError(msg)
    if any(t < s / LARGEST_FACTOR for s, t in zip(sizes, wanted, strict=True)):
        msg = (
            f"the target voxels {wanted} are more than {LARGEST_FACTOR} times finer than the "
            f"stack's {sizes}: choose larger ones"
        )
        raise InputError(msg)
    first, second, third = (int(n) for n in shape)
    return Stack((first, second, third), sizes, wanted, axis)


def _three(what: str, values: Sequence[float]) -> tuple[float, float, float]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(0 < v < math.inf for v in numbers):
        msg = f"{what} must be three numbers above 0, or one, got {values!r}"
        raise InputError(msg)
    return numbers[0], numbers[1], numbers[2]
