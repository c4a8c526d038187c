"""What a run does: its task, its first model, and the models that go on from there."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, Container, PushButton
from psygnal import Signal

from napari_hrsr._napari.fitting import narrow
from napari_hrsr.models.catalog import default_model, list_models
from napari_hrsr.models.spec import ModelSpec

UPSCALE, DENOISE, DEBLUR, ENHANCE = "Upscale", "Denoise", "Deblur", "Enhance"

TASKS = (UPSCALE, DENOISE, DEBLUR, ENHANCE)
"""In which people choose from them."""

_MOST = 6
"""Steps after the first one, at most."""


def models_for(task: str, ndim: int) -> list[ModelSpec]:
    """List the models of a task, the default one first.

    Parameters
    ----------
    task : str
        One of `TASKS`. What enlarges an image is listed under ``"Upscale"``,
        and generators of adversarial training, whatever their factor, under
        ``"Enhance"`` too.
    ndim : int
        Number of spatial axes, 2 or 3.
    """
    specs = [spec for spec in list_models(ndim=ndim) if task in _tasks(spec)]
    specs.sort(key=lambda spec: spec.name != default_model(ndim))
    return specs


def _tasks(spec: ModelSpec) -> set[str]:
    own = spec.task.capitalize()
    if max(spec.scale) > 1:
        return {UPSCALE, own} if own == ENHANCE else {UPSCALE}
    return {own}


class Steps(Container):
    """Models that run after the first one, in the same run; empty at first.

    Parameters
    ----------
    ndim : int
        Number of spatial axes of the models, 2 or 3.

    Attributes
    ----------
    edited : Signal()
        A step was added, changed or removed.
    """

    edited = Signal()

    def __init__(self, ndim: int) -> None:
        self._ndim = ndim
        self._rows: list[Container] = []
        self.add_button = PushButton(
            text="Add a step...",
            tooltip="Go on with another model, in the same run: for example denoise, then upscale. "
            "What lies between is not stored.",
        )
        super().__init__(widgets=[self.add_button], labels=False, label="Then")
        self.margins = (0, 0, 0, 0)
        self.add_button.clicked.connect(lambda: self.add())

    @property
    def names(self) -> tuple[str, ...]:
        """The models, in the order in which they run."""
        return tuple(row[0].value for row in self._rows if row[0].value is not None)

    def add(self, name: str | None = None) -> None:
        """Add a step.

        Parameters
        ----------
        name : str, optional
            Of its model; by default the one that people choose most.
        """
        if len(self._rows) >= _MOST:
            return
        model = ComboBox(choices=self._choices, tooltip="The model that goes on with the result.")
        narrow(model)
        remove = PushButton(text="Remove", tooltip="Leave this step out.")
        row = Container(widgets=[model, remove], layout="horizontal", labels=False)
        row.margins = (0, 0, 0, 0)
        model.value = name or default_model(self._ndim)
        self._rows.append(row)
        self.insert(len(self) - 1, row)
        model.changed.connect(lambda: self.edited.emit())
        remove.clicked.connect(lambda: self.drop(row))
        self._settle()

    def drop(self, row: Container) -> None:
        """Remove a step.

        Parameters
        ----------
        row : Container
            One that `add` made.
        """
        self._rows.remove(row)
        self.remove(row)
        row.native.hide()
        row.native.deleteLater()
        self._settle()

    def _settle(self) -> None:
        self.add_button.enabled = len(self._rows) < _MOST
        self.edited.emit()

    def _choices(self, _: Any = None) -> list[tuple[str, str]]:
        found = {}
        for task in TASKS:
            for spec in models_for(task, self._ndim):
                found.setdefault(spec.name, f"{task}: {spec.title}")
        return [(title, name) for name, title in found.items()]
