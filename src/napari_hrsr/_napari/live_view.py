"""The layer of a live view: redrawn when pixels arrive, gone when it is removed. Main thread."""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING, Any

import psygnal
from napari.utils.notifications import show_warning
from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from napari_hrsr.geometry import upscaled_scale_translate
from napari_hrsr.layers import result_attributes, result_name

if TYPE_CHECKING:
    import napari

    from napari_hrsr.lazy.live import LiveView

logger = logging.getLogger(__name__)

LIVE_KEY = "napari_hrsr_live"
"""Where the layer's metadata say how its pixels are made.

Not where results say it: only what was looked at is computed.
"""

_FIRST, _PAUSE, _PAUSE_IN_3D = 0.3, 0.3, 3.0
_SHARE, _LONGEST = 20, 2.0
_LAST_PART = 0.75
"""Tiles after these are shown together with the last one."""

_SETTLE = 0.03
_LOOK = ("contrast_limits", "colormap", "gamma")
_PLACE = ("scale", "translate", "rotate", "shear", "affine")

_alive: set[LiveViewLayer] = set()


class LiveViewLayer(QObject):
    """Shows a live view on its source, and follows both.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    source : napari.layers.Image
        The layer it lies on.
    view : LiveView
        Its pixels; closed together with the layer.

    Attributes
    ----------
    progressed : Signal(int, int)
        Tiles in view that are there, and all of them.
    outdated : Signal()
        The source holds other pixels now.
    """

    progressed = psygnal.Signal(int, int)
    outdated = psygnal.Signal()
    _pixels_came = Signal()
    _was_told = Signal()

    def __init__(self, viewer: napari.Viewer, source: napari.layers.Image, view: LiveView) -> None:
        super().__init__()
        self.view, self.source = view, source
        self._viewer: Any = viewer
        self._layers = viewer.layers
        self._next = 0.0
        self._drawing = self._queued = False
        self._told = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        self._pixels_came.connect(self._on_pixels)
        self._was_told.connect(self._on_told)
        attributes = result_attributes(source, view.job, {}) | {
            "name": f"{result_name(str(source.name), view.job)} (live)",
            "metadata": {LIVE_KEY: {}},
            "multiscale": True,
        }
        self.layer = viewer.add_image(view.levels, **attributes)
        seen = weakref.ref(self.layer)
        view.in_view = lambda: _shows_result(seen())
        view.changed = self._from_thread
        view.failed = lambda message: self._was_told.emit()
        _alive.add(self)
        self._connect()
        # What has happened before anybody listened.
        self._from_thread()
        self._was_told.emit()

    @property
    def closed(self) -> bool:
        """Whether the layer has been removed, or its window closed."""
        return self not in _alive

    def remove(self) -> None:
        """Take the layer away."""
        if not self.closed and self.layer in self._layers:
            self._layers.remove(self.layer)
        self.close()

    def close(self, *_: object) -> None:
        """Stop the threads and free the memory; the layer, if it stays, is interpolated."""
        if self.closed:
            return
        _alive.discard(self)
        self.view.close()
        self._timer.stop()
        self._layers.events.removed.disconnect(self._on_removed)
        for name in (*_LOOK, *_PLACE):
            _disconnect(self.source, name, self._follow_look, self._follow_place)
        self.source.events.data.disconnect(self._on_data)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.disconnect(self._on_quit)
        self.progressed.emit(0, 0)
        self.progressed.disconnect()
        self.outdated.disconnect()
        self._viewer = None

    def _connect(self) -> None:
        self._layers.events.removed.connect(self._on_removed)
        for name in _LOOK:
            if hasattr(self.source.events, name):
                getattr(self.source.events, name).connect(self._follow_look)
        for name in _PLACE:
            getattr(self.source.events, name).connect(self._follow_place)
        self.source.events.data.connect(self._on_data)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._on_quit)

    def _from_thread(self) -> None:
        """Say in the main thread that pixels came; once until it has heard."""
        if not self._queued:
            self._queued = True
            self._pixels_came.emit()

    def _on_pixels(self) -> None:
        self._queued = False
        if self.closed:
            return
        done, total = self.view.progress
        self.progressed.emit(done, total)
        self._note_record()
        wait = 0.0 if done == total else max(_FIRST, self._next - time.monotonic())
        if done == total or not self._timer.isActive():
            self._timer.start(round(1000 * wait))

    def _draw(self) -> None:
        done, total = self.view.progress
        nearly = total > done > _LAST_PART * total
        if self.closed or nearly or not self.view.outdated:
            return
        # While napari slices in a thread, it is about to show another place.
        if self._drawing or not self.layer.loaded:
            self._timer.start(round(1000 * _SETTLE))
            return
        self._drawing = True
        started = time.monotonic()
        if self.layer.visible:
            # Not `refresh`, which slices in a thread where napari is told to: until it is done, an
            # animation in the list of layers has the whole window drawn again and again.
            self.layer.set_view_slice()
            self.layer.events.set_data()
        # The canvas paints when the event loop next runs: what it costs shows in how late
        # a timer is.
        QTimer.singleShot(round(1000 * _SETTLE), lambda: self._drawn(started))

    def _drawn(self, started: float) -> None:
        now = time.monotonic()
        pause = max(_PAUSE, min(_SHARE * (now - started - _SETTLE), _LONGEST))
        if not self.closed and self._viewer.dims.ndisplay == 3:
            pause = max(pause, _PAUSE_IN_3D)
        self._next = now + pause
        self._drawing = False

    def _note_record(self) -> None:
        if not self.layer.metadata.get(LIVE_KEY):
            record = self.view.record(str(self.source.name))
            if record:
                self.layer.metadata = {**self.layer.metadata, LIVE_KEY: record}

    def _on_told(self) -> None:
        while not self.closed and self._told < len(self.view.told):
            message = self.view.told[self._told]
            self._told += 1
            show_warning(f"{self.layer.name}: {message}")

    def _follow_look(self, event: Any) -> None:
        if not self.layer.rgb:
            setattr(self.layer, event.type, getattr(self.source, event.type))

    def _follow_place(self, _: Any) -> None:
        job, source, layer = self.view.job, self.source, self.layer
        n = source.ndim
        scale, translate = upscaled_scale_translate(
            source.scale, source.translate, source.rotate, source.shear, job.factor[:n]
        )
        layer.scale, layer.rotate, layer.shear = scale, source.rotate, source.shear
        layer.translate, layer.affine = translate, source.affine.affine_matrix

    def _on_data(self, _: Any) -> None:
        self.outdated.emit()

    def _on_removed(self, _: Any) -> None:
        # The event holds the layer itself, this object perhaps a proxy of it.
        if self.layer not in self._layers:
            self.close()

    def _on_quit(self) -> None:
        view = self.view
        self.close()
        view.join()


def live_views_of(source: Any) -> list[LiveViewLayer]:
    """List the live views of a layer."""
    return [live for live in _alive if live.source == source]


def _shows_result(layer: Any) -> bool:
    """Tell whether a layer is shown at its finest level, the only one that is computed."""
    return layer is not None and bool(layer.visible) and layer.data_level == 0


def _disconnect(source: Any, name: str, *callbacks: Any) -> None:
    events = getattr(source.events, name, None)
    for callback in callbacks if events is not None else ():
        events.disconnect(callback)
