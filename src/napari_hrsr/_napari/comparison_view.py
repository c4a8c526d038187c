"""Source, cubic interpolation, model and truth of a validation image, side by side."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QPalette, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_hrsr._napari.training_record import KINDS, Pictures

_CAPTIONS = {
    "source": "source",
    "cubic": "cubic interpolation",
    "model": "model",
    "truth": "truth",
}
_GAP = 6


class ComparisonView(QWidget):
    """Four pictures of the same field, two by two, each under its caption."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pictures: Pictures | None = None
        self._images: dict[str, QImage] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(240)
        self.setToolTip(
            "A part of an image that is not learned from: as it was recorded in low resolution, "
            "interpolated, made by the model so far, and as it really is."
        )

    def show_pictures(self, pictures: Pictures | None) -> None:
        """Show the latest pictures; none to clear."""
        self.pictures = pictures
        self._images = {}
        if pictures is not None:
            self._images = {kind: to_image(getattr(pictures, kind)) for kind in KINDS}
        self._fit_height()
        self.update()

    def sizeHint(self) -> QSize:
        """Return the width at which it reads well, and the height of two rows for it."""
        width = max(self.width(), self.minimumWidth())
        return QSize(width, 2 * (self._height(width) + self._caption() + _GAP))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Let the height follow from the width."""
        if event is not None and event.oldSize().width() != event.size().width():
            self._fit_height()

    def _fit_height(self) -> None:
        self.setFixedHeight(self.sizeHint().height())

    def _height(self, width: int) -> int:
        """Return the height of one picture."""
        ratio = 1.0
        if self.pictures is not None:
            rows, columns = self.pictures.truth.shape[:2]
            ratio = rows / columns
        return round((width - _GAP) / 2 * ratio)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw pictures and captions."""
        painter = QPainter(self)
        caption = self._caption()
        width = (self.width() - _GAP) // 2
        height = self._height(self.width())
        text = self.palette().color(QPalette.ColorRole.WindowText)
        for number, kind in enumerate(KINDS):
            left = (number % 2) * (width + _GAP)
            top = (number // 2) * (height + caption + _GAP)
            painter.setPen(text)
            words = QRect(left, top, width, caption)
            painter.drawText(words, Qt.AlignmentFlag.AlignHCenter, _CAPTIONS[kind])
            if kind not in self._images:
                continue
            # Pixels stay squares: smoothing would hide what was measured.
            painter.drawImage(QRect(left, top + caption, width, height), self._images[kind])
        painter.end()

    def _caption(self) -> int:
        return self.fontMetrics().height() + 3


def to_image(pixels: np.ndarray) -> QImage:
    """Return pixels, uint8, shape (Y, X) or (Y, X, 3), as a picture that owns its memory."""
    height, width = pixels.shape[:2]
    colour = pixels.ndim == 3
    form = QImage.Format.Format_RGB888 if colour else QImage.Format.Format_Grayscale8
    row = width * (3 if colour else 1)
    return QImage(pixels.tobytes(), width, height, row, form).copy()
