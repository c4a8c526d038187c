"""The options of "Make isotropic" that most people never need."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit

from napari_hrsr._napari.isotropic_choices import parse_automatic
from napari_hrsr._napari.options import AUTOMATIC, IN_MEMORY, ON_DISK


class IsotropicOptions(Container):
    """Consistency, mirrored views, doubt, noise, device and where the result goes."""

    def __init__(self) -> None:
        self.consistency = ComboBox(
            label="Consistency",
            choices=[(AUTOMATIC, "auto"), ("Exact", "exact"), ("None", "none")],
            tooltip="How far the result, sliced again, shall give the measured slices. "
            "Automatic: exactly where they are clean, less the noisier they are.",
        )
        self.mirrored = CheckBox(
            text="Average over mirrored views",
            tooltip="Four times as slow, a little better.",
        )
        self.doubt = CheckBox(
            text="Map what can be doubted",
            tooltip="A second layer: how far what is inferred from the planes z-x and z-y "
            "differs. Takes as long as the result.",
        )
        self.noise = LineEdit(
            label="Noise",
            value=AUTOMATIC,
            tooltip="Standard deviation of the noise in the image's units; 0 for a clean image.",
        )
        self.device = ComboBox(label="Device", choices=["auto", "cpu", "cuda", "mps"])
        self.target = ComboBox(
            label="Keep result",
            choices=[AUTOMATIC, IN_MEMORY, ON_DISK],
            tooltip="Automatic: on disk where it would not fit in memory.",
        )
        super().__init__(
            widgets=[
                self.consistency,
                self.mirrored,
                self.doubt,
                self.noise,
                self.device,
                self.target,
            ],
            labels=True,
        )
        self.margins = (0, 0, 0, 0)

    def chosen_noise(self) -> str | float:
        """Return ``"auto"`` or a standard deviation.

        Raises
        ------
        InputError
            If it is neither.
        """
        noise = parse_automatic(self.noise.value, "noise")
        return "auto" if noise is None else noise

    def choices(self) -> dict[str, Any]:
        """Return how to restore, as keyword arguments of `isotropic.running.Choices`."""
        return {
            "consistency": self.consistency.value,
            "ensemble": bool(self.mirrored.value),
            "device": self.device.value,
        }
