"""The widget "Fuse frames": several frames of one scene into one finer image."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    create_widget,
)
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.fitting import narrow, wrap
from napari_hrsr._napari.fuse_layer import frame_axes, fused_attributes
from napari_hrsr._napari.fuse_plot import FusionPlot
from napari_hrsr._napari.isotropic_choices import parse_automatic
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr.errors import CancelledError, HrsrError, InputError

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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is being fused, and where its result goes."""

    layer: Image
    axes: str
    frames: Any
    scale: int
    moving: bool
    cancel: threading.Event


class FuseFrames(Container):
    """Fuse frames in a worker thread into a layer that lies exactly on the reference.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    ended : Signal(str)
        A run has come to an end, however it did, with a line of text.
    """

    ended = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=True)
        self._viewer = napari_viewer
        self._run: _Run | None = None
        self._relay: Relay | None = None
        self._worker: Any = None
        self._started, self._phase = 0.0, ("", 0.0)
        self._closed = False
        self._build()
        self.start_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        self.selected.changed.connect(self._on_selected)
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
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        buttons = Container(
            widgets=[self.start_button, self.cancel_button], layout="horizontal", labels=False
        )
        buttons.margins = (0, 0, 0, 0)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status, self.message = Label(), Label()
        for label in (self.status, self.message):
            wrap(label)
            label.visible = False
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
        self.bar.visible = False
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
            show_error(str(error))
            return False
        run = _Run(
            layer, axes, frames, self.scale.value, bool(self.moving.value), threading.Event()
        )
        relay = Relay()
        relay.told.connect(self._on_event)
        worker = create_worker(_fuse, run, options, relay.tell, _start_thread=False)
        worker.finished.connect(self._on_finished)
        self._run, self._relay, self._worker = run, relay, worker
        self._started, self._phase = time.monotonic(), ("", 0.0)
        self.plot.show_fusion(None)
        self.message.visible = False
        self.start_button.enabled = False
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
                self._on_progress(phase, done, total)
            case str() as error:
                self.status.value = "Failed"
                show_error(error)
            case None:
                self.status.value = "Cancelled"
            case fusion:
                self._on_fused(fusion)

    def _on_progress(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase[0]:
            self._phase = (phase, time.monotonic())
        self.bar.max, self.bar.value = max(1, total), done
        text = f"{phase}: {done} of {total}"
        if done:
            took = time.monotonic() - self._phase[1]
            text += f", {format_time(took / done * (total - done))} left"
        if self._run is not None and not self._run.cancel.is_set():
            self.status.value = text

    def _on_fused(self, fusion: Fusion) -> None:
        run = self._run
        assert run is not None
        layer = run.layer
        if isinstance(run.frames, list):
            layer = run.frames[fusion.reference]
        if run.moving:
            attributes = fused_attributes(layer, run.axes, fusion, scale=1, moving=True)
            self._viewer.add_image(fusion.moving.astype("float32"), **attributes)
        attributes = fused_attributes(layer, run.axes, fusion, scale=run.scale)
        self._viewer.add_image(fusion.data, **attributes)
        self.message.value, self.message.visible = fusion.message, True
        self.plot.show_fusion(fusion)
        self.status.value = f"Done in {format_time(time.monotonic() - self._started)}"

    def _on_finished(self) -> None:
        self._run = self._relay = None
        if self._closed:
            return
        self.bar.visible = self.cancel_button.enabled = False
        self.start_button.enabled = True
        self.ended.emit(self.status.value)

    def _close(self) -> None:
        """Stop the run and tell nobody: the widget or its window is gone."""
        self._closed = True
        self.cancel()
        application = QCoreApplication.instance()
        if application is not None:
            # The connection would keep this object, and with it the viewer, alive.
            application.aboutToQuit.disconnect(self.cancel)


def _fuse(run: _Run, options: dict[str, Any], tell: Any) -> None:
    """Fuse in the worker thread; every failure is told, none is raised."""
    try:
        from napari_hrsr.frames.fusing import fuse_frames

        def report(phase: str, done: int, total: int) -> None:
            tell((phase, done, total))

        tell(fuse_frames(run.frames, run.scale, progress=report, cancelled=run.cancel, **options))
    except CancelledError:
        tell(None)
    except HrsrError as error:
        tell(f"{run.layer.name}: {error}")
    except Exception as error:
        logger.exception("fusing the frames of %s failed", run.layer.name)
        tell(
            f"{run.layer.name}: unexpected {type(error).__name__}: {error}. "
            "Nothing was changed; the log has the details"
        )


def _import_engine() -> None:
    import napari_hrsr.frames.fusing  # noqa: F401
