"""The widget "Explain": feature maps, attribution and receptive field of a model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    ComboBox,
    Container,
    Label,
    PushButton,
    SpinBox,
    create_widget,
)
from napari.qt.threading import create_worker
from psygnal import Signal

from napari_hrsr._napari.explain_layer import attribution_layer, field_layer, maps_layer
from napari_hrsr._napari.explain_region import CLICK, MIDDLE, SHAPE, asked_region
from napari_hrsr._napari.explain_run import (
    ATTRIBUTION,
    FIELD,
    MAPS,
    Question,
    describe_answer,
    list_network_layers,
)
from napari_hrsr._napari.fitting import narrow, wrap
from napari_hrsr._napari.regions import visible_region
from napari_hrsr._napari.run_container import RunContainer
from napari_hrsr.axes import resolve_axes
from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.layers import layer_axes, layer_source
from napari_hrsr.models.catalog import default_model, find_spec, list_models

if TYPE_CHECKING:
    import napari

_AUTOMATIC = "The last one with the most maps"
_WHOLE = 2**20
"""Pixels of a slice or volume up to which feature maps show all of it."""


class Explain(RunContainer):
    """Look inside a network, in a worker thread; what is found lies exactly on the source.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    listed : Signal(str)
        The layers of a model are listed, with its name.
    """

    listed = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._lister: Any = None
        self._clicked: Any = None
        self._for_layer: Any = None
        self._listed_for = ""
        self._network_layers = [(_AUTOMATIC, "")]
        self._build()
        for button, what in zip(self.starters, (MAPS, ATTRIBUTION, FIELD), strict=True):
            button.clicked.connect(lambda *_, what=what: self.start(what))
        self.layer.changed.connect(self._on_layer)
        self.model.changed.connect(self._on_model)
        self.where.changed.connect(self._on_where)
        self._viewer.mouse_drag_callbacks.append(self._on_click)
        self._follow_runs()
        self._on_layer()

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
            label="Maps of",
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
        self.starters = tuple(
            PushButton(text=text, tooltip=tip)
            for text, tip in zip((MAPS, ATTRIBUTION, FIELD), tips, strict=True)
        )
        self.message = Label()
        wrap(self.message)
        self.message.visible = False
        buttons = Container(widgets=[*self.starters, self.cancel_button], labels=False)
        buttons.margins = (0, 0, 0, 0)
        self.extend(
            [self.layer, self.model, self.where, self.side, self.network_layer, buttons,
             self.bar, self.status, self.message]
        )  # fmt: skip
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
        self._lister = create_worker(list_network_layers, name, _start_thread=False)
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
            asked = self._ask(what)
        except HrsrError as error:
            self._refuse(str(error))
            return False
        self._say("")
        self._begin(
            asked.layer.name, asked.answer, partial(self._show, asked), f"{what}: computing"
        )
        return True

    def _ask(self, what: str) -> Question:
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
        return Question(what, layer, image, axes, model, region, self.network_layer.value or None)

    def _describe(self, phase: str, done: int, total: int) -> str:
        return f"{phase}: {done} of {total} steps"

    def _show(self, asked: Question, found: Any) -> str:
        given = (asked.layer, asked.axes, asked.loop, found, asked.model)
        if asked.what == FIELD:
            polygons, attributes = field_layer(*given)
            self._viewer.add_shapes(polygons, **attributes)
        else:
            make = maps_layer if asked.what == MAPS else attribution_layer
            data, attributes = make(*given)
            self._viewer.add_image(data, **attributes)
        self._say(describe_answer(asked, found))
        return f"{asked.what}: done"

    def _close(self) -> None:
        super()._close()
        self._for_layer = None
        callbacks = self._viewer.mouse_drag_callbacks
        if self._on_click in callbacks:
            callbacks.remove(self._on_click)
