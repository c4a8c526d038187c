"""The folder that a training run writes, and what is read from it again."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from napari_hrsr.errors import InputError
from napari_hrsr.files.partial import check_folder, partial_file
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.config_file import read_config, write_config
from napari_hrsr.training.validation import Comparison

_LARGEST_PICTURE = 384
"""Longest side of a picture in a preview, in pixels."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where each thing of a training run is.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Settings, ready to be run again."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One row for each measurement."""
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        """Everything that is needed to go on."""
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        """The trained network with its facts."""
        return self.path / "model.safetensors"

    @property
    def card(self) -> Path:
        """What there is to know of the model, for people."""
        return self.path / "model.md"

    @property
    def previews(self) -> Path:
        """Pictures of a validation image, one for each measurement."""
        return self.path / "previews"

    @property
    def preview(self) -> Path:
        """The latest of them, as numbers."""
        return self.path / "preview.npz"

    @property
    def log(self) -> Path:
        """What happened, line by line."""
        return self.path / "log.txt"

    def create(self, config: TrainingConfig) -> None:
        """Make the folder and write the settings into it.

        Raises
        ------
        InputError
            If it holds a run already.
        OutputError
            If it cannot be made or written to.
        """
        if self.config.exists():
            msg = f"{self.path} holds a training run already: resume it, or choose another folder"
            raise InputError(msg)
        try:
            self.previews.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot make the folder {self.path}: {error.strerror or error}"
            raise InputError(msg) from None
        check_folder(self.path)
        write_config(config, self.config)

    def read(self) -> TrainingConfig:
        """Return the settings of the run.

        Raises
        ------
        InputError
            If the folder holds no run.
        """
        if not self.config.exists():
            msg = f"{self.path} holds no training run: there is no {self.config.name} in it"
            raise InputError(msg)
        return read_config(self.config)

    def add_row(self, values: dict[str, float]) -> None:
        """Append a measurement to the table."""
        self._write_rows([*self.rows(), {k: _short(v) for k, v in values.items()}])

    def _write_rows(self, rows: list[dict[str, str]]) -> None:
        """Replace the table at once: a run that is killed here loses no row."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, names, restval="")
        table.writeheader()
        table.writerows(rows)
        content = text.getvalue().encode()
        with partial_file(self.metrics, len(content)) as file:
            file.write(content)

    def rows(self) -> list[dict[str, str]]:
        """Return the measurements so far."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def forget_rows_after(self, step: int) -> None:
        """Drop what was measured after the step that a run goes on from."""
        rows = self.rows()
        kept = [row for row in rows if int(float(row["step"])) <= step]
        if len(kept) < len(rows):
            self._write_rows(kept)

    def add_log(self, text: str) -> None:
        """Append a line."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def write_preview(self, shown: Comparison, step: int) -> None:
        """Write a comparison as a picture and, replacing the one before, as numbers."""
        picture = Image.fromarray(preview_picture(shown))
        picture.save(self.previews / f"step-{step:06d}.png")
        with partial_file(self.preview, 4 * shown.truth.nbytes) as file:
            np.savez(
                file,
                source=shown.source,
                cubic=shown.cubic,
                model=shown.model,
                truth=shown.truth,
                step=np.asarray(step),
            )


def _short(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def preview_picture(shown: Comparison) -> np.ndarray:
    """Return source, cubic interpolation, model and truth side by side.

    Parameters
    ----------
    shown : Comparison
        Volumes are shown by their middle plane.

    Returns
    -------
    ndarray
        Shape (Y, X) or (Y, X, 3), uint8.
    """
    images = (shown.source, shown.cubic, shown.model, shown.truth)
    planes = [_plane(image, colour=shown.colour) for image in images]
    height, width = planes[-1].shape[:2]
    step = max(1, -(-max(height, width) // _LARGEST_PICTURE))
    shape = (height, width)
    pictures = []
    for plane in planes:
        rows, columns = (np.arange(n) * m // n for n, m in zip(shape, plane.shape[:2], strict=True))
        pictures.append(plane[rows][:, columns][::step, ::step])
    gap = np.full((pictures[0].shape[0], 4, *pictures[0].shape[2:]), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)


def _plane(image: np.ndarray, *, colour: bool) -> np.ndarray:
    if colour:
        image = np.moveaxis(image, 0, -1)
    volume = image.ndim - colour == 3
    plane = image[len(image) // 2] if volume else image
    picture: np.ndarray = (np.clip(plane, 0, 1) * 255 + 0.5).astype(np.uint8)
    return picture
