"""The result layer while it is being filled. Main thread only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_hrsr.layers import RECORD_KEY, result_attributes

if TYPE_CHECKING:
    import napari

    from napari_hrsr._napari.run import Finished, Prepared

_FIRST_REDRAW = 0.25
_SHARE = 5
_PAUSE_IN_3D = 3.0


class LiveResult:
    """A result layer that is redrawn now and then, and settled at the end.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    source : napari.layers.Image
        The layer it lies on.
    prepared : Prepared
        The array that is being filled, and its job.
    **others
        Attributes of the layer other than the usual ones, for example its name.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        source: napari.layers.Image,
        prepared: Prepared,
        **others: Any,
    ) -> None:
        self._viewer = viewer
        attributes = result_attributes(source, prepared.job, prepared.record) | others
        self._attributes = attributes
        self.layer = viewer.add_image(prepared.data, **attributes)
        self._next = time.monotonic() + _FIRST_REDRAW
        self._drawing = False

    @property
    def removed(self) -> bool:
        """Whether the user has deleted the layer."""
        return self.layer not in self._viewer.layers

    def redraw(self) -> None:
        """Redraw, unless the last redraw was too recent for what it cost."""
        if self._drawing or time.monotonic() < self._next or self.removed:
            return
        self._drawing = True
        started = time.monotonic()
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)
        # The canvas paints when the event loop next runs: only then is the cost known.
        QTimer.singleShot(0, lambda: self._drawn(started))

    def _drawn(self, started: float) -> None:
        now = time.monotonic()
        pause = max(_FIRST_REDRAW, _SHARE * (now - started))
        if self._viewer.dims.ndisplay == 3:
            pause = max(pause, _PAUSE_IN_3D)
        self._next = now + pause
        self._drawing = False

    def settle(self, finished: Finished) -> None:
        """Show the end of the run: the full result, what was kept, or nothing."""
        if self.removed:
            return
        if not finished.kept:
            self.discard()
            return
        if finished.levels:
            self._show_levels(finished)
            return
        self.layer.metadata = {**self.layer.metadata, RECORD_KEY: finished.record}
        if not finished.complete:
            self.layer.name = f"{self.layer.name} (incomplete)"
        self.layer.refresh()

    def discard(self) -> None:
        """Remove the layer."""
        if not self.removed:
            self._viewer.layers.remove(self.layer)

    def _show_levels(self, finished: Finished) -> None:
        """Replace the layer by one with overview levels, which cannot be added later."""
        index = self._viewer.layers.index(self.layer)
        name = self.layer.name if finished.complete else f"{self.layer.name} (incomplete)"
        kept = {k: getattr(self.layer, k) for k in ("opacity", "blending", "visible", "gamma")}
        if not self.layer.rgb:
            kept |= {k: getattr(self.layer, k) for k in ("contrast_limits", "colormap")}
        self._viewer.layers.remove(self.layer)
        attributes: dict[str, Any] = {**self._attributes, **kept, "name": name}
        attributes["metadata"] = {RECORD_KEY: finished.record}
        data: Any = list(finished.levels)
        if len(data) > 1:
            attributes["multiscale"] = True
        else:
            data = data[0]
        self.layer = self._viewer.add_image(data, **attributes)
        self._viewer.layers.move(len(self._viewer.layers) - 1, index)
