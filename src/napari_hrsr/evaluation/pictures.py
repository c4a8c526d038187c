"""Images and maps as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from napari_hrsr.evaluation.images import LUMINANCE, Image

SIDE = 640
"""Longest side of a picture, in pixels."""

DIVERGING = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))
"""Colours from the lowest value, through none, to the highest; red, green and blue to 255."""

_HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_CONTRAST = (0.2, 99.8)
_BAND = 2**21


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a page.

    Attributes
    ----------
    uri : str
        ``data:`` address of a PNG.
    width, height : int
        Of the picture.
    """

    uri: str
    width: int
    height: int


def overview(image: Any, plane: int | None, *, rgb: bool = False, extreme: bool = False) -> Image:
    """Read a plane of an image, in parts, as small as a picture.

    Parameters
    ----------
    image : array-like
        2 or 3 spatial axes, then colours if `rgb`.
    plane : int or None
        Of the first axis; None for an image with two.
    rgb : bool
        Whether the last axis holds colours; they become their luminance.
    extreme : bool
        Show the strongest value of pixels that share one of the picture,
        instead of their mean: a map must not lose its spots.
    """
    rows, columns = (int(n) for n in (image.shape[:-1] if rgb else image.shape)[-2:])
    step = max(1, -(-max(rows, columns) // SIDE))
    band = max(step, _BAND // max(1, columns) // step * step)
    pieces = []
    for start in range(0, rows, band):
        key: tuple[Any, ...] = (slice(start, min(rows, start + band)), slice(0, columns))
        if plane is not None:
            key = (slice(plane, plane + 1), *key)
        block = np.asarray(image[key]).astype(np.float64)
        if rgb:
            block = block[..., :3] @ np.array(LUMINANCE)
        pieces.append(_pooled(block.reshape(block.shape[-2:]), step, extreme=extreme))
    return np.concatenate(pieces)


def _pooled(block: Image, step: int, *, extreme: bool) -> Image:
    if step == 1:
        return block
    height, width = block.shape
    padded = np.pad(block, ((0, -height % step), (0, -width % step)), mode="edge")
    cells = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    low, high = cells.min((1, 3)), cells.max((1, 3))
    if extreme:
        return np.asarray(np.where(-low > high, low, high))
    return np.asarray(cells.mean((1, 3)))


def grey(values: Image, limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Turn values into grey, between given limits or such as suit nearly all of them."""
    low, high = limits or contrast(values)
    scaled = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    level = (255 * np.clip(scaled, 0, 1)).round().astype(np.uint8)
    return np.stack([level] * 3, -1)


def contrast(values: Image) -> tuple[float, float]:
    """Return limits between which nearly all values lie."""
    low, high = np.percentile(values, _CONTRAST)
    return float(low), float(high)


def coloured(values: Image, low: float, high: float, *, diverging: bool) -> NDArray[np.uint8]:
    """Turn the values of a map into colours."""
    stops = np.array(DIVERGING if diverging else _HEAT, float)
    share = np.clip((values - low) / (high - low), 0, 1) * (len(stops) - 1)
    channels = [np.interp(share, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def bar(*, diverging: bool) -> Picture:
    """Return the scale of colours of a map."""
    ramp = np.tile(np.linspace(0, 1, 160), (10, 1))
    return picture(coloured(ramp, 0, 1, diverging=diverging))


def picture(pixels: NDArray[np.uint8], size: Sequence[int] | None = None) -> Picture:
    """Put pixels into a page.

    Parameters
    ----------
    pixels : ndarray of uint8
        Shape (Y, X, 3).
    size : sequence of int, optional
        Height and width to enlarge to, by repeating pixels.
    """
    image = Pillow.fromarray(pixels)
    if size is not None:
        image = image.resize((size[1], size[0]), Pillow.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    address = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(address, image.width, image.height)
