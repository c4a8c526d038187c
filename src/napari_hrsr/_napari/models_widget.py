"""The widget "Models": what is installed; add, remove, choose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_hrsr._napari.graphics import keep_second_llvm_out
from napari_hrsr._napari.model_adding import Added, Adding, ModelAdder, Question, Refused
from napari_hrsr._napari.model_list import model_card, model_list
from napari_hrsr._napari.model_table import ModelTable
from napari_hrsr._napari.trust_dialog import TrustDialog
from napari_hrsr.errors import HrsrError
from napari_hrsr.models.catalog import list_models
from napari_hrsr.models.describing import describe_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import set_default, user_models

if TYPE_CHECKING:
    import napari


_ROOM = 700
"""Pixels from which on the details have a place beside the table."""


class Models(QWidget):
    """List the installed models; add files to them, remove some, choose the default.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where a model is to be used.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        # Before networks of others are imported: by now the window is there.
        keep_second_llvm_out()
        super().__init__()
        self._viewer = napari_viewer
        self.adder = ModelAdder()
        self.dialog: TrustDialog | None = None
        self._build()
        self._connect()
        self.refresh()

    def _build(self) -> None:
        self.table = ModelTable()
        self.details = QTextBrowser()
        self.details.setOpenExternalLinks(True)
        self.formulas = QCheckBox("Show interpolation")
        self.add_button = _button("Add file...", "A network of yours or somebody else's.")
        self.folder_button = _button("Add folder...", "All networks in a folder.")
        self.use_button = _button("Use", "Open Super-resolution with this model.")
        self.default_button = _button(
            "Set as default", "Use it where no model is named, for images of its axes."
        )
        self.remove_button = _button("Remove...", "Delete a model that was added or trained.")
        self.cancel_button = _button("Cancel", "Stop; what was added stays.")
        self.bar = QProgressBar()
        self.status = QLabel("Drop files of networks onto the table to add them.")
        self.status.setWordWrap(True)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.addWidget(self.table)
        self._split.addWidget(self.details)
        self._split.setStretchFactor(0, 3)
        self._split.setStretchFactor(1, 2)
        layout = QVBoxLayout(self)
        layout.addWidget(self._split, 1)
        layout.addLayout(_row(self.add_button, self.folder_button, self.formulas))
        layout.addLayout(_row(self.use_button, self.default_button, self.remove_button))
        layout.addLayout(_row(self.bar, self.cancel_button))
        layout.addWidget(self.status)
        self._show_busy(busy=False)

    def _connect(self) -> None:
        self.table.dropped.connect(self.add)
        self.table.itemSelectionChanged.connect(self._show_chosen)
        self.formulas.toggled.connect(self.refresh)
        self.add_button.clicked.connect(self.ask_files)
        self.folder_button.clicked.connect(self.ask_folder)
        self.use_button.clicked.connect(self.use)
        self.default_button.clicked.connect(self.make_default)
        self.remove_button.clicked.connect(self.remove)
        self.cancel_button.clicked.connect(self.adder.cancel)
        self.adder.told.connect(self._on_event)
        self.adder.ended.connect(self._on_end)
        refresh = self.refresh
        model_list.changed.connect(refresh)
        self.destroyed.connect(self.adder.close)
        # The list outlives the window. A method of this widget would not be called by now.
        self.destroyed.connect(lambda *_: model_list.changed.disconnect(refresh))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put the details beside the table where there is room for both, else below it."""
        wide = self.width() >= _ROOM
        self._split.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        super().resizeEvent(event)

    def refresh(self, *_: object) -> None:
        """Read the list of models again."""
        specs = [s for s in list_models() if s.weights is not None or self.formulas.isChecked()]
        chosen = self.table.chosen
        self.table.show_models(specs, "" if chosen is None else chosen.name)

    def add(self, paths: list[Path]) -> bool:
        """Add files and folders in the background; returns whether it was begun."""
        started = self.adder.start(paths)
        if started:
            self._show_busy(busy=True)
        return started

    def ask_files(self) -> None:
        """Ask for files, and add them."""
        from napari_hrsr.models.foreign.loading import SUFFIXES
        from napari_hrsr.models.foreign.opening import PROGRAM_SUFFIXES

        kinds = " ".join(f"*{suffix}" for suffix in (*SUFFIXES, *PROGRAM_SUFFIXES))
        texts, _ = QFileDialog.getOpenFileNames(
            self, "Add networks", "", f"Networks ({kinds});;All files (*)"
        )
        self.add([Path(text) for text in texts])

    def ask_folder(self) -> None:
        """Ask for a folder, and add what it holds."""
        text = QFileDialog.getExistingDirectory(self, "Add all networks in a folder")
        if text:
            self.add([Path(text)])

    def use(self) -> None:
        """Open the Super-resolution widget with the chosen model."""
        from napari_hrsr._napari.training_results import open_model

        if self.table.chosen is not None:
            open_model(self._viewer, self.table.chosen)

    def make_default(self) -> None:
        """Use the chosen model where none is named."""
        spec = self.table.chosen
        if spec is None or not self._tried(lambda: set_default(spec)):
            return
        model_list.changed.emit()
        self.status.setText(f"{spec.name} is used for {spec.ndim}D where no model is named.")

    def remove(self) -> None:
        """Delete the chosen model, if the user says so."""
        from napari_hrsr.models.installing import remove_model

        spec = self.table.chosen
        if spec is None or not self.ask_remove(spec):
            return
        if self._tried(lambda: remove_model(spec.name)):
            model_list.changed.emit()
            self.status.setText(f"{spec.name} was removed.")

    def ask_remove(self, spec: ModelSpec) -> bool:
        """Ask whether to delete a model."""
        answer = QMessageBox.question(
            self, "Remove", f"Delete the model {spec.name} from this computer?"
        )
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _tried(self, do: Any) -> bool:
        try:
            do()
        except HrsrError as error:
            show_error(str(error))
            return False
        return True

    def _show_chosen(self) -> None:
        spec = self.table.chosen
        own = spec is not None and spec.name in {own.name for own in user_models()}
        self.remove_button.setEnabled(own)
        self.default_button.setEnabled(spec is not None)
        self.use_button.setEnabled(spec is not None)
        if spec is None:
            self.details.clear()
            return
        facts = "\n\n".join(f"**{label}:** {text}" for label, text in describe_model(spec))
        card = model_card(spec)
        self.details.setMarkdown(f"{facts}\n\n---\n\n{card}" if card else facts)

    def _on_event(self, event: object) -> None:
        match event:
            case Adding(done, total, name):
                # One file is as long as it takes: the bar only moves from file to file.
                self.bar.setRange(0, total if total > 1 else 0)
                self.bar.setValue(done)
                self.status.setText(f"Checking and measuring {name}")
            case Added(names):
                self.table.setCurrentCell(-1, -1)
                model_list.changed.emit()
                if names and names[-1] in self.table.names:
                    self.table.setCurrentCell(self.table.names.index(names[-1]), 0)
            case Refused(message):
                show_error(message)
            case Question():
                self.dialog = TrustDialog(event.request, event.answer, self)
                self.dialog.finished.connect(self._drop_dialog)
                self.dialog.open()

    def _drop_dialog(self, _: int) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None

    def _on_end(self, text: str) -> None:
        if self.dialog is not None:
            # Cancelled while it was open.
            self.dialog.close()
        self._show_busy(busy=False)
        self.status.setText(text)

    def _show_busy(self, *, busy: bool) -> None:
        self.bar.setVisible(busy)
        self.cancel_button.setVisible(busy)
        self.add_button.setEnabled(not busy)
        self.folder_button.setEnabled(not busy)


def _button(text: str, hint: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(hint)
    return button


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
