"""What the widgets offer and how they read what is typed: no Qt, no state."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

import numpy as np

from napari_hrsr.axes import SPATIAL
from napari_hrsr.errors import InputError
from napari_hrsr.layers import labelled_axes, layer_source
from napari_hrsr.models.chaining import chain_steps
from napari_hrsr.models.spec import ModelSpec


def axes_choices(layer: Any, ndim: int) -> list[tuple[str, str]]:
    """List how a layer's axes can be read by a model with `ndim` spatial axes.

    Returns
    -------
    list of (str, str)
        A label for people and the axes' names; one entry where the labels
        leave no doubt, none where the layer has too few axes.
    """
    labelled = labelled_axes(layer)
    if labelled is not None:
        fits = ndim == 2 or "Z" in labelled
        return [(labelled, labelled)] if fits else []
    colours = "S" if layer.rgb else ""
    shape = layer_source(layer).shape
    choices = []
    picks = list(itertools.combinations(range(layer.ndim), ndim))
    # The last axes are the likeliest: they come first.
    for picked in reversed(picks):
        letters = ["Q"] * layer.ndim
        for axis, letter in zip(picked, SPATIAL[-ndim:], strict=True):
            letters[axis] = letter
        text = ", ".join(
            f"{letter} {n}" if letter != "Q" else f"loop {n}"
            for letter, n in zip(letters, shape, strict=False)
        )
        choices.append((text, "".join(letters) + colours))
    return choices


def slice_axis(names: str) -> int | None:
    """Return the axis that a slice range counts along: Z, or else the first that is looped over."""
    if "Z" in names:
        return names.index("Z")
    others = [axis for axis, letter in enumerate(names) if letter not in "YXS"]
    return others[0] if others else None


def result_shape(shape: tuple[int, ...], names: str, scale: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the result for a source of this shape."""
    factors = dict(zip(SPATIAL[-len(scale) :], scale, strict=True))
    return tuple(n * factors.get(letter, 1) for n, letter in zip(shape, names, strict=True))


def result_bytes(
    layer: Any, shape: tuple[int, ...], names: str, scale: tuple[int, ...], dtype: str | None
) -> int:
    """Size of the result in bytes."""
    itemsize = np.dtype(dtype or layer_source(layer).dtype).itemsize
    return int(np.prod(result_shape(shape, names, scale), dtype=np.int64)) * itemsize


def parse_tile(text: str) -> int | tuple[int, ...] | None:
    """Read a tile: ``"auto"``, ``"256"`` or ``"32, 128, 128"``.

    Raises
    ------
    InputError
        If it is none of these.
    """
    text = text.strip().lower()
    if text in ("", "auto"):
        return None
    try:
        numbers = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        msg = f"the tile must be 'auto', a number, or one per axis such as 32,128,128; got {text!r}"
        raise InputError(msg) from None
    return numbers[0] if len(numbers) == 1 else numbers


def parse_noise(text: str) -> str | float:
    """Read a noise level: ``"auto"`` or a number.

    Raises
    ------
    InputError
        If it is neither.
    """
    text = text.strip().lower()
    if text in ("", "auto"):
        return "auto"
    try:
        return float(text)
    except ValueError:
        msg = f"the noise must be 'auto' or a number; got {text!r}"
        raise InputError(msg) from None


def parse_blur(text: str) -> tuple[float, ...]:
    """Read the width of a blur: ``"0.8"`` or ``"1.2, 0.8, 0.8"``.

    Raises
    ------
    InputError
        If it is neither.
    """
    try:
        widths = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        widths = (-1.0,)
    if len(widths) > 3 or not all(0 <= width < float("inf") for width in widths):
        msg = (
            "the blur must be a number of source pixels from 0 up, or one per axis such as "
            f"1.2,0.8,0.8; got {text!r}"
        )
        raise InputError(msg)
    return widths


def format_bytes(size: float) -> str:
    """Write a size for people: ``"34 MB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit != "GB" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def region_shape(layer: Any, region: list[Any] | None) -> tuple[int, ...]:
    """Shape of the part of a layer that is upscaled."""
    shape = tuple(int(n) for n in layer_source(layer).shape)
    if region is None:
        return shape
    return tuple(n if r is None else r[1] - r[0] for n, r in zip(shape, region, strict=True))


def is_image(layer: Any) -> bool:
    """Tell whether this is an Image layer."""
    return layer is not None and "Image" in {c.__name__ for c in layer.__class__.__mro__}


def model_facts(spec: ModelSpec) -> str:
    """Say in a few lines what a model is."""
    lines = [f"Factor {' x '.join(map(str, spec.scale))}"]
    if spec.parts:
        lines.append(f"One run: {', then '.join(chain_steps(spec))}")
    elif spec.weights is None:
        lines.append("A fixed formula, for comparison")
    elif spec.trained_on:
        lines.append(f"Trained on: {spec.trained_on}")
    if spec.gains:
        mean = sum(spec.gains.values()) / len(spec.gains)
        over = "cubic" if max(spec.scale) > 1 else "the image as it is"
        lines.append(f"Measured gain over {over}: {mean:+.1f} dB")
    if spec.caution:
        lines.append(spec.caution)
    return "\n".join(wrapped(line) for line in lines)


def wrapped(text: str, width: int = 40) -> str:
    """Break a text into lines that fit the dock."""
    return "\n".join(textwrap.wrap(text, width))
