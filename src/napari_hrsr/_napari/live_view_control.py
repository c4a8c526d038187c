"""The button "Live view" of a widget: opens live views with what is chosen there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from magicgui.widgets import PushButton
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error

from napari_hrsr._napari.live_view import LiveViewLayer, live_views_of
from napari_hrsr.errors import HrsrError

if TYPE_CHECKING:
    from napari_hrsr._napari.run import Request
    from napari_hrsr._napari.widget import SuperResolution

logger = logging.getLogger(__name__)


class LiveViewControl:
    """Starts live views from a widget and tells there how far they are.

    Parameters
    ----------
    widget : SuperResolution
        Where image, model and options are chosen, and where progress is shown.
    viewer : napari.Viewer
        Where the layers are.
    """

    def __init__(self, widget: SuperResolution, viewer: Any) -> None:
        self._widget, self._viewer = widget, viewer
        self._workers: list[Any] = []
        self._shown: list[LiveViewLayer] = []
        self._closed = False
        self.button = PushButton(
            text="Live view",
            tooltip="Look before you compute: a layer that is upscaled only where you look, "
            "while you move. Run computes all of it with the same settings.",
        )
        self.button.clicked.connect(self.start)

    @property
    def opening(self) -> bool:
        """Whether a live view is being prepared."""
        return bool(self._workers)

    @property
    def shown(self) -> list[LiveViewLayer]:
        """The live views that this widget has opened."""
        self._shown = [live for live in self._shown if not live.closed]
        return self._shown

    def start(self) -> bool:
        """Open a live view of each chosen layer; returns whether one is being opened."""
        try:
            layers = self._widget._chosen_layers()
            requests = [self._widget.request(layer, live=True) for layer in layers]
        except HrsrError as error:
            show_error(str(error))
            return False
        for layer, request in zip(layers, requests, strict=True):
            self._open(layer, request)
        return True

    def close(self) -> None:
        """Stop everything: the widget or its window is gone."""
        self._closed = True
        for live in self.shown:
            live.close()

    def _open(self, layer: Any, request: Request) -> None:
        worker = create_worker(_opened, layer, request, _start_thread=False)
        worker.returned.connect(lambda found: self._on_opened(worker, layer, request, found))
        worker.errored.connect(lambda error: self._workers.remove(worker))
        self._workers.append(worker)
        self._tell("Live view: loading the model")
        worker.start()

    def _on_opened(self, worker: Any, layer: Any, request: Request, found: Any) -> None:
        self._workers.remove(worker)
        if isinstance(found, str):
            self._tell("")
            if not self._closed:
                show_error(f"{request.name}: {found}")
            return
        if self._closed or layer not in self._viewer.layers:
            found.close()
            return
        for old in live_views_of(layer):
            old.remove()
        live = LiveViewLayer(self._viewer, layer, found)
        live.progressed.connect(self._on_progress)
        live.outdated.connect(lambda: self._renew(layer, request))
        self._shown.append(live)
        self._on_progress(*found.progress)

    def _renew(self, layer: Any, request: Request) -> None:
        """Look at other pixels of the same layer."""
        from dataclasses import replace

        from napari_hrsr.layers import layer_source

        self._open(layer, replace(request, source=layer_source(layer)))

    def _on_progress(self, done: int, total: int) -> None:
        if self._closed or self._widget.controller.running:
            return
        # It stays while there is a live view: a bar that came and went would move the rest.
        self._widget.bar.visible = bool(self.shown)
        self._widget.bar.max = max(total, 1)
        self._widget.bar.value = done if total else 1
        if not self.shown:
            self._tell("")
        elif done < total:
            self._tell(f"Live view: {done} of {total} tiles in view")
        else:
            self._tell("Live view: all that is in view is upscaled" if total else "Live view")

    def _tell(self, text: str) -> None:
        if not self._closed and not self._widget.controller.running:
            self._widget.status.value = text


def _opened(layer: Any, request: Request) -> Any:
    """Open a live view in a thread: importing torch and loading a model take seconds."""
    from napari_hrsr.forward import Instrument
    from napari_hrsr.lazy.opening import open_view

    held = False if request.held_to is None else Instrument(request.held_to)
    try:
        return open_view(
            request.source,
            coarser=list(layer.data[1:]) if layer.multiscale else [],
            axes=request.axes,
            intensity=request.intensity,
            noise=request.noise,
            consistent=held,
            **{k: v for k, v in request.options.items() if k != "region"},
        )
    except HrsrError as error:
        return str(error)
    except Exception as error:
        logger.exception("a live view could not be opened")
        return f"unexpected {type(error).__name__}: {error}. The log has the details"
