"""A sharp image, read lazily and normalised when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.training.resampling import read_reduced, reduced_length
from napari_hrsr.training.views import View, whole_view


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImage:
    """A sharp image; its pixels are read when they are asked for.

    Attributes
    ----------
    source : str
        What it came from; images of one source are alike. The text before
        ``__`` in the file name if there is one, else the class folder
        (``root/class/file``), else the file's name without its suffix.
    name : str
        File name, with channel, time point and plane.
    pixels : array-like
        Shape ([C,] *spatial), sliced with tuples of slices; C only where
        `channels` is more than 1.
    black, white : float
        Values that are mapped to 0 and 1.
    channels : int
        1 for grey, 3 for colours.
    bin : int
        Pixels that are averaged to one, per spatial axis.
    resize : float
        Factor by which the image is made smaller, besides `bin`.
    file : str
        The file it is part of; images of one file may share pixels. By
        default the name.
    """

    source: str
    name: str
    pixels: Any
    black: float
    white: float
    channels: int = 1
    bin: int = 1
    resize: float = 1.0
    file: str = ""

    def __post_init__(self) -> None:
        if not self.file:
            object.__setattr__(self, "file", self.name)

    @property
    def ratio(self) -> float:
        """Pixels of the file in one of the image, per axis."""
        ratio = self.bin / self.resize
        return round(ratio) if abs(ratio - round(ratio)) < 1e-6 else ratio

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, as it is read."""
        return tuple(reduced_length(n, self.ratio) for n in self._stored)

    @property
    def _stored(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)[self.channels > 1 :]

    def read(self, window: Sequence[slice]) -> np.ndarray:
        """Read a part.

        Parameters
        ----------
        window : sequence of slice
            One per spatial axis, in pixels of `shape`.

        Returns
        -------
        ndarray
            Shape ([C,] *window), float32; black at 0 and white at 1.

        Raises
        ------
        InputError
            If the file is damaged there, or holds NaN or infinite values.
        """
        window = [slice(*w.indices(n)[:2]) for w, n in zip(window, self.shape, strict=True)]
        lead = (slice(None),) * (self.channels > 1)
        block = read_reduced(
            lambda part: np.asarray(self.pixels[(*lead, *part)]), self._stored, window, self.ratio
        )
        block -= np.float32(self.black)
        block *= np.float32(1 / (self.white - self.black))
        if not np.isfinite(block.sum()):
            msg = f"{self.name} holds NaN or infinite values: replace them, or leave the image out"
            raise InputError(msg)
        return block

    def binned(self) -> Self:
        """Return the image averaged over blocks of two: less noise, sharper in its pixels."""
        return replace(self, name=f"{self.name} binned", bin=2 * self.bin)

    @property
    def view(self) -> View:
        """Where the image lies in its file."""
        return whole_view(self.pixels, self.channels)

    def stored_length(self, length: int) -> int:
        """Return how many pixels of the file `length` pixels of the image take, rounded up."""
        return int(np.ceil(length * self.ratio - 1e-9))

    def restricted(self, axis: int, start: int, stop: int) -> Self | None:
        """Return the part within a range of an axis of the file, None if there is none."""
        view = self.view.restricted(axis, start, stop)
        return None if view is None else replace(self, pixels=view)
