"""The options of a training that most people never need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, Label, SpinBox, Widget

from napari_hrsr._napari.fitting import narrow
from napari_hrsr._napari.image_source import ImageSource
from napari_hrsr._napari.task_choice import UPSCALE, USUAL

if TYPE_CHECKING:
    import napari

MADE, SAME_FIELDS, OTHER_FIELDS = "Made from the sharp images", "Same fields", "Other fields"
MICROSCOPE, MRI = "Microscope or camera", "MRI (k-space)"


class TrainingOptions(Container):
    """How the low-resolution side comes about, colours, device, number of steps.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._usual = usual = USUAL[UPSCALE]
        self.low = ComboBox(
            label="Low resolution",
            choices=[MADE, SAME_FIELDS, OTHER_FIELDS],
            tooltip="Made by a model of the instrument; or measured images: of the same fields "
            "in the same order or under the same names; or of other fields, for adversarial "
            "training only.",
        )
        self.coarse = ImageSource(viewer, "Measured in", tick_new=False)
        self.instrument = ComboBox(
            label="Instrument",
            choices=[MICROSCOPE, MRI],
            tooltip="What the low-resolution side is recorded with.",
        )
        self.blurred = SpinBox(
            label="Blurred, %",
            min=0,
            max=100,
            value=usual.blurred,
            tooltip="Share of the recordings by pixel areas that are blurred before.",
        )
        self.blur_low = FloatSpinBox(label="", min=0, max=10, step=0.1, value=usual.blur[0])
        self.blur_high = FloatSpinBox(label="", min=0, max=10, step=0.1, value=usual.blur[1])
        self.noisy = SpinBox(
            label="Noisy, %",
            min=0,
            max=100,
            value=usual.noisy,
            tooltip="Share of noisy recordings.",
        )
        self.photons_low = SpinBox(label="", min=1, max=1_000_000, step=10, value=usual.photons[0])
        self.photons_high = SpinBox(
            label="", min=1, max=1_000_000, step=100, value=usual.photons[1]
        )
        self.slices = CheckBox(
            text="Thick slices along z",
            tooltip="The low-resolution side is a stack of slices with a profile, as in MRI, "
            "CT or confocal stacks.",
        )
        self.colours = CheckBox(
            text="Learn colours together (RGB images)",
            tooltip="Otherwise a model learns grey values and treats each colour by itself.",
        )
        self.device = ComboBox(label="Device", choices=["auto", "cpu", "cuda", "mps"])
        self.steps = SpinBox(
            label="Steps",
            min=0,
            max=10_000_000,
            value=0,
            tooltip="Number of steps instead of minutes; 0 for minutes. "
            "A run of so many steps can be repeated exactly.",
        )
        self.blur = _range("Blur, pixels", self.blur_low, self.blur_high,
            "Standard deviation of the blur, in sharp pixels.")  # fmt: skip
        self.photons = _range("Photons", self.photons_low, self.photons_high,
            "Photons that white stands for in a noisy recording: fewer are noisier.")  # fmt: skip
        super().__init__(labels=True)
        self.extend(
            [
                self.low, *self.coarse.widgets, self.instrument, self.blurred, self.blur,
                self.noisy, self.photons, self.slices, self.colours, self.device, self.steps,
            ]
        )  # fmt: skip
        self.margins = (0, 0, 0, 0)
        for combo in (self.low, self.instrument):
            narrow(combo)
        self._sliced = self._measured = False
        self.low.changed.connect(self._show_what_matters)
        self.instrument.changed.connect(self._show_what_matters)
        self._show_what_matters()

    def follow_factor(self, scale: tuple[int, ...]) -> None:
        """Offer slices where z becomes finer; suppose them where nothing else does.

        Parameters
        ----------
        scale : tuple of int
            Factor per spatial axis.
        """
        self._sliced = len(scale) == 3 and scale[0] > 1
        self.slices.value = self._sliced and scale[1:] == (1, 1)
        self._show_what_matters()

    def follow_task(self, task: str, *, measured: bool) -> None:
        """Set shares and ranges to what is usual for a task, where it is another one.

        Parameters
        ----------
        task : str
            A key of `USUAL`.
        measured : bool
            Whether the blur was measured: nothing is drawn for it then.
        """
        self._measured = measured
        usual = USUAL[task]
        if usual is not self._usual:
            self._usual = usual
            self.blurred.value, self.noisy.value = usual.blurred, usual.noisy
            self.blur_low.value, self.blur_high.value = usual.blur
            self.photons_low.value, self.photons_high.value = usual.photons
        self._show_what_matters()

    def _show_what_matters(self) -> None:
        self.coarse.show(self.low.value != MADE)
        made = self.low.value != SAME_FIELDS
        microscope = self.instrument.value == MICROSCOPE
        for widget in (self.instrument, self.noisy):
            widget.visible = made
        self.slices.visible = made and self._sliced
        self.photons.visible = made and microscope
        for widget in (self.blurred, self.blur):
            widget.visible = made and microscope and not self._measured

    def degradation(self) -> dict[str, Any]:
        """Return what differs from the usual settings of `Degradations`."""
        usual = self._usual
        settings = dict(usual.settings)
        if self.noisy.value != usual.noisy:
            settings["noisy_share"] = self.noisy.value / 100
        if self.slices.value and self._sliced:
            settings["slice_axis"] = 0
        if self.instrument.value == MRI:
            return settings | {
                "bicubic": 0.0,
                "area": 0.0,
                "k_space": 1.0,
                "noise": "rician",
                "apodisation": [0.0, 0.5],
            }
        if self.blurred.value != usual.blurred:
            settings["point_spread_share"] = self.blurred.value / 100
        blur = sorted((self.blur_low.value, self.blur_high.value))
        if tuple(blur) != usual.blur:
            settings["gaussian_sigma"] = [float(v) for v in blur]
        photons = sorted((self.photons_low.value, self.photons_high.value))
        if tuple(photons) != usual.photons:
            settings["photons"] = [float(v) for v in photons]
        return settings


def _range(label: str, low: Widget, high: Widget, tooltip: str) -> Container:
    between = Label(value="to")
    both = Container(widgets=[low, between, high], layout="horizontal", labels=False, label=label)
    both.margins = (0, 0, 0, 0)
    both.native.layout().setStretch(0, 1)
    both.native.layout().setStretch(2, 1)
    for widget in (low, high):
        widget.tooltip = tooltip
    return both
