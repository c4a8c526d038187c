"""A coarse and a fine image of one field, in register when they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from napari_hrsr.training.registration import Registration
from napari_hrsr.training.resampling import apply_matrices, shifting_matrix
from napari_hrsr.training.training_image import TrainingImage
from napari_hrsr.training.views import View

_SNAPPED = 0.02
"""A shift this near to a whole fine pixel is taken for one, and nothing is interpolated."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedImage:
    """A coarse and a fine image of one field, registered; read when asked for.

    Attributes
    ----------
    coarse : TrainingImage
        The part that lies on the fine image.
    fine : TrainingImage
        All of the fine image, in its own units.
    scale : tuple of int
        Fine pixels in a coarse one, per axis.
    registration : Registration
        Of the whole images.
    origin : tuple of int
        First pixel of the whole coarse image in its file.
    """

    coarse: TrainingImage
    fine: TrainingImage
    scale: tuple[int, ...]
    registration: Registration
    origin: tuple[int, ...]

    @property
    def source(self) -> str:
        """What the coarse image came from; images of one source are alike."""
        return self.coarse.source

    @property
    def name(self) -> str:
        """Name of the coarse image."""
        return self.coarse.name

    @property
    def file(self) -> str:
        """The file of the coarse image."""
        return self.coarse.file

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colours."""
        return self.coarse.channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape in coarse pixels."""
        return self.coarse.shape

    @property
    def view(self) -> View:
        """Where the coarse image lies in its file."""
        return self.coarse.view

    def stored_length(self, length: int) -> int:
        """Return how many coarse pixels so many fine pixels take along any axis, rounded up."""
        return math.ceil(length / min(self.scale))

    def restricted(self, axis: int, start: int, stop: int) -> Self | None:
        """Return the part within a range of an axis of the coarse file, None if there is none."""
        coarse = self.coarse.restricted(axis, start, stop)
        return None if coarse is None else replace(self, coarse=coarse)

    def read_pair(self, window: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
        """Read a part of both images.

        The fine image is moved onto the grid of the coarse one, and takes its
        gain and offset.

        Parameters
        ----------
        window : sequence of slice
            One per spatial axis, in coarse pixels of `shape`.

        Returns
        -------
        coarse : ndarray
            Shape ([C,] *window), float32; black at 0 and white at 1.
        fine : ndarray
            Shape ([C,] *(window * scale)), float32, in the same units.

        Raises
        ------
        InputError
            If a file is damaged there.
        """
        window = [slice(*w.indices(n)[:2]) for w, n in zip(window, self.shape, strict=True)]
        starts = (here - first for here, first in zip(self.view.starts, self.origin, strict=True))
        found = self.registration
        parts: list[slice] = []
        matrices: list[np.ndarray | None] = []
        for w, start, k, t, length in zip(
            window, starts, self.scale, found.shift, self.fine.shape, strict=True
        ):
            snapped = abs(t - round(t)) < _SNAPPED
            whole = round(t) if snapped else math.floor(t)
            fraction = 0.0 if snapped else t - whole
            source, matrix = shifting_matrix(
                length, whole + (start + w.start) * k, (w.stop - w.start) * k, fraction
            )
            parts.append(source)
            matrices.append(None if snapped else matrix)
        fine = apply_matrices(self.fine.read(parts), matrices)
        fine *= np.float32(found.gain)
        fine += np.float32(found.offset)
        return self.coarse.read(window), fine
