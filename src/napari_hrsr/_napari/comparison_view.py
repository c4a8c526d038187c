"""Source, cubic interpolation, model and truth of a validation image, side by side."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QPalette
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
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
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
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Tell that the height follows from the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of two rows of pictures and captions."""
        ratio = 1.0
        if self.pictures is not None:
            rows, columns = self.pictures.truth.shape[:2]
            ratio = rows / columns
        return 2 * (round((width - _GAP) / 2 * ratio) + self._caption() + _GAP)

    def sizeHint(self) -> QSize:
        """Return the size at which it reads well."""
        return QSize(320, self.heightForWidth(320))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw pictures and captions."""
        painter = QPainter(self)
        caption = self._caption()
        width = (self.width() - _GAP) // 2
        height = self.heightForWidth(self.width()) // 2 - caption - _GAP
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
