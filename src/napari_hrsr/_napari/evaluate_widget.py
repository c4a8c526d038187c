"""The widget "Evaluate": how far a result layer can be trusted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    LineEdit,
    PushButton,
)
from napari.utils import Colormap
from psygnal import Signal

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
from napari_hrsr._napari.evaluate_saving import ask_report_path, save_in_background
from napari_hrsr._napari.fitting import AlignedLabels, narrow
from napari_hrsr._napari.isotropic_choices import parse_automatic
from napari_hrsr._napari.run_container import Report, RunContainer
from napari_hrsr.errors import HrsrError, InputError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrsr.evaluation.evaluated import Evaluation
    from napari_hrsr.evaluation.subject import Subject


class Evaluate(RunContainer):
    """Evaluate a result in a worker thread; show figures, curves and maps.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    found : tuple or None
        The last evaluation, and what it is of.
    saved : Signal(str)
        A report was written, or was not, with a line of text.
    """

    saved = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.found: tuple[Evaluation, Subject] | None = None
        self._saving: Any = None
        self._build()
        self.starters = (self.start_button,)
        self.start_button.clicked.connect(self.start)
        self.save_button.clicked.connect(lambda: self.save_report())
        self.layer.changed.connect(self._on_layer)
        self._choose_last()
        self._viewer.layers.events.inserted.connect(self._on_inserted)
        self._follow_runs()
        # torch takes seconds to import: let them pass while the user chooses.
        threading.Thread(target=_import_engine, daemon=True).start()

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
        self.save_button = PushButton(text="Save report...", enabled=False)
        buttons = Container(
            widgets=[self.start_button, self.cancel_button, self.save_button],
            layout="horizontal",
            labels=False,
        )
        buttons.margins = (0, 0, 0, 0)
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
            subject = self._subject()
        except HrsrError as error:
            self._refuse(str(error))
            return False
        layer, source = self.layer.value, self.source.value
        started = time.monotonic()

        def work(report: Report, cancelled: Callable[[], bool]) -> Evaluation:
            from napari_hrsr.evaluate_file import evaluate_subject

            return evaluate_subject(subject, settings, report, cancelled)

        def show(found: Evaluation) -> str:
            self.found = (found, subject)
            self.view.show_evaluation(found)
            self._show_maps(found, subject, layer, source)
            self.save_button.enabled = True
            return f"Done in {format_time(time.monotonic() - started)}"

        self.found = None
        self.view.show_evaluation(None)
        self.save_button.enabled = False
        self._begin(layer.name, work, show)
        return True

    def _show_maps(
        self, found: Evaluation, subject: Subject, result: Image, source: Image | None
    ) -> None:
        name = str(result.name)
        for layer in list(self._viewer.layers):
            if layer.metadata.get(MAP_KEY) == name:
                self._viewer.layers.remove(layer)
        # The one to look at first lies on top.
        for part in reversed(found.maps()):
            layer = result if part.on == "result" else source
            # A layer that is gone by now has no place for a map.
            if layer is None or layer not in self._viewer.layers:
                continue
            spatial = subject.spatial if part.on == "result" else subject.source_spatial
            self._viewer.add_image(
                map_data(part, layer, spatial),
                colormap=_diverging() if part.diverging else "inferno",
                visible=part.diverging,
                **map_attributes(part, layer, subject, name),
            )

    def save_report(self, path: Path | None = None) -> None:
        """Write the report of the last evaluation, after asking where.

        Parameters
        ----------
        path : Path, optional
            Where to; asked for by default.
        """
        if self.found is None:
            return
        overwrite = False
        if path is None:
            asked = ask_report_path(self.native, self.found[1])
            if asked is None:
                return
            path, overwrite = asked
        self._saving = save_in_background(path, self.found, self._on_saved, overwrite=overwrite)

    def _on_saved(self, message: str) -> None:
        if not self._closed:
            self.saved.emit(message)

    def _close(self) -> None:
        super()._close()
        # The connection would keep this object, and with it the viewer, alive.
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)


def _diverging() -> Colormap:
    from napari_hrsr.evaluation.pictures import DIVERGING

    return Colormap(np.array(DIVERGING) / 255, name="hrsr blue-white-red")


def _import_engine() -> None:
    import napari_hrsr.evaluate_file  # noqa: F401
