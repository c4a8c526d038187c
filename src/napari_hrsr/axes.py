"""Which axes of an image are upscaled, which are looped over, which hold colours.

An image's axes are named by one letter each, in array order: ``T`` time,
``C`` channel, ``Z`` ``Y`` ``X`` space, ``S`` the samples of an RGB or RGBA
pixel. Any other letter is an axis to loop over. Nothing is guessed from the
length of an axis: three slices are not a colour image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from napari_hrsr.errors import InputError

SPATIAL = "ZYX"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Axes:
    """The role of every axis of an image for a model with `ndim` spatial axes.

    Attributes
    ----------
    names : str
        One letter per axis, in array order, for example ``"TCZYX"``.
    spatial : tuple of int
        Positions of the axes that are upscaled, in array order.
    looped : tuple of int
        Positions of the axes that are looped over.
    samples : int or None
        Position of the RGB(A) axis.
    """

    names: str
    spatial: tuple[int, ...]
    looped: tuple[int, ...]
    samples: int | None = None

    @property
    def ndim(self) -> int:
        """Number of axes of the image."""
        return len(self.names)

    def has_alpha(self, shape: Sequence[int]) -> bool:
        """Tell whether the last sample of every pixel is its opacity."""
        return self.samples is not None and shape[self.samples] in (2, 4)

    def spread(self, values: Sequence[Number]) -> tuple[Number | int, ...]:
        """Return one value per axis of the image from one per spatial axis; 1 for the others."""
        spread: list[Number | int] = [1] * self.ndim
        for axis, value in zip(self.spatial, values, strict=True):
            spread[axis] = value
        return tuple(spread)

    def pick_spatial(self, values: Sequence[int]) -> tuple[int, ...]:
        """Return the entries of the spatial axes."""
        return tuple(values[axis] for axis in self.spatial)

    def pick_looped(self, values: Sequence[int]) -> tuple[int, ...]:
        """Return the entries of the axes that are looped over."""
        return tuple(values[axis] for axis in self.looped)


def default_names(ndim: int) -> str:
    """Name the axes of an image that says nothing: ``YX`` or ``ZYX``.

    Raises
    ------
    InputError
        If there are fewer than two or more than three axes.
    """
    if ndim < 2:
        msg = f"an image needs at least 2 axes (Y, X), got {ndim}"
        raise InputError(msg)
    if ndim > 3:
        msg = (
            f"an image with {ndim} axes needs their names: give axes, one letter each "
            "(T time, C channel, Z Y X space, S colour samples), for example axes='TZYX'"
        )
        raise InputError(msg)
    return SPATIAL[-ndim:]


def check_names(names: str, ndim: int) -> str:
    """Return the names in upper case after checking them against an image.

    Raises
    ------
    InputError
        If their number is wrong, Y or X is missing, or a named axis appears
        twice.
    """
    names = names.upper()
    if len(names) != ndim:
        msg = f"axes {names!r} name {len(names)} axes, but the image has {ndim}"
        raise InputError(msg)
    if not names.isalpha():
        msg = f"axes must be letters such as 'TCZYX', got {names!r}"
        raise InputError(msg)
    for letter in "TCZYXS":
        if names.count(letter) > 1:
            msg = f"axis {letter!r} appears twice in {names!r}"
            raise InputError(msg)
    missing = [letter for letter in "YX" if letter not in names]
    if missing:
        msg = f"axes {names!r} lack {' and '.join(missing)}; every image needs Y and X"
        raise InputError(msg)
    order = [names.index(letter) for letter in SPATIAL if letter in names]
    if order != sorted(order):
        msg = f"the spatial axes must come in the order Z, Y, X; got {names!r}: transpose the image"
        raise InputError(msg)
    return names


def resolve_axes(names: str, ndim: int) -> Axes:
    """Split named axes into spatial ones and the rest.

    Parameters
    ----------
    names : str
        Checked names, one letter per axis.
    ndim : int
        Spatial axes of the model: with 2, an axis ``Z`` is looped over.

    Raises
    ------
    InputError
        If a 3D model meets an image without ``Z``.
    """
    if ndim == 3 and "Z" not in names:
        msg = (
            f"a 3D model needs a Z axis, the image has only {names!r}: "
            "choose a 2D model, or name the axes if one of them is Z"
        )
        raise InputError(msg)
    letters = SPATIAL[-ndim:]
    spatial = tuple(names.index(letter) for letter in letters)
    samples = names.index("S") if "S" in names else None
    looped = tuple(i for i in range(len(names)) if i not in spatial and i != samples)
    return Axes(names, spatial, looped, samples)
