"""How frames drifted, and at which fractions of a pixel they see the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_hrsr.frames.fusing import Fusion

_COLOURS = {"x": QColor("#2f9e8f"), "y": QColor("#e0852b"), "z": QColor("#7a8fd6")}
_HEIGHT = 190


class FusionPlot(QWidget):
    """Left, the shift of each frame; right, where in a pixel each frame samples the scene."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shifts: np.ndarray | None = None
        self.phases: np.ndarray | None = None
        self.setMinimumSize(260, _HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Left: how far each frame lies from the reference, in pixels; gaps are frames that "
            "were left out. Right: fractions of these shifts, as x and y within a pixel. Only "
            "points that are spread over the square add resolution."
        )
        self.hide()

    def sizeHint(self) -> QSize:
        """Return the size at which it reads well."""
        return QSize(360, _HEIGHT)

    def show_fusion(self, fusion: Fusion | None) -> None:
        """Draw what was found; nothing for None."""
        self.shifts = None if fusion is None else np.asarray(fusion.shifts)
        self.phases = None if fusion is None else np.asarray(fusion.phases.fractions)
        self.setVisible(fusion is not None)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw both panels."""
        if self.shifts is None or self.phases is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.9))
        painter.setFont(font)
        line = painter.fontMetrics().height()
        side = self.height() - 2 * line - 8
        square = QRectF(self.width() - side - 8, line + 4, side, side)
        wide = square.left() - 24 - painter.fontMetrics().horizontalAdvance("-00.0")
        drift = QRectF(8 + painter.fontMetrics().horizontalAdvance("-00.0"), line + 4, wide, side)
        self._draw_drift(painter, drift, line)
        self._draw_phases(painter, square, line)
        painter.end()

    def _pens(self) -> tuple[QColor, QPen]:
        text = self.palette().color(QPalette.ColorRole.WindowText)
        frame = QColor(text)
        frame.setAlpha(90)
        return text, QPen(frame, 1)

    def _draw_drift(self, painter: QPainter, box: QRectF, line: int) -> None:
        assert self.shifts is not None
        text, frame = self._pens()
        painter.setPen(frame)
        painter.drawRect(box)
        shown = self.shifts[np.isfinite(self.shifts).all(1)]
        low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 0.0)
        margin = max(0.05, 0.05 * (high - low))
        low, high = low - margin, high + margin
        painter.setPen(text)
        for value in (low, high):
            y = box.bottom() - (value - low) / (high - low) * box.height()
            where = QRectF(0, y - line / 2, box.left() - 4, line)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignRight), f"{value:.1f}")
        letters = "zyx"[-self.shifts.shape[1] :]
        title = QRectF(box.left(), 0, box.width(), line)
        painter.drawText(title, int(Qt.AlignmentFlag.AlignLeft), "Drift, pixels")
        below = QRectF(box.left(), box.bottom() + 2, box.width(), line)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignLeft), "frames")
        count = max(1, len(self.shifts) - 1)
        right = box.right()
        for letter, values in reversed(list(zip(letters, self.shifts.T, strict=True))):
            colour = _COLOURS[letter]
            painter.setPen(colour)
            width = painter.fontMetrics().horizontalAdvance(letter) + 8
            painter.drawText(
                QRectF(right - width, 0, width, line), int(Qt.AlignmentFlag.AlignRight), letter
            )
            right -= width
            points = [
                QPointF(
                    box.left() + number / count * box.width(),
                    box.bottom() - (float(value) - low) / (high - low) * box.height(),
                )
                for number, value in enumerate(values)
                if np.isfinite(value)
            ]
            painter.setPen(QPen(colour, 1.5))
            painter.drawPolyline(QPolygonF(points))
            painter.setBrush(colour)
            for point in points:
                painter.drawEllipse(point, 2.0, 2.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_phases(self, painter: QPainter, box: QRectF, line: int) -> None:
        assert self.phases is not None
        text, frame = self._pens()
        painter.setPen(frame)
        painter.drawRect(box)
        painter.setPen(text)
        title = QRectF(box.left() - 20, 0, box.width() + 20, line)
        painter.drawText(title, int(Qt.AlignmentFlag.AlignRight), "Phases, y / x")
        painter.setBrush(_COLOURS["x"])
        painter.setPen(Qt.PenStyle.NoPen)
        for fraction in self.phases:
            point = QPointF(
                box.left() + float(fraction[-1]) % 1 * box.width(),
                box.top() + float(fraction[-2]) % 1 * box.height(),
            )
            painter.drawEllipse(point, 3.0, 3.0)
        painter.setBrush(Qt.BrushStyle.NoBrush)
