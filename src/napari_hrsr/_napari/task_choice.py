"""What a network shall learn to do: to upscale, or to restore and keep the size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, FileEdit
from psygnal import Signal

from napari_hrsr._napari.fitting import narrow

UPSCALE, DENOISE, DEBLUR = "upscale", "denoise", "deblur"


@dataclass(frozen=True, slots=True)
class Usual:
    """What is drawn from for a task, as `Degradations` and `TASK_DEGRADATIONS` have it.

    Attributes
    ----------
    blurred, noisy : int
        Per cent of the recordings; rounded.
    blur, photons : tuple
        Ranges: standard deviation in sharp pixels, photons at white.
    settings : dict
        What else differs from the usual settings of `Degradations`.
    """

    blurred: int
    blur: tuple[float, float]
    noisy: int
    photons: tuple[int, int]
    settings: dict[str, Any]


USUAL = {
    UPSCALE: Usual(43, (0.3, 1.0), 40, (50, 2000), {}),
    DENOISE: Usual(
        0, (0.3, 1.0), 95, (8, 1000),
        {
            "point_spread_share": 0.0, "noisy_share": 0.95, "photons": [8.0, 1000.0],
            "read_noise": [0.004, 0.12],
        },
    ),
    DEBLUR: Usual(
        100, (1.0, 2.0), 90, (100, 20000),
        {
            "bicubic": 0.0, "point_spread_share": 1.0, "gaussian_sigma": [1.0, 2.0],
            "noisy_share": 0.9, "photons": [100.0, 20000.0], "read_noise": [0.001, 0.03],
        },
    ),
}  # fmt: skip


class TaskChoice:
    """The task; images or volumes, where that does not follow from a factor; a measured blur.

    Attributes
    ----------
    widgets : list of Widget
        To be put one below the other, with labels.
    changed : Signal()
        Something else was chosen.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.task = ComboBox(
            label="Learn to",
            choices=[
                ("Upscale", UPSCALE), ("Denoise (same size)", DENOISE),
                ("Deblur (same size)", DEBLUR),
            ],
            tooltip="Upscaling makes pixels finer. The others keep the size, and work in a chain "
            "with it.",
        )  # fmt: skip
        self.axes = ComboBox(label="Images", choices=[("2D", 2), ("3D", 3)])
        self.blur = FileEdit(
            label="Measured blur",
            mode="r",
            value="",
            tooltip="An image of beads or of a point spread function, with pixels as large as "
            "those of the images. A range of Gaussians is learned without it.",
        )
        self.blur.choose_btn.text = "Choose"
        self.widgets = [self.task, self.axes, self.blur]
        for combo in (self.task, self.axes):
            narrow(combo)
        for widget in self.widgets:
            widget.changed.connect(self._on_change)
        self._on_change()

    @property
    def scale(self) -> tuple[int, ...] | None:
        """Factor per spatial axis, where it follows from the task."""
        return None if self.task.value == UPSCALE else (1,) * int(self.axes.value)

    @property
    def blur_file(self) -> Path | None:
        """The image of the point spread function, if one is chosen and counts."""
        chosen = str(self.blur.value)
        if self.task.value != DEBLUR or chosen in ("", "."):
            return None
        return Path(chosen).expanduser().absolute()

    def degradation(self) -> dict[str, Any]:
        """Return what a measured blur changes in the settings of `Degradations`."""
        if self.blur_file is None:
            return {}
        return {
            "bicubic": 0.0,
            "area": 1.0,
            "k_space": 0.0,
            "gaussian": 0.0,
            "measured": 1.0,
            "point_spread_share": 1.0,
            "point_spread_file": str(self.blur_file),
        }

    def _on_change(self) -> None:
        self.axes.visible = self.task.value != UPSCALE
        self.blur.visible = self.task.value == DEBLUR
        self.changed.emit()
