"""The name of a model to train and the folder of its run: suggested until somebody types."""

from __future__ import annotations

from pathlib import Path

from magicgui.widgets import FileEdit, LineEdit

from napari_hrsr._napari.training_names import free_folder, model_name
from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import list_models
from napari_hrsr.models.user_models import user_models


class RunNames:
    """Two fields that suggest what to call a run.

    Attributes
    ----------
    widgets : list of Widget
        To be put one below the other, with labels.
    """

    def __init__(self) -> None:
        self._suggested_name = self._suggested_folder = ""
        self.name = LineEdit(
            label="Name",
            tooltip="Letters, digits, '-', '_' and '.'. The finished model is listed by it.",
        )
        self.folder = FileEdit(
            label="Run folder",
            mode="d",
            value="",
            tooltip="Everything about the run is written here: choose a new or an empty folder.",
        )
        self.folder.choose_btn.text = "Choose"
        self.widgets = [self.name, self.folder]
        self.name.changed.connect(self._suggest_folder)

    @property
    def run_folder(self) -> Path:
        """The folder that is chosen."""
        return Path(self.folder.value).expanduser().absolute()

    def suggest(self, image: str, scale: tuple[int, ...], task: str = "") -> None:
        """Name the model after an image, and the folder after the model, unless they were typed.

        Parameters
        ----------
        image : str
            Name of a layer, file or folder; may be empty.
        scale : tuple of int
            Factor per spatial axis.
        task : str
            In place of the factor, where the size is kept.
        """
        if self.name.value in ("", self._suggested_name):
            taken = {spec.name for spec in list_models()}
            self._suggested_name = model_name(image, scale, taken, task)
            if self.name.value != self._suggested_name:
                self.name.value = self._suggested_name
        self._suggest_folder()

    def model_name(self) -> str:
        """Return the name that is chosen.

        Raises
        ------
        InputError
            If it is that of a model that cannot be replaced.
        """
        name = str(self.name.value).strip()
        if name in {spec.name for spec in list_models()} - {spec.name for spec in user_models()}:
            msg = f"{name!r} is the name of a model that came with the plugin: choose another"
            raise InputError(msg)
        return name

    def _suggest_folder(self) -> None:
        folder = str(self.folder.value)
        if folder in ("", ".", self._suggested_folder):
            self._suggested_folder = str(free_folder(str(self.name.value).strip() or "my-model"))
            if folder != self._suggested_folder:
                self.folder.value = self._suggested_folder
