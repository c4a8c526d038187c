"""The two planes across the slices, interpolated beside restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QRect, QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QPalette, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_hrsr._napari.comparison_view import to_image
from napari_hrsr._napari.isotropic_run import FIRST, Plane, Preview

_GAP = 6


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How a layer's values are shown.

    Attributes
    ----------
    colours : ndarray of uint8, shape (256, 3)
        From the lower to the upper contrast limit.
    low, high, gamma : float
        Contrast limits and gamma.
    """

    colours: np.ndarray
    low: float
    high: float
    gamma: float

    def paint(self, values: np.ndarray) -> np.ndarray:
        """Return values as colours, uint8, shape (Y, X, 3)."""
        shares = np.clip((values - self.low) / max(self.high - self.low, 1e-12), 0, 1)
        return self.colours[np.rint(255 * shares**self.gamma).astype(np.uint8)]


def layer_look(layer: Any) -> Look:
    """Return how an image layer shows its values now."""
    colours = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))[:, :3]
    low, high = (float(limit) for limit in layer.contrast_limits)
    return Look(np.rint(255 * colours).astype(np.uint8), low, high, float(layer.gamma))


class PlanesView(QWidget):
    """Two planes, one below the other, each interpolated and restored."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preview: Preview | None = None
        self._images: list[tuple[QImage, QImage]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(240)
        self.setToolTip(
            "The two planes across the slices that meet where you looked when the run was "
            "started: interpolated, and restored by what is learned so far. A wider window "
            "shows more of them."
        )

    def show_preview(self, preview: Preview | None, look: Look | None = None) -> None:
        """Show the latest planes; none to clear."""
        self.preview, self._images = preview, []
        if preview is not None and look is not None:
            self._images = [
                (to_image(look.paint(plane.interpolated)), to_image(look.paint(plane.restored)))
                for plane in preview.planes
            ]
        self._fit_height()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the width at which it reads well, and the height that goes with it."""
        width = max(self.width(), self.minimumWidth())
        heights = [shown_part(p, self._column(width))[1] for p in self._planes()]
        return QSize(width, sum(height + self._caption() + _GAP for height in heights))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Let the height follow from the width."""
        if event is not None and event.oldSize().width() != event.size().width():
            self._fit_height()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw pictures and captions."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        width, caption, top = self._column(self.width()), self._caption(), 0
        first = self.preview is not None and self.preview.state == FIRST
        second = "not restored yet" if first else "restored"
        for plane, images in zip(self._planes(), self._images, strict=True):
            part, height = shown_part(plane, width)
            for column, (image, words) in enumerate(
                zip(images, (f"{plane.title} interpolated", f"{plane.title} {second}"), strict=True)
            ):
                left = column * (width + _GAP)
                painter.drawText(
                    QRect(left, top, width, caption), Qt.AlignmentFlag.AlignHCenter, words
                )
                # Pixels stay squares: smoothing would hide what was restored.
                painter.drawImage(QRectF(left, top + caption, width, height), image, part)
            top += height + caption + _GAP
        painter.end()

    def _planes(self) -> Sequence[Plane]:
        return () if self.preview is None else self.preview.planes

    def _fit_height(self) -> None:
        self.setFixedHeight(max(1, self.sizeHint().height()))

    def _column(self, width: int) -> int:
        return max(1, (width - _GAP) // 2)

    def _caption(self) -> int:
        return self.fontMetrics().height() + 3


def shown_part(plane: Plane, width: int) -> tuple[QRectF, int]:
    """Choose what of a plane fits in a picture: whole, or the part that is looked at.

    Parameters
    ----------
    plane : Plane
        The plane.
    width : int
        Of the picture, on the screen.

    Returns
    -------
    part : QRectF
        In pixels of the plane. Its proportions are the world's, and its pixels
        are no smaller than those of the screen: detail is what matters here.
    height : int
        Of the picture, no more than its width.
    """
    rows, columns = plane.restored.shape
    zoom = max(width / (columns * plane.sizes[1]), 1 / min(plane.sizes))
    wide = min(float(columns), width / (zoom * plane.sizes[1]))
    tall = min(float(rows), width / (zoom * plane.sizes[0]))
    top = min(max(0.0, plane.focus[0] * rows - tall / 2), rows - tall)
    left = min(max(0.0, plane.focus[1] * columns - wide / 2), columns - wide)
    return QRectF(left, top, wide, tall), max(1, round(tall * plane.sizes[0] * zoom))
