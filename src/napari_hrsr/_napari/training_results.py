"""What can be done with a model that is being trained: use it, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container, PushButton
from napari.utils.notifications import show_error, show_info

from napari_hrsr._napari.choices import is_image
from napari_hrsr._napari.training_images import PREVIEW_KEY
from napari_hrsr._napari.training_record import KINDS, read_comparison, read_run
from napari_hrsr.errors import HrsrError
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import install_model

if TYPE_CHECKING:
    import napari


class TrainingResults(Container):
    """Buttons for the model in a run folder, as it is by now.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to use and to show it.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._folder: Path | None = None
        self.use_button = PushButton(
            text="Use this model",
            enabled=False,
            tooltip="Install the model as it is now, and open Super-resolution with it.",
        )
        self.show_button = PushButton(
            text="Show in viewer",
            enabled=False,
            tooltip="Add the validation image to the layers: source, cubic, model and truth.",
        )
        super().__init__(
            widgets=[self.use_button, self.show_button], layout="horizontal", labels=False
        )
        self.margins = (0, 0, 0, 0)
        self.use_button.clicked.connect(self.use_model)
        self.show_button.clicked.connect(self.show_comparison)

    def follow(self, folder: Path) -> None:
        """Offer what is in the folder of a run."""
        self._folder = folder
        self.use_button.enabled = (folder / "model.safetensors").exists()
        self.show_button.enabled = (folder / "preview.npz").exists()

    def use_model(self) -> None:
        """Install the model as it is now, and choose it in the Super-resolution widget."""
        if self._folder is None:
            return
        try:
            spec = install_model(self._folder / "model.safetensors")
        except HrsrError as error:
            show_error(str(error))
            return
        open_model(self._viewer, spec)

    def show_comparison(self) -> None:
        """Add source, interpolation, result and truth of a validation image as layers."""
        arrays = None if self._folder is None else read_comparison(self._folder)
        if arrays is None or self._folder is None:
            show_info("There is no validation image yet")
            return
        for old in [a for a in self._viewer.layers if a.metadata.get(PREVIEW_KEY) in KINDS]:
            self._viewer.layers.remove(old)
        colour = read_run(self._folder)[1]
        truth = arrays["truth"].shape[colour:]
        for kind in KINDS:
            image = arrays[kind]
            factor = np.divide(truth, image.shape[colour:])
            self._viewer.add_image(
                np.moveaxis(image, 0, -1).clip(0, 1) if colour else image,
                name=f"Validation: {kind}",
                scale=factor,
                translate=(factor - 1) / 2,
                contrast_limits=(0, 1),
                rgb=colour,
                multiscale=False,
                metadata={PREVIEW_KEY: kind},
            )


def open_model(viewer: napari.Viewer, spec: ModelSpec) -> Any:
    """Open the Super-resolution widget with a model, on the layer that is selected.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    spec : ModelSpec
        Of an installed model.

    Returns
    -------
    SuperResolution
        The widget.
    """
    title = f"Super-resolution ({spec.ndim}D)"
    dock, widget = viewer.window.add_plugin_dock_widget("napari-hrsr", title, tabify=True)
    # It may have been there before, behind another.
    dock.show()
    dock.raise_()
    active = viewer.layers.selection.active
    if is_image(active) and active in widget.layer.choices:
        widget.layer.value = active
    widget.update_choices()
    widget.model.value = spec.name
    return widget
