"""The options that most people never need."""

from __future__ import annotations

from magicgui.widgets import ComboBox, Container, LineEdit

AUTOMATIC, IN_MEMORY, ON_DISK = "Automatic", "In memory", "On disk (OME-Zarr)"


class RunOptions(Container):
    """Tile, device, precision, noise, blur, intensity, data type and where the result goes."""

    def __init__(self) -> None:
        self.tile = LineEdit(
            label="Tile",
            value="auto",
            tooltip="Longest tile in source pixels, one number or one per axis (z, y, x). "
            "The result does not depend on it; speed and memory do.",
        )
        self.device = ComboBox(label="Device", choices=["auto", "cpu", "cuda", "mps"])
        self.precision = ComboBox(
            label="Precision",
            choices=["auto", "float32", "bfloat16", "float16"],
            tooltip="Automatic is float32. The others are faster on some devices, and less exact.",
        )
        self.noise = LineEdit(
            label="Noise",
            value="auto",
            tooltip="Standard deviation of the noise in the image's units; 0 for a clean image.",
        )
        self.blur = LineEdit(
            label="Blur",
            value="0",
            tooltip='For "Agree with the source": standard deviation of the blur that the '
            "instrument adds, in source pixels; one number or one per axis (z, y, x). 0: none, "
            "pixels only average over their area. One that is too wide makes the result worse.",
        )
        self.intensity = ComboBox(
            label="Measure",
            choices=[
                ("per channel", "channel"),
                ("whole image", "image"),
                ("per channel and time", "frame"),
            ],
            tooltip="What shares one measurement of black level, white level and noise.",
        )
        self.dtype = ComboBox(
            label="Data type", choices=[("as the source", None), ("float32", "float32")]
        )
        self.target = ComboBox(
            label="Keep result",
            choices=[AUTOMATIC, IN_MEMORY, ON_DISK],
            tooltip="Automatic: on disk where it would not fit in memory.",
        )
        super().__init__(
            widgets=[
                self.tile,
                self.device,
                self.precision,
                self.noise,
                self.blur,
                self.intensity,
                self.dtype,
                self.target,
            ],
            labels=True,
        )
