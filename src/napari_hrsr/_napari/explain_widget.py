"""The widget "Explain": feature maps, attribution and receptive field of a model."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    SpinBox,
    create_widget,
)
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_hrsr._napari.explain_layer import attribution_layer, field_layer, maps_layer
from napari_hrsr._napari.explain_region import CLICK, MIDDLE, SHAPE, asked_region
from napari_hrsr._napari.fitting import narrow, wrap
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr._napari.regions import visible_region
from napari_hrsr.axes import Axes, resolve_axes
from napari_hrsr.errors import CancelledError, HrsrError, InputError
from napari_hrsr.layers import layer_axes, layer_source
from napari_hrsr.models.catalog import default_model, find_spec, list_models

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

MAPS, ATTRIBUTION, FIELD = "Feature maps", "Attribution", "Receptive field"

_AUTOMATIC = "The last one with the most maps"
_WHOLE = 2**20
"""Pixels of a slice or volume up to which feature maps show all of it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is being explained."""

    what: str
    layer: Image
    image: Any
    axes: Axes
    model: str
    region: list[tuple[int, int] | None]
    network_layer: str | None
    cancel: threading.Event

    @property
    def loop(self) -> list[int]:
        """The index on each axis that is looped over."""
        return [(self.region[axis] or (0, 1))[0] for axis in self.axes.looped]


class Explain(Container):
    """Look inside a network, in a worker thread; what is found lies exactly on the source.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    ended : Signal(str)
        A run has come to an end, however it did, with a line of text.
    listed : Signal(str)
        The layers of a model are listed, with its name.
    """

    ended = Signal(str)
    listed = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=True)
        self._viewer = napari_viewer
        self._run: _Run | None = None
        self._relay: Relay | None = None
        self._worker: Any = None
        self._lister: Any = None
        self._clicked: Any = None
        self._for_layer: Any = None
        self._listed_for = ""
        self._network_layers = [(_AUTOMATIC, "")]
        self._closed = False
        self._build()
        for button, what in zip(self.buttons, (MAPS, ATTRIBUTION, FIELD), strict=True):
            button.clicked.connect(lambda *_, what=what: self.start(what))
        self.cancel_button.clicked.connect(self.cancel)
        self.layer.changed.connect(self._on_layer)
        self.model.changed.connect(self._on_model)
        self.where.changed.connect(self._on_where)
        self._viewer.mouse_drag_callbacks.append(self._on_click)
        self.native.destroyed.connect(self._close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.cancel)
        self._on_layer()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def _build(self) -> None:
        self.layer = create_widget(annotation="napari.layers.Image", label="Image")
        self.layer.tooltip = "The source that a model is given."
        self.model = ComboBox(
            label="Model", choices=self._model_choices, tooltip="The model to look into."
        )
        self.where = ComboBox(
            label="Region",
            choices=[MIDDLE, CLICK, SHAPE],
            tooltip="What part of the result is explained, by attribution and receptive field. "
            "Any shape in a Shapes layer will do: its bounding box counts.",
        )
        self.side = SpinBox(
            label="Side", value=12, min=1, max=64,
            tooltip="Pixels of the source along each side of a region around a point.",
        )  # fmt: skip
        self.network_layer = ComboBox(
            label="Network layer",
            choices=lambda _: self._network_layers,
            tooltip="Whose feature maps are shown.",
        )
        for combo in (self.layer, self.model, self.network_layer):
            narrow(combo)
        tips = (
            "What a layer of the network makes of the image, one map for each of its channels.",
            "Which pixels of the source add structure to the region (green) or take it away "
            "(pink): local attribution map, Gu and Dong, CVPR 2021.",
            "Which pixels of the source can change the region, measured with gradients.",
        )
        self.buttons = [
            PushButton(text=text, tooltip=tip)
            for text, tip in zip((MAPS, ATTRIBUTION, FIELD), tips, strict=True)
        ]
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status, self.message = Label(), Label()
        for label in (self.status, self.message):
            wrap(label)
            label.visible = False
        buttons = Container(widgets=[*self.buttons, self.cancel_button], labels=False)
        buttons.margins = (0, 0, 0, 0)
        self.extend(
            [self.layer, self.model, self.where, self.side, self.network_layer, buttons,
             self.bar, self.status, self.message]
        )  # fmt: skip
        self.bar.visible = False
        self.native.layout().addStretch(1)

    def _model_choices(self, _: object) -> list[tuple[str, str]]:
        layer = self.layer.value
        most = 2 if layer is None else min(3, layer.ndim)
        specs = [s for s in list_models() if s.ndim <= most]
        if layer is None or not layer.rgb:
            specs = [s for s in specs if s.channels == 1]
        # Volumes are first of all for models of volumes.
        return [(s.title, s.name) for s in sorted(specs, key=lambda s: -s.ndim)]

    def _on_layer(self, *_: object) -> None:
        layer, kept = self.layer.value, self.model.value
        with self.model.changed.blocked():
            self.model.reset_choices()
            if layer is not None and layer is not self._for_layer:
                self._for_layer = layer
                self.model.value = default_model(3 if layer.ndim > 2 else 2)
            elif kept in self.model.choices:
                self.model.value = kept
        self._on_model()

    def _on_model(self, *_: object) -> None:
        name = self.model.value
        if name is None or name == self._listed_for or self._closed:
            return
        self._listed_for = name
        self._network_layers = [(_AUTOMATIC, "")]
        self.network_layer.reset_choices()
        # torch takes seconds to import: let them pass while the user chooses.
        self._lister = create_worker(_list_layers, name, _start_thread=False)
        self._lister.returned.connect(self._on_listed)
        self._lister.start()

    def _on_listed(self, listed: tuple[str, list[tuple[str, str]]]) -> None:
        name, layers = listed
        if self._closed or name != self._listed_for:
            return
        self._network_layers = [(_AUTOMATIC, ""), *layers]
        self.network_layer.reset_choices()
        self.listed.emit(name)

    def _on_where(self, where: str) -> None:
        self.side.enabled = where != SHAPE
        if where == CLICK:
            self._clicked = None
            self._say("Click on the image.")

    def _on_click(self, viewer: Any, event: Any) -> None:
        if not self._closed and self.where.value == CLICK and not self.running:
            self._clicked = event.position
            self._say("Place taken. Click again for another one.")

    def _say(self, text: str) -> None:
        self.message.value, self.message.visible = text, bool(text)

    def start(self, what: str) -> bool:
        """Explain in the background; returns whether a run was started.

        Parameters
        ----------
        what : str
            `MAPS`, `ATTRIBUTION` or `FIELD`.
        """
        if self.running:
            return False
        try:
            run = self._ask(what)
        except HrsrError as error:
            show_error(str(error))
            return False
        relay = Relay()
        relay.told.connect(self._on_event)
        worker = create_worker(_explain, run, relay.tell, _start_thread=False)
        worker.finished.connect(self._on_finished)
        self._run, self._relay, self._worker = run, relay, worker
        self._say("")
        for button in self.buttons:
            button.enabled = False
        self.cancel_button.enabled = self.bar.visible = self.status.visible = True
        self.bar.max = self.bar.value = 0
        self.status.value = f"{what}: computing"
        worker.start()
        return True

    def _ask(self, what: str) -> _Run:
        layer, model = self.layer.value, self.model.value
        if layer is None or model is None:
            msg = "open an image first, and choose a model"
            raise InputError(msg)
        spec = find_spec(model)
        names = layer_axes(layer, None, model)
        axes = resolve_axes(names, spec.ndim)
        region = asked_region(
            self._viewer, layer, axes, self.where.value, self._clicked, self.side.value
        )
        image = layer_source(layer)
        if what == MAPS:
            # All of the slice or volume, or what is seen of it.
            size = 1
            for axis in axes.spatial:
                size *= image.shape[axis]
            seen = visible_region(self._viewer, layer, axes.spatial) if size > _WHOLE else region
            for axis in axes.spatial:
                region[axis] = seen[axis] if size > _WHOLE else None
        return _Run(
            what, layer, image, axes, model, region, self.network_layer.value or None,
            threading.Event(),
        )  # fmt: skip

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
            case (int() as done, int() as total):
                self.bar.max, self.bar.value = total, done
                if not self._run.cancel.is_set():
                    self.status.value = f"{self._run.what}: {done} of {total} steps"
            case str() as error:
                self.status.value = "Failed"
                show_error(error)
            case None:
                self.status.value = "Cancelled"
            case found:
                self._show(self._run, found)

    def _show(self, run: _Run, found: Any) -> None:
        given = (run.layer, run.axes, run.loop, found, run.model)
        if run.what == MAPS:
            data, attributes = maps_layer(*given)
            self._viewer.add_image(data, **attributes)
            self._say(
                f"{found.layer.channels} maps of {found.layer.name} ({found.layer.kind}): "
                "move the slider of the first axis."
            )
        elif run.what == ATTRIBUTION:
            data, attributes = attribution_layer(*given)
            self._viewer.add_image(data, **attributes)
            self._say(
                f"Diffusion index {found.diffusion_index:.2f} of 100. 90 % of the attribution "
                f"lies within {found.reach:g} pixels of the region. Green adds structure to it, "
                f"pink takes structure away; they add up to within {100 * found.missing:.1f} % "
                "of the region's structure."
            )
        else:
            polygons, attributes = field_layer(*given)
            self._viewer.add_shapes(polygons, **attributes)
            self._say(_field_text(found))
        self.status.value = f"{run.what}: done"

    def _on_finished(self) -> None:
        self._run = self._relay = None
        if self._closed:
            return
        self.bar.visible = self.cancel_button.enabled = False
        for button in self.buttons:
            button.enabled = True
        self.ended.emit(self.status.value)

    def _close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        self._closed = True
        self.cancel()
        self._for_layer = None
        callbacks = self._viewer.mouse_drag_callbacks
        if self._on_click in callbacks:
            callbacks.remove(self._on_click)
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object, and with it the viewer, alive.
            application.aboutToQuit.disconnect(self.cancel)


def _field_text(found: Any) -> str:
    def text(box: Any) -> str:
        return " x ".join(str(stop - start) for start, stop in box)

    stated = "unbounded" if found.stated is None else text(found.stated)
    agrees = "" if found.stated is None or found.stated == found.bounds else ", which differs"
    return (
        f"White: the region, {text(found.region)} pixels. Yellow: 95 % of the influence on it, "
        f"{text(found.core)}. Cyan: all of it, {text(found.bounds)}; the model states {stated}"
        f"{agrees}."
    )


def _list_layers(name: str) -> tuple[str, list[tuple[str, str]]]:
    """List a model's layers in the worker thread; none for a model that cannot be read."""
    try:
        from napari_hrsr.explaining import list_layers

        layers = list_layers(name)
    except HrsrError:
        return name, []
    return name, [(f"{x.name} ({x.kind}, {x.channels})", x.name) for x in layers]


def _explain(run: _Run, tell: Any) -> None:
    """Look into the network in the worker thread; every failure is told, none is raised."""
    try:
        from napari_hrsr import explaining

        options = {
            "region": run.region, "axes": run.axes.names, "cancelled": run.cancel.is_set,
        }  # fmt: skip
        found: Any
        if run.what == MAPS:
            found = explaining.feature_maps(run.model, run.image, run.network_layer, **options)
        elif run.what == ATTRIBUTION:
            found = explaining.attribution(
                run.model, run.image, progress=lambda *at: tell(at), **options
            )
        else:
            found = explaining.receptive_field(run.model, run.image, **options)
        tell(found)
    except CancelledError:
        tell(None)
    except HrsrError as error:
        tell(f"{run.layer.name}: {error}")
    except Exception as error:
        logger.exception("explaining %s on %s failed", run.model, run.layer.name)
        tell(
            f"{run.layer.name}: unexpected {type(error).__name__}: {error}. "
            "Nothing was changed; the log has the details"
        )
