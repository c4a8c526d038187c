"""The widget "Evaluate": how far a result layer can be trusted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
)
from napari.qt.threading import create_worker
from napari.utils import Colormap
from napari.utils.notifications import show_error, show_info
from psygnal import Signal
from qtpy.QtCore import QCoreApplication
from qtpy.QtWidgets import QFileDialog

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.evaluate_layers import (
    MAP_KEY,
    find_source,
    given_layer,
    is_result,
    map_attributes,
    map_data,
    record_of,
    shown_places,
)
from napari_hrsr._napari.fitting import AlignedLabels, narrow, wrap
from napari_hrsr._napari.isotropic_choices import parse_automatic
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr.errors import CancelledError, HrsrError, InputError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrsr.evaluation.evaluated import Evaluation
    from napari_hrsr.evaluation.subject import Subject

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is being evaluated."""

    layer: Image
    source: Image | None
    subject: Subject
    settings: Any
    cancel: threading.Event


class Evaluate(Container):
    """Evaluate a result in a worker thread; show figures, curves and maps.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    found : tuple or None
        The last evaluation, and what it is of.
    ended : Signal(str)
        A run has come to an end, however it did, with a line of text.
    saved : Signal(str)
        A report was written, or was not, with a line of text.
    """

    ended = Signal(str)
    saved = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=True)
        self._viewer = napari_viewer
        self._run: _Run | None = None
        self._relay: Relay | None = None
        self._worker: Any = None
        self._started = 0.0
        self._closed = False
        self.found: tuple[Evaluation, Subject] | None = None
        self._build()
        self.start_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        self.save_button.clicked.connect(lambda: self.save_report())
        self.layer.changed.connect(self._on_layer)
        self._choose_last()
        self._viewer.layers.events.inserted.connect(self._on_inserted)
        self.native.destroyed.connect(self._close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.cancel)
        # torch takes seconds to import: let them pass while the user chooses.
        threading.Thread(target=_import_engine, daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def _build(self) -> None:
        from napari_hrsr._napari.evaluate_view import EvaluationView

        self.layer = ComboBox(
            label="Result",
            choices=self._images,
            tooltip="The layer whose truth is in question: the last result, by default.",
        )
        self.source = ComboBox(
            label="Source",
            choices=self._images,
            nullable=True,
            tooltip="What it was made of; found by its name and its place.",
        )
        self.reference = ComboBox(
            label="Reference",
            choices=self._images,
            nullable=True,
            tooltip="The truth, if there is one, with the pixels of the result.",
        )
        for combo in (self.layer, self.source, self.reference):
            narrow(combo)
        self.blur = LineEdit(
            label="Blur",
            value="Automatic",
            tooltip="Standard deviation of the point spread function in pixels of the source; "
            "found by default: the one with which the result fits its source best.",
        )
        self.noise = LineEdit(
            label="Noise",
            value="Automatic",
            tooltip="Standard deviation of the source's noise in its units; measured by default.",
        )
        self.match = CheckBox(
            text="Fit brightness to the reference",
            tooltip="Gain and offset are fitted first, as is fair for other exposures.",
        )
        self.uncertainty = CheckBox(
            text="Uncertainty: run the model again",
            tooltip="The model makes the result of mirrored views of the source too. Takes some "
            "eight times as long as the upscaling.",
        )
        self.start_button = PushButton(text="Evaluate")
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.save_button = PushButton(text="Save report...", enabled=False)
        buttons = Container(
            widgets=[self.start_button, self.cancel_button, self.save_button],
            layout="horizontal",
            labels=False,
        )
        buttons.margins = (0, 0, 0, 0)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status = Label()
        wrap(self.status)
        self.extend(
            [
                self.layer,
                self.source,
                self.reference,
                self.blur,
                self.noise,
                self.match,
                self.uncertainty,
                buttons,
                self.bar,
                self.status,
            ]
        )
        self.bar.visible = self.status.visible = False
        self._aligned = AlignedLabels(self)
        self.view = EvaluationView()
        self.native.layout().addWidget(self.view, 1)
        self.native.layout().addStretch(0)

    def _images(self, combo: Any = None) -> list[Image]:
        """List what can be evaluated; maps of evaluations cannot."""
        layers = self._viewer.layers
        return [layer for layer in layers if is_image(layer) and MAP_KEY not in layer.metadata]

    def _choose_last(self) -> None:
        results = [layer for layer in self._images() if is_result(layer)]
        if results:
            self.layer.value = results[-1]
        self._on_layer(self.layer.value)

    def _on_inserted(self, event: Any) -> None:
        if self._closed or MAP_KEY in event.value.metadata:
            return
        self.reset_choices()
        if is_result(event.value) and not self.running:
            self.layer.value = event.value

    def _on_layer(self, layer: Image | None) -> None:
        if layer is None:
            return
        found = find_source(layer, self._viewer.layers)
        self.source.value = found if found in self.source.choices else None
        record = record_of(layer)
        self.uncertainty.enabled = bool(record and record.get("model") and not record.get("task"))
        if not self.uncertainty.enabled:
            self.uncertainty.value = False

    def _subject(self) -> Subject:
        from napari_hrsr.evaluation.subject import choose_subject

        layer, source, reference = self.layer.value, self.source.value, self.reference.value
        if layer is None:
            msg = "make or open a result first"
            raise InputError(msg)
        if layer in (source, reference):
            msg = f"{layer.name!r} is the result: choose another layer to hold it against"
            raise InputError(msg)
        result = given_layer(layer)
        return choose_subject(
            result,
            source=None if source is None else given_layer(source, result),
            reference=None if reference is None else given_layer(reference, result),
            at=shown_places(layer, result.metadata.axes, self._viewer.dims.point),
        )

    def start(self) -> bool:
        """Start in the background; returns whether a run was started."""
        if self.running:
            return False
        try:
            from napari_hrsr.evaluate_file import Settings

            settings = Settings(
                psf_sigma=parse_automatic(self.blur.value, "blur"),
                noise=parse_automatic(self.noise.value, "noise"),
                match=bool(self.match.value),
                uncertainty=bool(self.uncertainty.value),
            )
            run = _Run(
                self.layer.value, self.source.value, self._subject(), settings, threading.Event()
            )
        except HrsrError as error:
            show_error(str(error))
            return False
        relay = Relay()
        relay.told.connect(self._on_event)
        worker = create_worker(_evaluate, run, relay.tell, _start_thread=False)
        worker.finished.connect(self._on_finished)
        self._run, self._relay, self._worker = run, relay, worker
        self._started = time.monotonic()
        self.found = None
        self.view.show_evaluation(None)
        self.start_button.enabled = self.save_button.enabled = False
        self.cancel_button.enabled = self.bar.visible = self.status.visible = True
        self.bar.max = self.bar.value = 0
        self.status.value = "Starting"
        worker.start()
        return True

    def cancel(self) -> None:
        """Ask the run to stop."""
        if self._run is not None:
            self._run.cancel.set()
            if not self._closed:
                self.cancel_button.enabled = False
                self.status.value = "Cancelling"

    def _on_event(self, event: Any) -> None:
        if self._closed or self._run is None:
            return
        match event:
            case (str() as phase, int() as done, int() as total):
                self.bar.max, self.bar.value = max(1, total), done
                if not self._run.cancel.is_set():
                    self.status.value = f"{phase}: {done} of {total}"
            case str() as error:
                self.status.value = "Failed"
                show_error(error)
            case None:
                self.status.value = "Cancelled"
            case found:
                self._on_found(found)

    def _on_found(self, found: Evaluation) -> None:
        run = self._run
        assert run is not None
        self.found = (found, run.subject)
        self.view.show_evaluation(found)
        self._show_maps(found, run)
        self.save_button.enabled = True
        self.status.value = f"Done in {format_time(time.monotonic() - self._started)}"

    def _show_maps(self, found: Evaluation, run: _Run) -> None:
        name = str(run.layer.name)
        for layer in list(self._viewer.layers):
            if layer.metadata.get(MAP_KEY) == name:
                self._viewer.layers.remove(layer)
        # The one to look at first lies on top.
        for part in reversed(found.maps()):
            layer = run.layer if part.on == "result" else run.source
            # A layer that is gone by now has no place for a map.
            if layer is None or layer not in self._viewer.layers:
                continue
            subject = run.subject
            spatial = subject.spatial if part.on == "result" else subject.source_spatial
            self._viewer.add_image(
                map_data(part, layer, spatial),
                colormap=_diverging() if part.diverging else "inferno",
                visible=part.diverging,
                **map_attributes(part, layer, subject, name),
            )

    def _on_finished(self) -> None:
        self._run = self._relay = None
        if self._closed:
            return
        self.bar.visible = self.cancel_button.enabled = False
        self.start_button.enabled = True
        self.ended.emit(self.status.value)

    def save_report(self, path: Path | None = None) -> None:
        """Write the report of the last evaluation, after asking where.

        Parameters
        ----------
        path : Path, optional
            Where to; asked for by default.
        """
        if self.found is None:
            return
        overwrite = path is None
        if path is None:
            name = self.found[1].names.get("result", "result").replace("/", "-")
            text, _ = QFileDialog.getSaveFileName(
                self.native, "Save report", f"{name}.html", "Page (*.html)"
            )
            if not text:
                return
            path = Path(text if text.lower().endswith((".html", ".htm")) else f"{text}.html")
            overwrite = str(path) == text
        worker = create_worker(
            _write, path, *self.found, overwrite, _start_thread=False,
            _progress={"total": 1, "desc": f"Saving {path.name}"},
        )  # fmt: skip
        worker.yielded.connect(self._on_saved)
        self._saving = worker
        worker.start()

    def _on_saved(self, outcome: tuple[str, bool]) -> None:
        message, written = outcome
        (show_info if written else show_error)(message)
        if not self._closed:
            self.saved.emit(message)

    def _close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        self._closed = True
        self.cancel()
        # The connections would keep this object, and with it the viewer, alive.
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.disconnect(self.cancel)


def _diverging() -> Colormap:
    from napari_hrsr.evaluation.pictures import DIVERGING

    return Colormap(np.array(DIVERGING) / 255, name="hrsr blue-white-red")


def _evaluate(run: _Run, tell: Callable[[Any], None]) -> None:
    """Evaluate in the worker thread; every failure is told, none is raised."""
    try:
        from napari_hrsr.evaluate_file import evaluate_subject

        def report(phase: str, done: int, total: int) -> None:
            tell((phase, done, total))

        tell(evaluate_subject(run.subject, run.settings, report, run.cancel.is_set))
    except CancelledError:
        tell(None)
    except HrsrError as error:
        tell(f"{run.layer.name}: {error}")
    except Exception as error:
        logger.exception("the evaluation of %s failed", run.layer.name)
        tell(
            f"{run.layer.name}: unexpected {type(error).__name__}: {error}. "
            "Nothing was changed; the log has the details"
        )


def _write(path: Path, evaluation: Evaluation, subject: Subject, overwrite: bool) -> Any:
    from napari_hrsr.evaluation.report import write_report

    try:
        write_report(path, evaluation, subject, overwrite=overwrite)
    except (HrsrError, OSError) as error:
        yield f"{path.name}: {error}", False
    else:
        yield f"Saved {path.name}", True


def _import_engine() -> None:
    import napari_hrsr.evaluate_file  # noqa: F401
