"""One-click entries of napari's menus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info

if TYPE_CHECKING:
    import napari

    from napari_hrsr._napari.widget import SuperResolution


def upscale_active_layer(viewer: napari.Viewer) -> None:
    """Upscale the active image layer with the default model, in the matching widget."""
    _run_on_active(viewer, "Upscale")


def denoise_active_layer(viewer: napari.Viewer) -> None:
    """Denoise the active image layer with the model that ships, in the matching widget."""
    _run_on_active(viewer, "Denoise")


def look_at_active_layer(viewer: napari.Viewer) -> None:
    """Open a live view of the active image layer: upscaled only where you look."""
    widget = _widget_for_active(viewer, "Upscale")
    if widget is not None:
        widget.live_view.start()


def _run_on_active(viewer: napari.Viewer, task: str) -> None:
    widget = _widget_for_active(viewer, task)
    if widget is not None:
        widget.run()


def _widget_for_active(viewer: napari.Viewer, task: str) -> SuperResolution | None:
    """Open the widget that fits the active image layer; None where there is none."""
    from napari_hrsr.layers import labelled_axes

    layer = viewer.layers.selection.active
    if layer is None or "Image" not in {c.__name__ for c in layer.__class__.__mro__}:
        show_info("Select an image layer in the layer list first")
        return None
    names = labelled_axes(layer)
    volume = layer.ndim >= 3 if names is None else "Z" in names
    title = "Super-resolution (3D)" if volume else "Super-resolution (2D)"
    _, widget = viewer.window.add_plugin_dock_widget("napari-hrsr", title)
    widget.task.value = task
    widget.layer.value = layer
    return widget


def save_active_layer(viewer: napari.Viewer) -> None:
    """Save the active image layer with its voxel size and origin."""
    from napari_hrsr._napari.save import save_layer

    layer = viewer.layers.selection.active
    if layer is None or "Image" not in {c.__name__ for c in layer.__class__.__mro__}:
        show_info("Select the image layer to save in the layer list first")
        return
    save_layer(layer)
