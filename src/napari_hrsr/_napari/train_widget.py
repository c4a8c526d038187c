"""The widget "Train": from images to a model of one's own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, Container, PushButton
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.train_setup import TrainSetup
from napari_hrsr._napari.training_controller import TrainingController
from napari_hrsr._napari.training_images import PREVIEW_KEY
from napari_hrsr._napari.training_names import run_root
from napari_hrsr._napari.training_process import Order, Outcome
from napari_hrsr._napari.training_progress import TrainingProgress
from napari_hrsr._napari.training_record import KINDS, read_comparison, read_run
from napari_hrsr.errors import HrsrError
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import install_model
from napari_hrsr.training.events import Measured, Started

if TYPE_CHECKING:
    import napari


class Train(Container):
    """Train a model on images of your own, watch it improve, and use it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=False, scrollable=True)
        self._viewer = napari_viewer
        self._folder: Path | None = None
        self._unfinished: Path | None = None
        self._left_out = 0
        self._warned = ""
        self.controller = TrainingController()
        self._build()
        self._connect()
        self.native.destroyed.connect(self._close)
        # torch takes seconds to import: let them pass while the user chooses.
        threading.Thread(target=_import_engine, daemon=True).start()

    @property
    def native(self) -> QWidget:
        """The widget that is docked: the one that scrolls."""
        return self.root_native_widget

    def _build(self) -> None:
        self.show_setup = CheckBox(
            text="Settings", value=True, tooltip="Show or hide what is to be trained."
        )
        self.setup = TrainSetup(self._viewer)
        self.start_button = PushButton(
            text="Start", tooltip="Train in the background; the window stays usable."
        )
        self.stop_button = PushButton(
            text="Stop", enabled=False, tooltip="What is learned so far is kept."
        )
        self.resume_button = PushButton(
            text="Resume",
            tooltip="Go on with the run that was stopped; ask for a run folder if none was.",
        )
        self.buttons = Container(
            widgets=[self.start_button, self.stop_button, self.resume_button],
            layout="horizontal",
            labels=False,
        )
        self.buttons.margins = (0, 0, 0, 0)
        self.progress = TrainingProgress()
        self.use_button = PushButton(
            text="Use this model",
            enabled=False,
            tooltip="Install the model as it is now, and open Super-resolution with it.",
        )
        self.show_button = PushButton(
            text="Show in viewer",
            enabled=False,
            tooltip="Add the validation image to the layers: source, cubic, model and truth.",
        )
        self.results = Container(
            widgets=[self.use_button, self.show_button], layout="horizontal", labels=False
        )
        self.results.margins = (0, 0, 0, 0)
        self.extend([self.show_setup, self.setup, self.buttons, self.progress, self.results])

        self.native.widget().layout().addStretch(1)
        self._fit_width()

    def _fit_width(self) -> None:
        """Never cut off what is shown: this scrolls up and down only."""
        inner, bar = self.native.widget(), self.native.verticalScrollBar()
        inner.layout().activate()
        width = inner.minimumSizeHint().width() + bar.sizeHint().width()
        self.native.setMinimumWidth(width)

    def _connect(self) -> None:
        self.show_setup.changed.connect(self._show_setup)
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.resume_button.clicked.connect(self.resume)
        self.use_button.clicked.connect(self.use_model)
        self.show_button.clicked.connect(self.show_comparison)
        self.setup.problem.connect(show_error)
        self.setup.resized.connect(self._fit_width)
        self.controller.told.connect(self._on_event)
        self.controller.ended.connect(self._on_end)

    def reset_choices(self, *_: object) -> None:
        """Follow the layer list; napari calls this when layers come, go or are renamed."""
        self.setup.update_choices()

    def start(self) -> bool:
        """Start a new training; returns whether it was started."""
        try:
            order = self.setup.order()
        except HrsrError as error:
            show_error(str(error))
            return False
        return self._begin(order)

    def resume(self) -> bool:
        """Go on with a training; returns whether it was started."""
        folder = self._unfinished
        if holds_run(self.setup.run_folder):
            folder = self.setup.run_folder
        if folder is None or not holds_run(folder):
            folder = self.ask_run()
        return folder is not None and self._begin(Order(folder))

    def stop(self) -> None:
        """Stop within two seconds; what is learned so far is kept."""
        self.stop_button.enabled = False
        self.progress.status.value = "Stopping"
        self.controller.stop()

    def use_model(self) -> None:
        """Install the model as it is now, and choose it in the Super-resolution widget."""
        if self._folder is None:
            return
        try:
            spec = install_model(self._folder / "model.safetensors")
        except HrsrError as error:
            show_error(str(error))
            return
        open_model(self._viewer, spec)

    def show_comparison(self) -> None:
        """Add source, interpolation, result and truth of a validation image as layers."""
        arrays = None if self._folder is None else read_comparison(self._folder)
        if arrays is None or self._folder is None:
            show_info("There is no validation image yet")
            return
        colour = read_run(self._folder)[1]
        truth = arrays["truth"].shape[colour:]
        for old in [a for a in self._viewer.layers if a.metadata.get(PREVIEW_KEY) in KINDS]:
            self._viewer.layers.remove(old)
        for kind in KINDS:
            image = arrays[kind]
            factor = np.divide(truth, image.shape[colour:])
            self._viewer.add_image(
                np.moveaxis(image, 0, -1).clip(0, 1) if colour else image,
                name=f"Validation: {kind}",
                scale=factor,
                translate=(factor - 1) / 2,
                contrast_limits=(0, 1),
                rgb=colour,
                multiscale=False,
                metadata={PREVIEW_KEY: kind},
            )

    def ask_run(self) -> Path | None:
        """Ask for the folder of a run."""
        text = QFileDialog.getExistingDirectory(
            self.native, "Which run is to go on?", str(run_root())
        )
        return Path(text) if text else None

    def _begin(self, order: Order) -> bool:
        if not self.controller.start(order):
            return False
        self._folder, self._unfinished, self._warned = order.folder, None, ""
        self.setup.network.speed.hold(True)
        self.setup.enabled = False
        self.show_setup.value = False
        self.start_button.enabled = self.resume_button.enabled = False
        self.stop_button.enabled = True
        self._update_results()
        self.progress.begin()
        return True

    def _on_event(self, event: Any) -> None:
        self.progress.show_event(event)
        if isinstance(event, Started) and event.left_out:
            number = len(event.left_out)
            show_warning(f"{number} of the images cannot be used; the Train widget says why")
        if isinstance(event, Measured):
            if event.warning and event.warning != self._warned:
                self._warned = event.warning
                show_warning(event.warning)
            self._update_results()
        if not self.stop_button.enabled:
            self.progress.status.value = "Stopping"

    def _on_end(self, outcome: Outcome) -> None:
        self.setup.network.speed.hold(False)
        self.setup.enabled = True
        self.start_button.enabled = self.resume_button.enabled = True
        self.stop_button.enabled = False
        self._update_results()
        self.setup.update_choices()
        if outcome.kind != "complete" and self._folder is not None and holds_run(self._folder):
            self._unfinished = self._folder
        match outcome.kind:
            case "complete":
                name = read_run(self._folder)[0] if self._folder else ""
                text = f"Done: {name} is listed in Super-resolution"
                self.setup.forget_names()
            case "stopped":
                text = "Stopped; Resume goes on" if self._unfinished else "Stopped"
            case _:
                text = outcome.message
                show_error(text)
                self.show_setup.value = True
        self.progress.end(text)

    def _update_results(self) -> None:
        there = self._folder is not None and (self._folder / "model.safetensors").exists()
        self.use_button.enabled = there
        self.show_button.enabled = (
            self._folder is not None and (self._folder / "preview.npz").exists()
        )

    def _show_setup(self, shown: bool) -> None:
        self.setup.visible = shown
        self._fit_width()

    def _close(self) -> None:
        self.controller.close()
        self.setup.close_setup()


def holds_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training, which can go on."""
    return (folder / "config.toml").exists()


def open_model(viewer: napari.Viewer, spec: ModelSpec) -> Any:
    """Open the Super-resolution widget with a model, on the layer that is selected.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    spec : ModelSpec
        Of an installed model.

    Returns
    -------
    SuperResolution
        The widget.
    """
    title = f"Super-resolution ({spec.ndim}D)"
    dock, widget = viewer.window.add_plugin_dock_widget("napari-hrsr", title, tabify=True)
    # It may have been there before, behind another.
    dock.show()
    dock.raise_()
    active = viewer.layers.selection.active
    if is_image(active) and active in widget.layer.choices:
        widget.layer.value = active
    widget.update_choices()
    widget.model.value = spec.name
    return widget


def _import_engine() -> None:
    import napari_hrsr.files
    import napari_hrsr.training.architectures  # noqa: F401
