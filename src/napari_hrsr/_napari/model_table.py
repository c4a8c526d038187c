"""A table of models, onto which files can be dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_hrsr._napari.model_list import COLUMNS, HINTS, model_row
from napari_hrsr.models.spec import ModelSpec


class ModelTable(QTableWidget):
    """Models, one a row.

    Attributes
    ----------
    dropped : Signal(list of Path)
        Files or folders were dropped.
    """

    dropped = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for column, hint in enumerate(HINTS):
            self.horizontalHeaderItem(column).setToolTip(hint)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.setAcceptDrops(True)
        self._specs: list[ModelSpec] = []

    @property
    def chosen(self) -> ModelSpec | None:
        """The model whose row is selected."""
        row = self.currentRow()
        return self._specs[row] if 0 <= row < len(self._specs) else None

    @property
    def names(self) -> list[str]:
        """The models, from the top."""
        return [spec.name for spec in self._specs]

    def show_models(self, specs: Sequence[ModelSpec], chosen: str = "") -> None:
        """Fill the table and select a model by name, or the first."""
        self._specs = list(specs)
        self.blockSignals(True)
        self.setRowCount(len(specs))
        for row, spec in enumerate(specs):
            for column, text in enumerate(model_row(spec)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.setItem(row, column, item)
        self.blockSignals(False)
        names = self.names
        self.setCurrentCell(names.index(chosen) if chosen in names else 0, 0)
        self.itemSelectionChanged.emit()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take files of this computer."""
        self._offer(event)

    def dragMoveEvent(self, event: QDragMoveEvent | None) -> None:
        """Take files of this computer, wherever on the table."""
        self._offer(event)

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Tell which files were dropped."""
        paths = _files(event)
        if event is not None and paths:
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.dropped.emit(paths)

    def _offer(self, event: QDropEvent | None) -> None:
        if event is not None and _files(event):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()


def _files(event: QDropEvent | None) -> list[Path]:
    """Return the local files that are being dragged."""
    data = None if event is None else event.mimeData()
    if data is None:
        return []
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
