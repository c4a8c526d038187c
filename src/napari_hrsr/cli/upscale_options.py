"""What the options of ``napari-hrsr upscale`` may say."""

from __future__ import annotations

import enum

import typer


class Per(enum.StrEnum):
    """What shares one measurement of range and noise."""

    channel = "channel"
    image = "image"
    frame = "frame"


class Sampling(enum.StrEnum):
    """What a pixel of the source collects."""

    area = "area"
    bicubic = "bicubic"
    point = "point"


def parse_sigma(text: str) -> tuple[float, ...]:
    """Read the width of a blur: one number, or one per axis."""
    try:
        widths = tuple(float(width) for width in text.split(","))
    except ValueError:
        widths = (-1.0,)
    if len(widths) > 3 or not all(0 <= width < float("inf") for width in widths):
        msg = f"{text!r} is not one number from 0 up, or one per axis such as 0.8,0.5,0.5"
        raise typer.BadParameter(msg)
    return widths


def parse_tile(text: str) -> tuple[int, ...] | int:
    """Read the sides of a tile: one number, or one per axis."""
    try:
        sides = tuple(int(side) for side in text.split(","))
    except ValueError:
        sides = (0,)
    if len(sides) > 3 or min(sides) < 1:
        msg = f"{text!r} is not one positive whole number, or one per axis such as 32,128,128"
        raise typer.BadParameter(msg)
    return sides[0] if len(sides) == 1 else sides


def parse_noise(text: str) -> float | None:
    """Read a level of noise; None to measure it."""
    if text == "auto":
        return None
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not 0 <= level < float("inf"):
        msg = f"{text!r} is neither 'auto' nor a number from 0 up"
        raise typer.BadParameter(msg)
    return level


def parse_dtype(text: str) -> str:
    """Read a data type of pixels."""
    import numpy as np

    try:
        dtype = np.dtype(text)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "iuf":
        msg = f"{text!r} is no type of pixels such as uint8, uint16 or float32"
        raise typer.BadParameter(msg)
    return dtype.name
