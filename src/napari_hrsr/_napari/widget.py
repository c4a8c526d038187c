"""The widgets "Super-resolution (2D)" and "Super-resolution (3D)"."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    SpinBox,
    create_widget,
)
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QMessageBox

from napari_hrsr._napari.choices import (
    axes_choices,
    format_bytes,
    is_image,
    model_facts,
    parse_blur,
    parse_noise,
    parse_tile,
    region_shape,
    result_bytes,
    result_shape,
    slice_axis,
    wrapped,
)
from napari_hrsr._napari.controller import RunController
from napari_hrsr._napari.evaluate_layers import is_result
from napari_hrsr._napari.live_view_control import LiveViewControl
from napari_hrsr._napari.model_list import model_list
from napari_hrsr._napari.options import AUTOMATIC, ON_DISK, RunOptions
from napari_hrsr._napari.regions import view_centre, visible_region
from napari_hrsr._napari.run import Request
from napari_hrsr._napari.save import save_layer
from napari_hrsr._napari.steps import TASKS, Steps, models_for
from napari_hrsr.axes import SPATIAL
from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.layers import layer_file, layer_metadata, layer_source
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.chaining import JOINT

if TYPE_CHECKING:
    import napari

WHOLE, VISIBLE, SLICES = "Whole image", "What is visible", "Slice range"

_MEMORY_SHARE = 0.5
_LARGEST_TEXTURE = 2048


class SuperResolution(Container):
    """Upscale or restore image layers, tile by tile, into new layers that lie exactly on them.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    spatial_axes: ClassVar[int] = 2

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=True)
        self._viewer = napari_viewer
        self.controller = RunController(napari_viewer)
        self.live_view = LiveViewControl(self, napari_viewer)
        self._build()
        self._connect()
        self.native.destroyed.connect(self.controller.close)
        self.native.destroyed.connect(self.live_view.close)
        self.native.destroyed.connect(self._forget_models)
        self.update_choices()
        # torch takes seconds to import: let them pass while the user chooses.
        threading.Thread(target=_import_engine, daemon=True).start()

    def _build(self) -> None:
        self.layer = create_widget(annotation="napari.layers.Image", label="Image")
        self.layer.tooltip = "The layer to upscale. It is not changed."
        self.all_selected = CheckBox(
            text="All selected layers",
            tooltip="Run on every image layer that is selected in the layer list, one by one.",
        )
        self.task = ComboBox(
            label="Task",
            choices=TASKS,
            tooltip="What the first model does. Denoise and Deblur keep the size.",
        )
        self.model = ComboBox(
            label="Model",
            choices=self._model_choices,
            tooltip="Trained models first; interpolation for comparison.",
        )
        self.models_button = PushButton(
            text="Models...", tooltip="All models: what is known of them; add, remove, choose."
        )
        self.model_row = Container(
            widgets=[self.model, self.models_button],
            layout="horizontal",
            labels=False,
            label="Model",
        )
        self.model_row.margins = (0, 0, 0, 0)
        self.model_facts = Label(label="")
        self.steps = Steps(self.spatial_axes)
        self.axes = ComboBox(
            label="Axes",
            choices=self._axes_choices,
            tooltip="Which axes are space. The others (time, channel, ...) are looped over.",
        )
        self.part = ComboBox(
            label="Part",
            choices=[WHOLE, VISIBLE, SLICES],
            tooltip="A part gives exactly what the same part of the whole would.",
        )
        self.first_slice = SpinBox(label="First slice", min=0, max=0)
        self.last_slice = SpinBox(label="Last slice", min=0, max=0)
        self.consistent = CheckBox(
            text="Agree with the source",
            tooltip="Change the result as little as is needed for it to agree with the image it "
            "was made from: degraded again, it equals a clean image, and differs from a noisy "
            "one by no more than the noise (exactly, if the noise is set to 0). Small "
            "images take two to three times as long, large ones little longer.",
        )
        self.result_size = Label(label="Result")
        self.more = CheckBox(text="More options")
        self.details = RunOptions()
        self.run_button = PushButton(text="Run", tooltip="Start in the background.")
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.save_button = PushButton(
            text="Save result...",
            tooltip="Save the selected image layer as TIFF, OME-Zarr or NIfTI "
            "with its voxel size and origin.",
        )
        self.evaluate_button = PushButton(
            text="Evaluate...",
            tooltip="How far the result can be trusted: opens the widget for that, with the "
            "result chosen.",
        )
        self.afterwards = Container(
            widgets=[self.save_button, self.evaluate_button],
            layout="horizontal",
            labels=False,
        )
        self.buttons = Container(
            widgets=[self.run_button, self.cancel_button, self.live_view.button],
            layout="horizontal",
            labels=False,
        )
        self.bar = ProgressBar(label="", min=0, max=1, value=0)
        self.status = Label(label="", value="")
        self.extend(
            [
                self.layer, self.all_selected, self.task, self.model_row, self.model_facts,
                self.steps, self.axes, self.part, self.first_slice, self.last_slice,
                self.consistent, self.result_size, self.more, self.details,
                self.buttons, self.bar, self.status, self.afterwards,
            ]
        )  # fmt: skip
        self.details.visible = False
        self.bar.visible = False
        for label in (self.model_facts, self.result_size, self.status):
            label.native.setAlignment(Qt.AlignmentFlag.AlignLeft)
        for combo in (self.layer, self.model, self.axes):
            # Long names must not widen the dock at the picture's cost.
            combo.native.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.native.setMinimumContentsLength(22)

    def _connect(self) -> None:
        self.layer.changed.connect(self.update_choices)
        self.task.changed.connect(self.update_choices)
        self.steps.edited.connect(self.update_facts)
        self.model.changed.connect(self.update_facts)
        self.axes.changed.connect(self.update_facts)
        self.part.changed.connect(self.update_facts)
        self.details.dtype.changed.connect(self.update_facts)
        self.first_slice.changed.connect(self.update_facts)
        self.last_slice.changed.connect(self.update_facts)
        self.all_selected.changed.connect(self.update_facts)
        self.more.changed.connect(self._show_options)
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.save_button.clicked.connect(self.save)
        self.models_button.clicked.connect(self.show_models)
        model_list.changed.connect(self.update_choices)
        self.evaluate_button.clicked.connect(self.evaluate)
        self.controller.progressed.connect(self._on_progress)
        self.controller.ended.connect(self._on_end)

    def update_choices(self) -> None:
        """Offer only the models and axes that fit the chosen layer."""
        self.model.reset_choices()
        self.axes.reset_choices()
        self.axes.visible = len(self.axes.choices) > 1
        self._update_slices()
        self.update_facts()

    def show_models(self) -> None:
        """Open the widget with all models."""
        dock, _ = self._viewer.window.add_plugin_dock_widget("napari-hrsr", "Models", tabify=True)
        dock.show()
        dock.raise_()

    def reset_choices(self, *_: object) -> None:
        """Follow the layer list; napari calls this when layers come, go or are renamed."""
        super().reset_choices()
        self.update_choices()

    def update_facts(self) -> None:
        """Say what the chosen model is and how large the result will be."""
        self.model_facts.value = self._describe_model()
        self._update_slices()
        with_slices = self.part.value == SLICES
        self.first_slice.visible = self.last_slice.visible = with_slices
        self.result_size.value = self._describe_result()
        ready = self.layer.value is not None and bool(self.axes.choices) and self._fits()
        self.run_button.enabled = ready and not self.controller.running
        self.live_view.button.enabled = ready

    def run(self) -> bool:
        """Start upscaling in the background; returns whether a run was started."""
        if self.controller.running:
            return False
        try:
            pairs = [(self.request(layer), layer) for layer in self._chosen_layers()]
        except HrsrError as error:
            show_error(str(error))
            return False
        if not pairs or any(request is None for request, _ in pairs):
            return False
        self.run_button.enabled = False
        self.cancel_button.enabled = True
        self.bar.visible = True
        return self.controller.start([r for r, _ in pairs if r], [layer for _, layer in pairs])

    def cancel(self) -> None:
        """Stop after the current tile; ask whether to keep what is done."""
        if not self.controller.running:
            return
        keep = False
        if self.controller.tiles_done > 0:
            answer = self.ask_keep()
            if answer is None:
                return
            keep = answer
        self.cancel_button.enabled = False
        self.status.value = "Cancelling"
        self.controller.cancel(keep=keep)

    def save(self) -> None:
        """Save the selected image layer, or the one chosen here, with its voxel size."""
        active = self._viewer.layers.selection.active
        layer = active if is_image(active) else self.layer.value
        if layer is None:
            show_info("Select the image layer to save in the layer list first")
            return
        save_layer(layer, parent=self.native)

    def evaluate(self) -> None:
        """Open the widget that evaluates, with the last result or the selected one."""
        _, widget = self._viewer.window.add_plugin_dock_widget("napari-hrsr", "Evaluate")
        active = self._viewer.layers.selection.active
        if is_image(active) and is_result(active):
            widget.layer.value = active

    @property
    def chosen_model(self) -> str:
        """The name of the model, or of the chain: names with ``+`` between."""
        return JOINT.join((self.model.value, *self.steps.names))

    def request(self, layer: napari.layers.Image, *, live: bool = False) -> Request | None:
        """Describe the run for one layer; None when the user chose no file.

        A live view is always of the whole layer, and goes nowhere.

        Raises
        ------
        InputError
            If an option cannot be understood.
        """
        names = self._axes_for(layer)
        region = None if live else self._region(layer, names)
        shape = region_shape(layer, region)
        spec = find_spec(self.chosen_model)
        size = result_bytes(layer, shape, names, spec.scale, self.details.dtype.value)
        path = None
        if not live and self._wants_disk(size):
            path = self.ask_path(layer, size)
            if path is None:
                return None
        return Request(
            name=str(layer.name),
            source=layer_source(layer),
            axes=names,
            metadata=layer_metadata(layer, names),
            options={
                "model": self.chosen_model,
                "tile": parse_tile(self.details.tile.value),
                "device": self.details.device.value,
                "precision": self.details.precision.value,
                "dtype": self.details.dtype.value,
                "region": region,
            },
            intensity=self.details.intensity.value,
            noise=parse_noise(self.details.noise.value),
            held_to=parse_blur(self.details.blur.value) if self.consistent.value else None,
            path=path,
            centre=view_centre(self._viewer, layer),
            scheduler=self.details.scheduler.value.strip(),
            plain=self.details.plain.value,
            file=layer_file(layer),
        )

    def ask_path(self, layer: napari.layers.Image, size: int) -> Path | None:
        """Ask where to put a result that does not fit in memory."""
        text, _ = QFileDialog.getSaveFileName(
            self.native,
            f"The result takes {size / 1e9:.1f} GB. Where shall it go?",
            f"{layer.name}.ome.zarr",
            "OME-Zarr (*.ome.zarr)",
        )
        if not text:
            return None
        return Path(text if text.endswith(".zarr") else f"{text}.ome.zarr")

    def ask_keep(self) -> bool | None:
        """Ask whether to keep what is done; None to go on with the run."""
        box = QMessageBox(self.native)
        box.setWindowTitle("Cancel")
        box.setText("Stop the run. Keep the part of the result that is done?")
        keep = box.addButton("Keep", QMessageBox.ButtonRole.AcceptRole)
        discard = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("Go on", QMessageBox.ButtonRole.RejectRole)
        box.exec()
        clicked = box.clickedButton()
        return {keep: True, discard: False}.get(clicked)

    def _model_choices(self, _: object) -> list[tuple[str, str]]:
        # The first choice is the default.
        return [(s.title, s.name) for s in models_for(self.task.value, self.spatial_axes)]

    def _fits(self) -> bool:
        if self.model.value is None:
            return False
        try:
            find_spec(self.chosen_model)
        except HrsrError:
            return False
        return True

    def _describe_model(self) -> str:
        if self.model.value is None:
            return (
                f"No {self.spatial_axes}D model for this task is\ninstalled: train one, or add "
                "one that\nothers published"
            )
        try:
            return model_facts(find_spec(self.chosen_model))
        except HrsrError as error:
            return wrapped(str(error))

    def _axes_choices(self, _: object) -> list[tuple[str, str]]:
        layer = self.layer.value
        return [] if layer is None else axes_choices(layer, self.spatial_axes)

    def _chosen_layers(self) -> list[Any]:
        if self.all_selected.value:
            chosen = [a for a in self._viewer.layers if a in self._viewer.layers.selection]
            images = [layer for layer in chosen if is_image(layer)]
            if images:
                return images
        if self.layer.value is None:
            msg = "there is no image layer: open an image first"
            raise InputError(msg)
        return [self.layer.value]

    def _axes_for(self, layer: napari.layers.Image) -> str:
        choices = [value for _, value in axes_choices(layer, self.spatial_axes)]
        if not choices:
            msg = f"layer {layer.name!r} has fewer than {self.spatial_axes} axes"
            raise InputError(msg)
        return self.axes.value if self.axes.value in choices else choices[0]

    def _region(self, layer: napari.layers.Image, names: str) -> list[Any] | None:
        if self.part.value == VISIBLE:
            spatial = tuple(names.index(letter) for letter in SPATIAL[-self.spatial_axes :])
            return visible_region(self._viewer, layer, spatial)
        if self.part.value == SLICES:
            axis = slice_axis(names)
            if axis is not None:
                n = layer_source(layer).shape[axis]
                first, last = sorted((self.first_slice.value, self.last_slice.value))
                region: list[Any] = [None] * len(names)
                region[axis] = (min(first, n - 1), min(last, n - 1) + 1)
                return region
        return None

    def _update_slices(self) -> None:
        layer = self.layer.value
        axis = slice_axis(self.axes.value) if self.axes.value else None
        last = 0 if layer is None or axis is None else layer_source(layer).shape[axis] - 1
        if self.first_slice.max != last:
            self.first_slice.max = self.last_slice.max = last
            self.first_slice.value, self.last_slice.value = 0, last

    def _wants_disk(self, size: int) -> bool:
        if self.details.scheduler.value.strip():
            return True
        if self.details.target.value == AUTOMATIC:
            return size > _MEMORY_SHARE * psutil.virtual_memory().available
        return bool(self.details.target.value == ON_DISK)

    def _describe_result(self) -> str:
        layer = self.layer.value
        if layer is None or not self.axes.choices:
            return "open an image first"
        if not self._fits():
            return "choose a model first"
        try:
            names = self._axes_for(layer)
            shape = region_shape(layer, self._region(layer, names))
        except HrsrError as error:
            return str(error)
        scale = find_spec(self.chosen_model).scale
        result = result_shape(shape, names, scale)
        size = result_bytes(layer, shape, names, scale, self.details.dtype.value)
        text = f"{' x '.join(map(str, result))}, {format_bytes(size)}"
        if self.spatial_axes == 3 and max(result) > _LARGEST_TEXTURE:
            text += "\n(above 2048 pixels napari thins volumes out for the 3D view)"
        return text

    def _forget_models(self) -> None:
        model_list.changed.disconnect(self.update_choices)

    def _show_options(self, shown: bool) -> None:
        self.details.visible = shown

    def _on_progress(self, done: int, total: int, text: str) -> None:
        self.bar.max = max(total, 1)
        self.bar.value = done
        self.status.value = text

    def _on_end(self, text: str) -> None:
        self.bar.visible = False
        self.status.value = text if len(text) < 80 else f"{text[:77]}..."
        self.status.tooltip = text
        self.cancel_button.enabled = False
        self.update_facts()


class SuperResolution2D(SuperResolution):
    """Upscale images, and stacks slice by slice, in the plane.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    spatial_axes = 2


class SuperResolution3D(SuperResolution):
    """Upscale volumes along all three axes.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    spatial_axes = 3


def _import_engine() -> None:
    import napari_hrsr.jobs  # noqa: F401
