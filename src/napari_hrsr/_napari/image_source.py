"""Choose images: layers with a tick, files, or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, FileEdit, Label
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.fitting import wrap
from napari_hrsr._napari.training_images import is_learnable

if TYPE_CHECKING:
    import napari

LAYERS, FILES, FOLDER = "Layers", "Files", "Folder"

_ROWS_SHOWN = 4


class LayerTicks(QListWidget):
    """The image layers, each with a box to tick."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers: list[Any] = []
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def follow_layers(self, tick_new: bool) -> None:
        """Follow the layer list; what is ticked stays so."""
        ticked = self.ticked()
        known = list(self._layers)
        self._layers = [
            layer for layer in self._viewer.layers if is_image(layer) and is_learnable(layer)
        ]
        blocked = self.blockSignals(True)
        self.clear()
        for layer in self._layers:
            item = QListWidgetItem(str(layer.name))
            item.setToolTip(str(layer.name))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            tick = layer in ticked or (tick_new and layer not in known)
            item.setCheckState(Qt.CheckState.Checked if tick else Qt.CheckState.Unchecked)
            self.addItem(item)
        self.blockSignals(blocked)
        rows = min(max(len(self._layers), 2), _ROWS_SHOWN)
        row = max(self.fontMetrics().height(), self.sizeHintForRow(0))
        self.setFixedHeight(rows * row + 2 * self.frameWidth() + 6)

    def ticked(self) -> list[Any]:
        """Return the layers that are ticked, in their order."""
        return [
            layer
            for row, layer in enumerate(self._layers)
            if self.item(row).checkState() == Qt.CheckState.Checked
        ]

    def tick(self, layers: Sequence[Any]) -> None:
        """Tick these layers and no others."""
        for row, layer in enumerate(self._layers):
            state = Qt.CheckState.Checked if layer in layers else Qt.CheckState.Unchecked
            self.item(row).setCheckState(state)

    def release(self) -> None:
        """Let go of the layers: the window is closing."""
        self._layers = []


class ImageSource:
    """Layers, files, or a folder, with the number of images in them.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    label : str
        What the images are for.
    tick_new : bool
        Whether new layers are ticked.

    Attributes
    ----------
    chosen : Signal()
        Something else is chosen.
    widgets : list of Widget
        To be put one below the other, with labels.
    """

    chosen = Signal()

    def __init__(self, viewer: napari.Viewer, label: str, *, tick_new: bool) -> None:
        self._tick_new = tick_new
        self._closed, self._shown = False, True
        self._worker: Any = None
        self.kind = ComboBox(
            label=label,
            choices=[LAYERS, FILES, FOLDER],
            tooltip="Layers of this window, or files: TIFF, OME-Zarr, NIfTI, PNG, JPEG. "
            "Files are read piece by piece; they need not fit in memory.",
        )
        self.ticks = LayerTicks(viewer)
        self.layers = Container(labels=False, label="")
        self.layers.margins = (0, 0, 0, 0)
        self.layers.native.layout().addWidget(self.ticks)
        self.files = FileEdit(label="Files", mode="rm", tooltip="Files of images.")
        self.folder = FileEdit(
            label="Folder", mode="d", value="", tooltip="It is searched with all folders in it."
        )
        self.count = Label(label="", value="")
        self.files.choose_btn.text = self.folder.choose_btn.text = "Choose"
        wrap(self.count)
        self.widgets = [self.kind, self.layers, self.files, self.folder, self.count]
        self.kind.changed.connect(self._on_change)
        self.files.changed.connect(self._on_change)
        self.folder.changed.connect(self._on_change)
        self.ticks.itemChanged.connect(self._on_change)
        self.follow()

    def show(self, shown: bool) -> None:
        """Show the widgets that matter, or none."""
        self._shown = shown
        self._show_what_matters()

    def follow(self) -> None:
        """Follow the layer list."""
        self.ticks.follow_layers(self._tick_new)
        self._on_change()

    def chosen_layers(self) -> list[Any]:
        """Return the ticked layers; none where files are chosen."""
        return self.ticks.ticked() if self.kind.value == LAYERS else []

    def chosen_paths(self) -> tuple[Path, ...]:
        """Return the chosen files, or the folder; none where layers are chosen."""
        if self.kind.value == FILES:
            value = self.files.value or ()
            paths = value if isinstance(value, tuple | list) else (value,)
            return tuple(Path(p).absolute() for p in paths if str(p) not in ("", "."))
        if self.kind.value == FOLDER and str(self.folder.value or "") not in ("", "."):
            return (Path(self.folder.value).absolute(),)
        return ()

    def close(self) -> None:
        """Let go of the layers and count no more."""
        self._closed = True
        self.ticks.release()
        self.chosen.disconnect()

    def _show_what_matters(self) -> None:
        kind = self.kind.value
        self.kind.visible = self.count.visible = self._shown
        self.layers.visible = self._shown and kind == LAYERS
        self.files.visible = self._shown and kind == FILES
        self.folder.visible = self._shown and kind == FOLDER

    def _on_change(self, *_: object) -> None:
        self._show_what_matters()
        paths = self.chosen_paths()
        if self.kind.value == LAYERS:
            number = len(self.chosen_layers())
            self.count.value = _many(number, "layer") + (": tick some" if not number else "")
        elif not paths:
            self.count.value = "nothing chosen yet"
        else:
            self.count.value = "counting images"
            self._count(paths)
        self.chosen.emit()

    def _count(self, paths: tuple[Path, ...]) -> None:
        # A folder can hold many thousands of files, on a slow disk.
        self._worker = create_worker(_count_images, paths, _start_thread=False)
        self._worker.returned.connect(self._on_count)
        self._worker.errored.connect(lambda error: None)
        self._worker.start()

    def _on_count(self, counted: tuple[tuple[Path, ...], int, int]) -> None:
        paths, found, left_out = counted
        if self._closed or paths != self.chosen_paths():
            return
        text = _many(found, "image")
        self.count.value = text + (f", {left_out} of no known kind" if left_out else "")


def _count_images(paths: tuple[Path, ...]) -> tuple[tuple[Path, ...], int, int]:
    from napari_hrsr.training.finding import find_images

    found, left_out = find_images(paths)
    return paths, len(found), len(left_out)


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
