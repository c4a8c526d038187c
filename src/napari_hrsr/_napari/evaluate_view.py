"""What an evaluation found: sentences, a table and curves, one tab each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHeaderView,
    QLabel,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QWidget,
)

from napari_hrsr._napari.evaluate_plot import EvaluationPlot

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluated import Evaluation

_HEIGHT = 330


class EvaluationView(QTabWidget):
    """Shows an evaluation."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        # Names of layers are text, whatever they look like.
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        self.summary.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.summary.setMargin(6)
        self.table = QTableWidget()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().hide()
        self.table.setWordWrap(True)
        self.table.setShowGrid(False)
        self.plot = EvaluationPlot()
        for title, inside in (("In short", self.summary), ("Curves", self.plot)):
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setWidget(inside)
            self.addTab(area, title)
        self.insertTab(1, self.table, "Figures")
        self.setMinimumHeight(_HEIGHT)
        self.hide()

    def show_evaluation(self, found: Evaluation | None) -> None:
        """Show what was found; nothing for None."""
        self.setVisible(found is not None)
        if found is None:
            return
        from napari_hrsr.evaluation.verdicts import LIMITS

        lines = [f"\N{BULLET} {sentence}" for sentence in found.verdicts()]
        lines += [*found.remarks, *(f"Left out: {note}" for note in found.notes), LIMITS]
        self.summary.setText("\n\n".join(lines))
        self._fill(found)
        self.plot.show_curves(found.curves())
        self.setCurrentIndex(0)

    def _fill(self, found: Evaluation) -> None:
        compared = found.reference.rows() if found.reference else [["", ""]]
        columns = len(compared[0])
        lines = [(row, "") for row in compared[1:]]
        lines += [
            ([row.label, row.value, *[""] * (columns - 2)], row.meaning) for row in found.rows()
        ]
        self.table.clear()
        self.table.setColumnCount(columns)
        self.table.setRowCount(len(lines))
        # The result's own figures stand in the column of the result.
        self.table.setHorizontalHeaderLabels(["", "result", *compared[0][2:]])
        for number, (cells, meaning) in enumerate(lines):
            for column, cell in enumerate(cells):
                item = QTableWidgetItem(cell)
                item.setToolTip(meaning)
                self.table.setItem(number, column, item)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        rows = self.table.verticalHeader()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
