"""Show what the low-resolution side of a training looks like, before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import create_worker
from psygnal import Signal

from napari_hrsr._napari.degradation_sample import Drawn, Sample, drawn
from napari_hrsr._napari.regions import view_centre
from napari_hrsr._napari.training_images import PREVIEW_KEY
from napari_hrsr.geometry import upscaled_scale_translate

if TYPE_CHECKING:
    import napari

SHARP, COARSE = "Sharp preview", "Low-resolution preview"


class DegradationPreview:
    """Draws a degradation in the background and shows it as two layers.

    Attributes
    ----------
    shown : Signal(str)
        The layers are there; what was drawn.
    failed : Signal(str)
        Why they are not.
    """

    shown = Signal(str)
    failed = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layer: Any = None
        self._worker: Any = None
        self._closed = False
        self.busy = False

    def draw(self, sample: Sample, layer: Any = None) -> bool:
        """Draw a degradation of a sample, on the layer it comes from if there is one."""
        if self.busy or self._closed:
            return False
        self.busy, self._layer = True, layer
        self._worker = create_worker(drawn, sample, _start_thread=False)
        self._worker.yielded.connect(self._on_drawn)
        self._worker.errored.connect(lambda error: self._on_drawn(str(error)))
        self._worker.finished.connect(self._on_finished)
        self._worker.start()
        return True

    def close(self) -> None:
        """Show nothing any more."""
        self.shown.disconnect()
        self.failed.disconnect()
        self._closed, self._layer = True, None

    def _on_drawn(self, result: Drawn | str) -> None:
        if self._closed:
            return
        if isinstance(result, str):
            self.failed.emit(result)
            return
        for name, data in ((SHARP, result.sharp), (COARSE, result.coarse)):
            self._show(name, data, placed(self._layer, result, coarse=name == COARSE))
        self.shown.emit(result.text)

    def _show(self, name: str, data: np.ndarray, attributes: dict[str, Any]) -> None:
        layers = self._viewer.layers
        visible = True
        # The shape may be another one: a new layer takes the old one's place.
        for old in [layer for layer in layers if PREVIEW_KEY in layer.metadata]:
            if old.metadata[PREVIEW_KEY] == name:
                visible = bool(old.visible)
                layers.remove(old)
        self._viewer.add_image(
            data,
            name=name,
            contrast_limits=(0, 1),
            visible=visible,
            multiscale=False,
            metadata={PREVIEW_KEY: name},
            **attributes,
        )

    def _on_finished(self) -> None:
        self.busy, self._layer = False, None


def placed(layer: Any, sample: Drawn, *, coarse: bool) -> dict[str, Any]:
    """Return where a preview lies, for ``add_image``.

    Parameters
    ----------
    layer : napari.layers.Image or None
        That the sample comes from.
    sample : Drawn
        What was sample.
    coarse : bool
        Whether for the low-resolution side.
    """
    factor = [1 / k if coarse else 1.0 for k in sample.factor]
    colours = (sample.coarse if coarse else sample.sharp).ndim > len(factor)
    if layer is None:
        ones, zeros = np.ones(len(factor)), np.zeros(len(factor))
        scale, translate = upscaled_scale_translate(ones, zeros, factor=factor, start=sample.start)
        return {"scale": scale, "translate": translate, "rgb": colours}
    scale, translate = upscaled_scale_translate(
        layer.scale, layer.translate, layer.rotate, layer.shear, factor, sample.start
    )
    attributes = {
        "scale": scale,
        "translate": translate,
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
        "rgb": colours,
    }
    if not colours and not layer.rgb:
        attributes["colormap"] = layer.colormap
    return attributes


def sample_centre(viewer: napari.Viewer, layer: Any) -> tuple[float, ...]:
    """Return the middle of what is shown of a layer, within it."""
    centre = view_centre(viewer, layer)
    source = layer.data[0] if layer.multiscale else layer.data
    return tuple(min(max(0.0, c), n - 1.0) for c, n in zip(centre, source.shape, strict=False))
