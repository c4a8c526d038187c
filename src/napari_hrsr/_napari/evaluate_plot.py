"""Curves of an evaluation over frequency, drawn in the colours of the window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_hrsr.evaluation.showing import Curve, Line

_HEIGHT = 190
_COLOURS = {
    "main": QColor("#2f9e8f"), "other": QColor("#e0852b"), "faint": QColor("#7a8fd6"),
    "threshold": QColor("#d0556a"),
}  # fmt: skip
_MARK = QColor("#b58be0")


class EvaluationPlot(QWidget):
    """One panel a curve, one below the other."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: list[Curve] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(260)

    def sizeHint(self) -> QSize:
        """Return the size at which it reads well."""
        return QSize(340, max(1, len(self.curves)) * _HEIGHT)

    def show_curves(self, curves: Sequence[Curve]) -> None:
        """Draw these."""
        self.curves = list(curves)
        self.setFixedHeight(max(1, len(self.curves)) * _HEIGHT)
        self.setToolTip("\n\n".join(f"{c.title}: {c.meaning}" for c in self.curves))
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw all panels."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.9))
        painter.setFont(font)
        metrics = painter.fontMetrics()
        line, left = metrics.height(), metrics.horizontalAdvance("-0.0") + 10
        if not self.curves:
            painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
            painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), "No curves")
        for number, curve in enumerate(self.curves):
            top = number * _HEIGHT
            area = QRectF(left, top + 2 * line + 6, self.width() - left - 10, _HEIGHT - 5 * line)
            self._panel(painter, curve, area, line)
        painter.end()

    def _panel(self, painter: QPainter, curve: Curve, area: QRectF, line: int) -> None:
        from napari_hrsr.evaluation.svg import ticks

        text = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(text)
        faint.setAlpha(60)
        right = max(float(part.x[-1]) for part in curve.lines)
        low = max(-1.0, min(0.0, *(float(np.nanmin(part.y)) for part in curve.lines)))

        def place(x: float, y: float) -> QPointF:
            share = (min(max(y, low), 1.0) - low) / (1.0 - low)
            return QPointF(
                area.left() + min(1.0, x / right) * area.width(),
                area.bottom() - share * area.height(),
            )

        painter.setPen(text)
        title = QRectF(area.left(), area.top() - 2 * line - 4, area.width(), line)
        painter.drawText(title, int(Qt.AlignmentFlag.AlignLeft), curve.title)
        self._legend(painter, curve, title.translated(0, line), text)
        for value in (0.0, 0.5, 1.0):
            point = place(0, value)
            painter.setPen(QPen(faint, 1))
            painter.drawLine(point, QPointF(area.right(), point.y()))
            painter.setPen(text)
            where = QRectF(0, point.y() - line / 2, area.left() - 5, line)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignRight), f"{value:g}")
        for step in ticks(right, 5):
            point = place(step, low)
            painter.setPen(QPen(faint, 1))
            painter.drawLine(point, QPointF(point.x(), area.top()))
            painter.setPen(text)
            where = QRectF(point.x() - 40, area.bottom() + 2, 80, line)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignHCenter), f"{step:g}")
        below = QRectF(area.left(), area.bottom() + line + 1, area.width(), line)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignHCenter), curve.x_label)
        painter.save()
        painter.setClipRect(area.adjusted(-1, -1, 1, 1))
        for part in curve.lines:
            painter.setPen(_pen(part))
            points = [
                place(float(x), float(y))
                for x, y in zip(part.x, part.y, strict=True)
                if math.isfinite(x) and math.isfinite(y)
            ]
            painter.drawPolyline(QPolygonF(points))
        painter.restore()
        for number, (frequency, name) in enumerate(curve.marks):
            point = place(frequency, 1.0)
            painter.setPen(QPen(_MARK, 1.4, Qt.PenStyle.DotLine))
            painter.drawLine(point, QPointF(point.x(), area.bottom()))
            painter.setPen(text)
            y, beyond = area.top() + number * line, point.x() > area.center().x()
            side = Qt.AlignmentFlag.AlignRight if beyond else Qt.AlignmentFlag.AlignLeft
            where = QRectF(point.x() - 204 if beyond else point.x() + 4, y, 200, line)
            painter.drawText(where, int(side), name)

    def _legend(self, painter: QPainter, curve: Curve, row: QRectF, text: QColor) -> None:
        metrics, x = painter.fontMetrics(), row.left()
        middle = row.center().y()
        for part in curve.lines:
            painter.setPen(_pen(part))
            painter.drawLine(QPointF(x, middle), QPointF(x + 18, middle))
            painter.setPen(text)
            width = metrics.horizontalAdvance(part.label)
            where = QRectF(x + 22, row.top(), width + 4, row.height())
            painter.drawText(where, int(Qt.AlignmentFlag.AlignVCenter), part.label)
            x += width + 36


def _pen(part: Line) -> QPen:
    style = Qt.PenStyle.DashLine if part.kind == "threshold" else Qt.PenStyle.SolidLine
    return QPen(_COLOURS[part.kind], 1.0 if part.kind == "faint" else 1.8, style)
