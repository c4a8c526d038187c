"""What the widget "Make isotropic" suggests, and how it reads what is typed: no Qt, no state."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_hrsr._napari.choices import format_bytes
from napari_hrsr.errors import InputError

if TYPE_CHECKING:
    from napari_hrsr.isotropic.axial_model import AxialFacts
    from napari_hrsr.isotropic.stack import Stack

LETTERS = "zyx"


def parse_size(text: str, what: str) -> float:
    """Read a length above 0.

    Parameters
    ----------
    text : str
        What was typed, with a decimal point or a decimal comma.
    what : str
        What it is, for the message.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        size = float(text.strip().replace(",", "."))
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        msg = f"the {what} must be a number above 0, got {text.strip()!r}"
        raise InputError(msg)
    return size


def parse_automatic(text: str, what: str) -> float | None:
    """Read a number from 0 up, or None for what is to be found automatically.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text.strip().lower() in ("", "auto", "automatic"):
        return None
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        msg = f"the {what} must be 'Automatic' or a number, got {text.strip()!r}"
        raise InputError(msg)
    return number


def coarse_axis(sizes: Sequence[float]) -> int:
    """Return the axis with the largest voxels; the first one of several."""
    return max(range(len(sizes)), key=lambda axis: sizes[axis])


def finest_pixel(sizes: Sequence[float], axis: int) -> float:
    """Return the finest voxel size beside the coarse axis."""
    return min(size for other, size in enumerate(sizes) if other != axis)


def network_name(layer: str, taken: Container[str]) -> str:
    """Name a network after a layer; only letters, digits and ``-`` remain.

    Parameters
    ----------
    layer : str
        Name of the layer.
    taken : container of str
        Names of other networks.
    """
    plain = unicodedata.normalize("NFKD", layer).encode("ascii", "ignore").decode()
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    base = "-".join(words)[:40].strip("-").lower() or "stack"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def fitting_networks(known: Mapping[str, AxialFacts], stack: Stack | None) -> list[tuple[str, str]]:
    """List the kept networks that were learned from slices as far apart as these.

    Parameters
    ----------
    known : mapping
        From `axial_models`.
    stack : Stack or None
        The stack; nothing fits none.

    Returns
    -------
    list of (str, str)
        A label for people and the name.
    """
    if stack is None:
        return []
    return [
        (f"{name} (slices {facts.ratio:.3g} pixels apart)", name)
        for name, facts in known.items()
        if facts.fits(stack)
    ]


def format_sizes(sizes: Sequence[float]) -> str:
    """Write voxel sizes for people: ``"2.8 x 0.7 x 0.7"``, or ``"0.7"`` where all are one."""
    texts = [f"{size:.4g}" for size in sizes]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def grid_text(stack: Stack, volumes: int, itemsize: int, unit: str) -> str:
    """Say what a stack is and what it is to become.

    Parameters
    ----------
    stack : Stack
        The stack.
    volumes : int
        How many of these there are: time points times channels.
    itemsize : int
        Bytes of a voxel.
    unit : str
        Of the voxel sizes.
    """
    size = math.prod(stack.result_shape) * volumes * itemsize
    several = f"{volumes} times " if volumes > 1 else ""
    before, after = (" x ".join(map(str, n)) for n in (stack.shape, stack.result_shape))
    return (
        f"{several}{before} voxels of {format_sizes(stack.spacing)} {unit} \N{RIGHTWARDS ARROW} "
        f"{after} of {format_sizes(stack.target)} {unit}, {format_bytes(size)}"
    )


def unit_text(layer: Any, axes: str) -> str:
    """Return the unit of a layer's voxel sizes, as people write it."""
    units = [format(layer.units[axes.index(letter)], "~P") for letter in "ZYX"]
    return units[0] if len(set(units)) == 1 else ", ".join(units)
