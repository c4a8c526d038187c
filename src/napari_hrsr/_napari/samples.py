"""File > Open Sample > napari-hrsr."""

from __future__ import annotations

from typing import Any

from napari_hrsr.samples import SAMPLES, read_sample

_CONTRAST = {"cells": (110, 450), "volume": (0, 180)}


def cells() -> list[tuple[Any, dict[str, Any], str]]:
    """Open the 2D sample: the microtubules of cells."""
    return [_layer("cells")]


def volume() -> list[tuple[Any, dict[str, Any], str]]:
    """Open the 3D sample: the cell walls of a plant embryo."""
    return [_layer("volume")]


def _layer(name: str) -> tuple[Any, dict[str, Any], str]:
    sample = SAMPLES[name]
    attributes = {
        "name": sample.title,
        "scale": sample.scale,
        "units": (sample.units,) * len(sample.axes),
        "axis_labels": tuple(sample.axes.lower()),
        "contrast_limits": _CONTRAST[name],
        "rgb": False,
        "metadata": {
            "title": sample.title,
            "licence": sample.licence,
            "attribution": sample.attribution,
            "source": sample.source,
        },
    }
    return read_sample(name), attributes, "image"
