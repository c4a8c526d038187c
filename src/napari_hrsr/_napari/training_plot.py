"""Loss and quality of a training as it goes on, drawn in the colours of the window."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

Points = list[tuple[float, float]]

_MOST = 600
_MODEL, _CUBIC, _LOSS = QColor("#2f9e8f"), QColor("#e0852b"), QColor("#7a8fd6")


class Curve:
    """Points of a line, thinned out as they become many.

    Parameters
    ----------
    most : int
        Points that are kept; what lies between them is left out evenly.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.points: Points = []
        self._most = most
        self._every, self._skipped = 1, 0

    def add(self, x: float, y: float) -> None:
        """Add a point; one that lies before the last takes the place of all after it."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        while self.points and self.points[-1][0] >= x:
            self.points.pop()
        self._skipped += 1
        if self.points and self._skipped < self._every:
            return
        self._skipped = 0
        self.points.append((x, y))
        if len(self.points) > self._most:
            self.points = self.points[::2]
            self._every *= 2


class TrainingPlot(QWidget):
    """Peak signal-to-noise ratio beside that of cubic interpolation, and the loss, by step."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.psnr, self.cubic, self.loss = Curve(), Curve(), Curve()
        self.steps = 1
        self.setMinimumSize(240, 250)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Above: similarity to the truth on images that are not learned from, in decibels; "
            "the dashed line is cubic interpolation. Below: what the training makes small."
        )

    def sizeHint(self) -> QSize:
        """Return the size at which it reads well."""
        return QSize(320, 250)

    def clear(self, steps: int) -> None:
        """Forget all points; `steps` will be the right end."""
        self.psnr, self.cubic, self.loss = Curve(), Curve(), Curve()
        self.steps = max(1, steps)
        self.update()

    def add_loss(self, step: int, loss: float) -> None:
        """Add a point to the line of the loss."""
        self.loss.add(step, loss)
        self.update()

    def add_quality(self, step: int, psnr: float, cubic: float) -> None:
        """Add a measurement, in decibels."""
        self.psnr.add(step, psnr)
        self.cubic.add(step, cubic)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw both panels."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.9))
        painter.setFont(font)
        line = painter.fontMetrics().height()
        margin = painter.fontMetrics().horizontalAdvance("0.0000") + 8
        width = self.width() - margin - 8
        height = self.height() - 3 * line - 12
        upper = QRectF(margin, line + 6, width, height * 0.6)
        lower = QRectF(margin, upper.bottom() + line + 6, width, height * 0.4 - 4)
        panel = _Panel(painter, self.palette(), self.steps)
        reference = self.cubic.points[-1][1] if self.cubic.points else None
        limits = value_limits([y for _, y in self.psnr.points + self.cubic.points])
        # Two ticks that read the same would say nothing.
        panel.frame(upper, limits, "{:.1f}" if limits[1] - limits[0] >= 0.5 else "{:.2f}")
        if reference is not None:
            panel.level(upper, limits, reference, _CUBIC)
        panel.curve(upper, limits, self.psnr.points, _MODEL, dots=len(self.psnr.points) < 40)
        gain = ""
        if self.psnr.points and reference is not None:
            gain = f" ({self.psnr.points[-1][1] - reference:+.1f})"
        panel.legend(upper, "PSNR, dB", [("model" + gain, _MODEL, False), ("cubic", _CUBIC, True)])
        limits = value_limits(_most_of([y for _, y in self.loss.points]))
        panel.frame(lower, limits, "{:.3g}")
        panel.curve(lower, limits, self.loss.points, _LOSS, dots=False)
        panel.legend(lower, "loss", [])
        panel.steps_axis(lower)
        painter.end()


def value_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of an axis that shows these values with a little room."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def _most_of(values: list[float]) -> list[float]:
    """Leave out the first steps, whose losses would flatten all others."""
    if len(values) < 10:
        return values
    limit = 3 * sorted(values)[len(values) // 2]
    return [v for v in values if v <= limit]


class _Panel:
    """Draws axes and lines into rectangles."""

    def __init__(self, painter: QPainter, palette: QPalette, steps: int) -> None:
        self._painter, self._steps = painter, steps
        self._text = palette.color(QPalette.ColorRole.WindowText)
        self._faint = QColor(self._text)
        self._faint.setAlpha(70)
        self._line = painter.fontMetrics().height()

    def frame(self, area: QRectF, limits: tuple[float, float], form: str) -> None:
        low, high = limits
        self._painter.setPen(QPen(self._faint, 1))
        self._painter.drawRect(area)
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            self._painter.setPen(QPen(self._faint, 1))
            if share == 0.5:
                self._painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            self._painter.setPen(self._text)
            where = QRectF(0, y - self._line / 2, area.left() - 5, self._line)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            self._painter.drawText(where, right, form.format(low + share * (high - low)))

    def level(
        self, area: QRectF, limits: tuple[float, float], value: float, colour: QColor
    ) -> None:
        y = self._place(area, limits, 0, value).y()
        self._painter.setPen(QPen(colour, 1.8, Qt.PenStyle.DashLine))
        self._painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))

    def curve(
        self,
        area: QRectF,
        limits: tuple[float, float],
        points: Points,
        colour: QColor,
        *,
        dots: bool,
    ) -> None:
        places = [self._place(area, limits, x, y) for x, y in points]
        self._painter.save()
        self._painter.setClipRect(area)
        self._painter.setPen(QPen(colour, 1.8))
        self._painter.drawPolyline(QPolygonF(places))
        if dots or len(places) == 1:
            self._painter.setBrush(colour)
            for place in places:
                self._painter.drawEllipse(place, 2.2, 2.2)
        self._painter.restore()

    def legend(self, area: QRectF, title: str, entries: Sequence[tuple[str, QColor, bool]]) -> None:
        metrics = self._painter.fontMetrics()
        base = area.top() - 5
        self._painter.setPen(self._text)
        self._painter.drawText(QPointF(area.left(), base), title)
        x = area.right()
        for text, colour, dashed in reversed(entries):
            x -= metrics.horizontalAdvance(text)
            self._painter.setPen(self._text)
            self._painter.drawText(QPointF(x, base), text)
            style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
            self._painter.setPen(QPen(colour, 2.2, style))
            middle = base - metrics.ascent() / 3
            self._painter.drawLine(QPointF(x - 24, middle), QPointF(x - 5, middle))
            x -= 36

    def steps_axis(self, area: QRectF) -> None:
        self._painter.setPen(self._text)
        below = QRectF(area.left(), area.bottom() + 2, area.width(), self._line)
        self._painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        self._painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "step")
        self._painter.drawText(below, Qt.AlignmentFlag.AlignRight, str(self._steps))

    def _place(self, area: QRectF, limits: tuple[float, float], x: float, y: float) -> QPointF:
        low, high = limits
        return QPointF(
            area.left() + min(1.0, x / self._steps) * area.width(),
            area.bottom() - (y - low) / (high - low) * area.height(),
        )
