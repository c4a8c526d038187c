"""A demonstration without a display: the sample, its result, and both in one picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_hrsr.api import upscale
from napari_hrsr.file_planning import Settings
from napari_hrsr.files import read_image
from napari_hrsr.samples import sample_path
from napari_hrsr.upscale_file import upscale_file

SAMPLE = "cells"

_CROP = 64
_ZOOM = 8
_GAP = 8
_LABEL = 36
_CONTRAST = (0.5, 99.8)


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What was written, and how long it took.

    Attributes
    ----------
    result : Path
        The super-resolved sample, an OME-TIFF.
    comparison : Path
        Source, cubic interpolation and result side by side, a PNG.
    record : dict
        How the result was made.
    seconds : float
        Time to make the result.
    """

    result: Path
    comparison: Path
    record: dict[str, Any]
    seconds: float


def run_demo(
    folder: Path,
    *,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Demonstration:
    """Super-resolve the sample that ships, and draw what came of it.

    Parameters
    ----------
    folder : Path
        Where to write; it is made if it does not exist, and earlier files of
        a demonstration are replaced.
    report, cancelled
        As for `upscale_file.upscale_file`.

    Raises
    ------
    HrsrError
        If a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source_path, result_path = sample_path(SAMPLE), folder / "result.ome.tif"
    started = time.perf_counter()
    record = upscale_file(
        source_path, result_path, Settings(overwrite=True), report=report, cancelled=cancelled
    )
    seconds = time.perf_counter() - started
    source = np.asarray(read_image(source_path).data)
    result = np.asarray(read_image(result_path).data)
    factor = record["factor"]
    cubic = upscale(source, "cubic-" + "x".join(map(str, factor)))
    comparison = folder / "comparison.png"
    panels = {"source": source, "cubic interpolation": cubic, f"{record['model']}": result}
    draw_comparison(panels).save(comparison)
    return Demonstration(result_path, comparison, record, seconds)


def draw_comparison(panels: dict[str, NDArray[Any]]) -> Image.Image:
    """Draw the same detail of several images side by side, in the same contrast.

    Parameters
    ----------
    panels : dict of str to ndarray
        Label and image (Y, X) of the same field of view, the coarsest first;
        the others are finer by a whole factor.

    Returns
    -------
    PIL.Image.Image
        Every pixel drawn as a square, without interpolation.
    """
    coarse = next(iter(panels.values()))
    top, left, side = interesting_crop(coarse)
    detail = coarse[top : top + side, left : left + side]
    low, high = np.percentile(detail, _CONTRAST)
    width = side * _ZOOM
    canvas = Image.new("L", (len(panels) * (width + _GAP) - _GAP, width + _LABEL), 255)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(22)
    for position, (label, image) in enumerate(panels.items()):
        k = image.shape[0] // coarse.shape[0]
        crop = image[top * k : (top + side) * k, left * k : (left + side) * k].astype(float)
        grey = np.clip((crop - low) / max(high - low, 1e-9), 0, 1) * 255
        panel = Image.fromarray(np.rint(grey).astype(np.uint8))
        x = position * (width + _GAP)
        canvas.paste(panel.resize((width, width), Image.Resampling.NEAREST), (x, _LABEL))
        draw.text((x + 4, 4), label, fill=0, font=font)
    return canvas


def interesting_crop(image: NDArray[Any], side: int = _CROP) -> tuple[int, int, int]:
    """Find the square with the most structure: where brightness changes most.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        The image.
    side : int
        Longest side of the square in pixels.

    Returns
    -------
    top, left, side : int
        Of the square.
    """
    side = min(side, *image.shape)
    down, across = np.gradient(image.astype(float))
    # Sums over every square by differences of a running sum.
    total = np.pad(np.hypot(down, across).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), side
