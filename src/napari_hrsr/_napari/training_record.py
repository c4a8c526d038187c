"""What the window shows of a run folder: measurements, and pictures of a validation image.

Only numpy and the standard library: nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.training.events import Measured

CROP = 96
"""Longest side of the part of a validation image that is shown, in sharp pixels."""

KINDS = ("source", "cubic", "model", "truth")


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """A part of a validation image, as it was recorded, interpolated, learned, and as it is.

    Attributes
    ----------
    step : int
        Steps done by then.
    source, cubic, model, truth : ndarray
        Shape (Y, X) or (Y, X, 3), uint8; the first has fewer pixels for the same field.
    """

    step: int
    source: np.ndarray
    cubic: np.ndarray
    model: np.ndarray
    truth: np.ndarray


def read_comparison(folder: Path) -> dict[str, np.ndarray] | None:
    """Read the latest comparison on a validation image.

    Parameters
    ----------
    folder : Path
        Of the run.

    Returns
    -------
    dict or None
        ``source``, ``cubic``, ``model``, ``truth``, shape ([3,] *spatial),
        float32, and ``step``; None where there is none yet.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        # Read at once: the next one takes its place while this one is looked at.
        content = io.BytesIO((folder / "preview.npz").read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (*KINDS, "step")}
    return None


def read_pictures(folder: Path, *, colour: bool) -> Pictures | None:
    """Read the most telling part of the latest comparison.

    Parameters
    ----------
    folder : Path
        Of the run.
    colour : bool
        Whether the images' first axis holds colours.
    """
    arrays = read_comparison(folder)
    if arrays is None:
        return None
    planes = [_plane(arrays[name], colour=colour) for name in KINDS]
    cropped = crop_alike(planes)
    return Pictures(int(arrays["step"]), *(_to_bytes(plane) for plane in cropped))


def read_run(folder: Path) -> tuple[str, bool]:
    """Read the name of a run's model, and whether it learns colours together."""
    values: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        values = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    return str(values.get("model", {}).get("name", folder.name)), values.get("channels") == 3


def read_measurements(folder: Path, most: int) -> Iterator[Measured]:
    """Read what was measured up to a step."""
    try:
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return
    for row in rows:
        with contextlib.suppress(ValueError, KeyError):
            values = {name: float(text) for name, text in row.items() if text}
            step = int(values.pop("step"))
            if step <= most:
                yield Measured(step, values)


def crop_alike(planes: list[np.ndarray]) -> list[np.ndarray]:
    """Cut the part where truth and interpolation differ most: there is something to learn.

    Parameters
    ----------
    planes : list of ndarray
        Source, cubic, model and truth, shape (Y, X) or (Y, X, 3).

    Returns
    -------
    list of ndarray
        The same field of each, at most `CROP` sharp pixels long.
    """
    source, cubic, _, truth = planes
    error = (cubic - truth) ** 2
    error = error.sum(-1) if error.ndim == 3 else error
    factor = [n // m for n, m in zip(truth.shape[:2], source.shape[:2], strict=True)]
    sides = [min(CROP // k * k, n) for n, k in zip(error.shape, factor, strict=True)]
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    rows, columns = (
        np.arange(0, n - side + 1, k) for n, side, k in zip(error.shape, sides, factor, strict=True)
    )
    height, width = sides
    summed = (
        total[np.ix_(rows + height, columns + width)]
        - total[np.ix_(rows, columns + width)]
        - total[np.ix_(rows + height, columns)]
        + total[np.ix_(rows, columns)]
    )
    best = np.unravel_index(int(summed.argmax()), summed.shape)
    start = [int(rows[best[0]]), int(columns[best[1]])]
    cropped = []
    for plane in planes:
        ratio = [n / m for n, m in zip(truth.shape[:2], plane.shape[:2], strict=True)]
        window = tuple(
            slice(round(s / r), round((s + side) / r))
            for s, side, r in zip(start, sides, ratio, strict=True)
        )
        cropped.append(plane[window])
    return cropped


def _plane(image: np.ndarray, *, colour: bool) -> np.ndarray:
    image = np.moveaxis(image, 0, -1) if colour else image
    volume = image.ndim - colour == 3
    return image[len(image) // 2] if volume else image


def _to_bytes(plane: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((np.clip(plane, 0, 1) * 255 + 0.5).astype(np.uint8))
