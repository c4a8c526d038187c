"""The widget "Fuse frames": several frames of one scene into one finer image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    PushButton,
    create_widget,
)

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.fitting import narrow, wrap
from napari_hrsr._napari.fuse_layer import frame_axes, fused_attributes
from napari_hrsr._napari.fuse_plot import FusionPlot
from napari_hrsr._napari.isotropic_choices import parse_automatic
from napari_hrsr._napari.isotropic_controller import Remaining
from napari_hrsr._napari.isotropic_run import Step
from napari_hrsr._napari.run_container import Report, RunContainer
from napari_hrsr.errors import HrsrError, InputError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_hrsr.frames.fusing import Fusion

METHODS = [
    ("Reconstruction", "robust"),
    ("Average of interpolated frames", "average"),
    ("Shift and add", "shift-and-add"),
    ("Drizzle", "drizzle"),
]
TRANSFORMS = [("Shifts", "translation"), ("Shifts and rotation", "rigid"), ("Affine", "affine")]


class FuseFrames(RunContainer):
    """Fuse frames in a worker thread into a layer that lies exactly on the reference.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._remaining = Remaining()
        self._build()
        self.starters = (self.start_button,)
        self.start_button.clicked.connect(self.start)
        self.selected.changed.connect(self._on_selected)
        self._follow_runs()
        # torch takes seconds to import: let them pass while the user chooses.
        threading.Thread(target=_import_engine, daemon=True).start()

    def _build(self) -> None:
        self.layer = create_widget(annotation="napari.layers.Image", label="Frames")
        self.layer.tooltip = "A layer whose first axis is time: (T, Y, X) or (T, Z, Y, X)."
        narrow(self.layer)
        self.selected = CheckBox(
            text="Selected layers are the frames",
            tooltip="One frame a layer. Layers that lie differently in the world are taken to "
            "lie there.",
        )
        self.scale = ComboBox(label="Factor", choices=[("x2", 2), ("x3", 3), ("x4", 4)])
        self.method = ComboBox(
            label="Method",
            choices=METHODS,
            tooltip="The others are the simple ways, to compare with.",
        )
        self.transform = ComboBox(
            label="Motion", choices=TRANSFORMS, tooltip="How frames may lie on each other."
        )
        self.still = CheckBox(
            text="Parts that move fall back to the reference",
            value=True,
            tooltip="Where the frames do not agree, only the reference is used.",
        )
        self.moving = CheckBox(text="Show a map of what moves")
        self.blur = LineEdit(
            label="Blur",
            value="0",
            tooltip="Standard deviation of the point spread function in pixels of the frames; "
            "it is undone as far as noise allows. 0: only the area of a pixel is.",
        )
        self.noise = LineEdit(
            label="Noise",
            value="Automatic",
            tooltip="Standard deviation of the noise in the units of the frames.",
        )
        self.start_button = PushButton(text="Start")
        buttons = Container(
            widgets=[self.start_button, self.cancel_button], layout="horizontal", labels=False
        )
        buttons.margins = (0, 0, 0, 0)
        self.message = Label()
        wrap(self.message)
        self.extend(
            [
                self.layer,
                self.selected,
                self.scale,
                self.method,
                self.transform,
                self.still,
                self.moving,
                self.blur,
                self.noise,
                buttons,
                self.bar,
                self.status,
                self.message,
            ]
        )
        self.message.visible = False
        self.plot = FusionPlot()
        self.native.layout().addWidget(self.plot)
        self.native.layout().addStretch(1)

    def _on_selected(self, chosen: bool) -> None:
        self.layer.enabled = not chosen

    def _frames(self) -> tuple[Any, Any, str]:
        """Return the layer that the result is named after, the frames, and their axes."""
        if self.selected.value:
            chosen = [x for x in self._viewer.layers if x in self._viewer.layers.selection]
            layers = [x for x in chosen if is_image(x)]
            if len(layers) < 2:
                msg = "select two image layers or more, one a frame, in the list of layers"
                raise InputError(msg)
            from napari_hrsr.layers import layer_axes

            return layers[0], layers, layer_axes(layers[0], None)
        layer = self.layer.value
        if layer is None:
            msg = "open an image with a time axis first, or select several layers"
            raise InputError(msg)
        return layer, layer, frame_axes(layer)

    def start(self) -> bool:
        """Start in the background; returns whether a run was started."""
        if self.running:
            return False
        try:
            layer, frames, axes = self._frames()
            options = {
                "axes": axes,
                "method": self.method.value,
                "transform": self.transform.value,
                "motion": bool(self.still.value),
                "noise": parse_automatic(self.noise.value, "noise"),
                "psf": parse_automatic(self.blur.value, "blur") or None,
            }
        except HrsrError as error:
            self._refuse(str(error))
            return False
        scale, moving = self.scale.value, bool(self.moving.value)
        started = time.monotonic()

        def fuse(report: Report, cancelled: Callable[[], bool]) -> Fusion:
            from napari_hrsr.frames.fusing import fuse_frames

            return fuse_frames(frames, scale, progress=report, cancelled=cancelled, **options)

        def show(fusion: Fusion) -> str:
            reference = frames[fusion.reference] if isinstance(frames, list) else layer
            self._show(fusion, reference, axes, scale, moving=moving)
            return f"Done in {format_time(time.monotonic() - started)}"

        self._remaining = Remaining()
        self.plot.show_fusion(None)
        self.message.visible = False
        self._begin(layer.name, fuse, show)
        return True

    def _describe(self, phase: str, done: int, total: int) -> str:
        return self._remaining.describe(Step(phase, done, total))

    def _show(
        self, fusion: Fusion, reference: Image, axes: str, scale: int, *, moving: bool
    ) -> None:
        if moving:
            attributes = fused_attributes(reference, axes, fusion, scale=1, moving=True)
            self._viewer.add_image(fusion.moving.astype("float32"), **attributes)
        attributes = fused_attributes(reference, axes, fusion, scale=scale)
        self._viewer.add_image(fusion.data, **attributes)
        self.message.value, self.message.visible = fusion.message, True
        self.plot.show_fusion(fusion)


def _import_engine() -> None:
    import napari_hrsr.frames.fusing  # noqa: F401
