"""The widget "Train": from images to a model of one's own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, Container, PushButton
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_hrsr._napari.train_setup import TrainSetup
from napari_hrsr._napari.training_controller import TrainingController
from napari_hrsr._napari.training_names import run_root
from napari_hrsr._napari.training_process import Order, Outcome
from napari_hrsr._napari.training_progress import TrainingProgress
from napari_hrsr._napari.training_record import read_run
from napari_hrsr._napari.training_results import TrainingResults
from napari_hrsr.errors import HrsrError
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
        self._folder = Path()
        self._unfinished: Path | None = None
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
        self.results = TrainingResults(self._viewer)
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
        if holds_run(self.setup.names.run_folder):
            folder = self.setup.names.run_folder
        if folder is None or not holds_run(folder):
            folder = self.ask_run()
        return folder is not None and self._begin(Order(folder))

    def stop(self) -> None:
        """Stop within two seconds; what is learned so far is kept."""
        self.stop_button.enabled = False
        self.progress.status.value = "Stopping"
        self.controller.stop()

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
        self.results.follow(self._folder)
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
            self.results.follow(self._folder)
        if not self.stop_button.enabled:
            self.progress.status.value = "Stopping"

    def _on_end(self, outcome: Outcome) -> None:
        self.setup.network.speed.hold(False)
        self.setup.enabled = True
        self.start_button.enabled = self.resume_button.enabled = True
        self.stop_button.enabled = False
        self.results.follow(self._folder)
        self.setup.update_choices()
        if outcome.kind != "complete" and holds_run(self._folder):
            self._unfinished = self._folder
        match outcome.kind:
            case "complete":
                name = read_run(self._folder)[0]
                text = f"Done: {name} is listed in Super-resolution"
            case "stopped":
                text = "Stopped; Resume goes on" if self._unfinished else "Stopped"
            case _:
                text = outcome.message
                show_error(text)
                self.show_setup.value = True
        self.progress.end(text)

    def _show_setup(self, shown: bool) -> None:
        self.setup.visible = shown
        self._fit_width()

    def _close(self) -> None:
        self.controller.close()
        self.setup.close_setup()


def holds_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training, which can go on."""
    return (folder / "config.toml").exists()


def _import_engine() -> None:
    import napari_hrsr.files
    import napari_hrsr.training.architectures  # noqa: F401
