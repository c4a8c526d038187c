"""Save a layer with its voxel size and origin, which napari's own writer loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from napari_hrsr.errors import HrsrError
from napari_hrsr.layers import RECORD_KEY, layer_axes, layer_metadata, layer_source
from napari_hrsr.pixels import refuse_live_view

if TYPE_CHECKING:
    import napari

FILTERS = {
    "OME-TIFF (*.ome.tif)": ".ome.tif",
    "OME-Zarr (*.ome.zarr)": ".ome.zarr",
    "NIfTI (*.nii.gz)": ".nii.gz",
}


def save_layer(layer: napari.layers.Image, parent: Any = None, path: Path | None = None) -> Any:
    """Save a layer in the background, after asking where.

    Parameters
    ----------
    layer : napari.layers.Image
        What to save.
    parent : QWidget, optional
        Owner of the dialog.
    path : Path, optional
        Where to; asked for by default.

    Returns
    -------
    worker or None
        The running worker; None when the dialog was closed.
    """
    path = path or ask_path(layer, parent)
    if path is None:
        return None
    try:
        refuse_live_view(layer_source(layer))
        record = layer.metadata.get(RECORD_KEY)
        names = layer_axes(layer, record["axes"] if record else None)
        data, metadata = layer_source(layer), layer_metadata(layer, names)
    except HrsrError as error:
        show_error(str(error))
        return None

    def work() -> Any:
        from napari_hrsr.files import write_image

        try:
            write_image(path, data, metadata, record=record)
        except (HrsrError, OSError) as error:
            yield f"{path.name}: {error}", False
        else:
            yield f"Saved {path.name}", True

    worker = create_worker(
        work, _start_thread=False, _progress={"total": 1, "desc": f"Saving {path.name}"}
    )
    worker.yielded.connect(_tell)
    worker.start()
    return worker


def ask_path(layer: napari.layers.Image, parent: Any = None) -> Path | None:
    """Ask where to save; the suffix follows the chosen kind of file."""
    text, chosen = QFileDialog.getSaveFileName(
        parent, "Save result", f"{layer.name}.ome.tif", ";;".join(FILTERS)
    )
    if not text:
        return None
    known = (".tif", ".tiff", ".zarr", ".nii", ".nii.gz", ".png")
    suffix = FILTERS.get(chosen, ".ome.tif")
    return Path(text if text.endswith(known) else text + suffix)


def _tell(outcome: tuple[str, bool]) -> None:
    message, saved = outcome
    (show_info if saved else show_error)(message)
