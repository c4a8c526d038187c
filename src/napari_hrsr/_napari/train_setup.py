"""What is to be trained: the upper part of the widget "Train"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    Label,
    LineEdit,
    PushButton,
)
from psygnal import Signal

from napari_hrsr._napari.degradation_preview import DegradationPreview, sample_centre
from napari_hrsr._napari.degradation_sample import Sample
from napari_hrsr._napari.fitting import AlignedLabels, narrow, wrap
from napari_hrsr._napari.image_source import ImageSource
from napari_hrsr._napari.network_choice import NetworkChoice
from napari_hrsr._napari.run_names import RunNames
from napari_hrsr._napari.task_choice import TaskChoice
from napari_hrsr._napari.training_images import LayerImage, layer_image
from napari_hrsr._napari.training_names import CUSTOM, FACTORS, parse_factor
from napari_hrsr._napari.training_options import MADE, OTHER_FIELDS, SAME_FIELDS, TrainingOptions
from napari_hrsr._napari.training_process import COARSE, IMAGES, Order
from napari_hrsr.errors import HrsrError, InputError

if TYPE_CHECKING:
    import napari


class TrainSetup(Container):
    """Images, factor, network, time, name, and the details.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    problem : Signal(str)
        Something that was asked for cannot be done.
    resized : Signal()
        Something was shown or hidden.
    """

    problem = Signal(str)
    resized = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._seed = 0
        self.preview = DegradationPreview(viewer)
        self._build()
        self._connect()
        self._on_factor()
        self.update_choices()

    def _build(self) -> None:
        self.images = ImageSource(self._viewer, "Learn from", tick_new=True)
        self.task = TaskChoice()
        self.factor = ComboBox(
            label="Factor",
            choices=[*FACTORS, (CUSTOM, None)],
            tooltip="How much finer the result is, along (z), y, x.",
        )
        self.custom = LineEdit(
            label="Per axis", value="3x2x2", tooltip="One whole number per axis: (z) x y x x."
        )
        self.network = NetworkChoice()
        self.minutes = FloatSpinBox(
            label="Minutes",
            value=10,
            min=0.1,
            max=100_000,
            step=5,
            tooltip="How long to train. The longer, the better; stopping earlier is fine.",
        )
        self.names = RunNames()
        self.preview_button = PushButton(
            text="Preview degradation",
            tooltip="Show a part of an image as the network will see it. "
            "Every click draws another degradation.",
        )
        self.preview_facts = Label(label="")
        self.more = CheckBox(text="More options")
        self.details = TrainingOptions(self._viewer)
        self.basics = Container(labels=True)
        self.basics.extend(
            [
                *self.images.widgets, *self.task.widgets, self.factor, self.custom,
                *self.network.widgets, self.minutes, *self.names.widgets,
            ]
        )  # fmt: skip
        self.basics.margins = (0, 0, 0, 0)
        self.extend([self.basics, self.more, self.details, self.preview_button, self.preview_facts])
        self.margins = (0, 0, 0, 0)
        self._labels = AlignedLabels(self.basics, self.details)
        wrap(self.preview_facts)
        narrow(self.factor)
        self.preview_facts.visible = False
        self.details.visible = False

    def _connect(self) -> None:
        self.images.chosen.connect(self._suggest)
        self.task.changed.connect(self._on_factor)
        self.factor.changed.connect(self._on_factor)
        self.custom.changed.connect(self._on_factor)
        self.details.low.changed.connect(self._on_low_resolution)
        self.details.colours.changed.connect(self._choose_network)
        self.details.device.changed.connect(self._choose_network)
        self.details.steps.changed.connect(self._choose_network)
        self.minutes.changed.connect(self._choose_network)
        self.more.changed.connect(self._show_options)
        self.preview_button.clicked.connect(self.show_degradation)
        self.preview.shown.connect(self._on_preview)
        self.preview.failed.connect(self._on_preview_failed)

    @property
    def scale(self) -> tuple[int, ...]:
        """Factor per spatial axis.

        Raises
        ------
        InputError
            If a custom one cannot be understood.
        """
        if self.task.scale is not None:
            return self.task.scale
        chosen = self.factor.value
        return parse_factor(self.custom.value) if chosen is None else tuple(chosen)

    @property
    def channels(self) -> int:
        """1, or 3 where colours are learned together."""
        return 3 if self.details.colours.value else 1

    def update_choices(self) -> None:
        """Follow the layers and the installed models."""
        self.images.follow()
        self.details.coarse.follow()
        self._suggest()
        self._choose_network()

    def order(self) -> Order:
        """Describe the training that is chosen.

        Raises
        ------
        InputError
            If something is missing, or cannot be understood.
        """
        details = self.details
        # A folder that was free may hold a run by now.
        self._suggest()
        data, layers, coarse = self._data()
        settings: dict[str, Any] = {
            # Where nothing is restored, it follows from the way of training.
            "task": "auto" if self.task.scale is None else self.task.task.value,
            "scale": list(self.scale),
            "channels": self.channels,
            "device": details.device.value,
            "data": data,
            "degradation": self._degradation(),
            **self.network.settings(),
        }
        settings["model"]["name"] = self.names.model_name()
        if details.steps.value:
            settings["steps"] = int(details.steps.value)
        else:
            settings["minutes"] = float(self.minutes.value)
        return Order(self.names.run_folder, settings, layers, coarse)

    def _degradation(self) -> dict[str, Any]:
        return self.details.degradation() | self.task.degradation()

    def _data(self) -> tuple[dict[str, Any], tuple[LayerImage, ...], tuple[LayerImage, ...]]:
        """Return which images to learn from, with the layers among them: sharp and coarse."""
        ndim, low = len(self.scale), self.details.low.value
        layers, paths = self.images.chosen_layers(), self.images.chosen_paths()
        if not layers and not paths:
            msg = "there is nothing to learn from: tick layers, or choose files or a folder"
            raise InputError(msg)
        data: dict[str, Any] = {"images": [IMAGES] if layers else [str(p) for p in paths]}
        coarse: list[Any] = []
        if low == OTHER_FIELDS and not self.network.adversarial.value:
            msg = "low-resolution images of other fields are for adversarial training only"
            raise InputError(msg)
        if low != MADE:
            coarse, paths = self.details.coarse.chosen_layers(), self.details.coarse.chosen_paths()
            if not coarse and not paths:
                msg = "choose the measured low-resolution images, or let them be made"
                raise InputError(msg)
            kind = "coarse" if low == SAME_FIELDS else "unpaired"
            data[kind] = [COARSE] if coarse else [str(p) for p in paths]
        return (
            data,
            tuple(layer_image(layer, ndim) for layer in layers),
            tuple(layer_image(layer, ndim) for layer in coarse),
        )

    def show_degradation(self) -> None:
        """Degrade a part of the first image, at random, and show it as two layers."""
        try:
            scale = self.scale
            layers, paths = self.images.chosen_layers(), self.images.chosen_paths()
            if not layers and not paths:
                msg = "tick a layer, or choose files or a folder, to see what becomes of it"
                raise InputError(msg)
            layer = None
            if layers:
                active = self._viewer.layers.selection.active
                layer = active if active in layers else layers[0]
            sample = Sample(
                paths if layer is None else layer_image(layer, len(scale)),
                scale,
                self.channels,
                self._degradation(),
                self._seed,
                () if layer is None else sample_centre(self._viewer, layer),
            )
        except HrsrError as error:
            self.problem.emit(str(error))
            return
        self._seed += 1
        if self.preview.draw(sample, layer):
            self.preview_button.enabled = False

    def close_setup(self) -> None:
        """Let go of everything: the window is closing."""
        self.problem.disconnect()
        self.resized.disconnect()
        self.images.close()
        self.details.coarse.close()
        self.network.speed.close()
        self.preview.close()

    def _on_factor(self) -> None:
        upscaling = self.task.scale is None
        self.factor.visible = upscaling
        self.custom.visible = upscaling and self.factor.value is None
        self.details.follow_task(self.task.task.value, measured=self.task.blur_file is not None)
        self.resized.emit()
        try:
            scale = self.scale
        except InputError:
            return
        self.details.follow_factor(scale)
        self._suggest()
        self._choose_network()

    def _suggest(self) -> None:
        """Suggest names after the first image."""
        try:
            scale = self.scale
        except InputError:
            return
        layers, paths = self.images.chosen_layers(), self.images.chosen_paths()
        first = str(layers[0].name) if layers else paths[0].name.split(".")[0] if paths else ""
        self.names.suggest(first, scale, "" if self.task.scale is None else self.task.task.value)

    def _choose_network(self) -> None:
        try:
            scale = self.scale
        except InputError:
            return
        self.network.choose_for(
            scale,
            self.channels,
            self.details.device.value,
            float(self.minutes.value),
            int(self.details.steps.value),
        )

    def _on_low_resolution(self) -> None:
        # What was measured is not made: there is nothing to try out.
        made = self.details.low.value != SAME_FIELDS
        self.preview_button.visible = made
        self.preview_facts.visible = made and bool(self.preview_facts.value)
        self.resized.emit()

    def _show_options(self, shown: bool) -> None:
        self.details.visible = shown
        self.resized.emit()

    def _on_preview(self, text: str) -> None:
        self.preview_button.enabled = True
        self.preview_button.text = "Draw another degradation"
        self.preview_facts.visible = True
        self.preview_facts.value = text

    def _on_preview_failed(self, text: str) -> None:
        self.preview_button.enabled = True
        self.problem.emit(text)
