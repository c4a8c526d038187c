"""The options that most people never need."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit

AUTOMATIC, IN_MEMORY, ON_DISK = "Automatic", "In memory", "On disk (OME-Zarr)"


class RunOptions(Container):
    """Tile, device, precision, noise, blur, intensity, data type, where it goes, who computes."""

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
        self.scheduler = LineEdit(
            label="Run on cluster",
            value="",
            tooltip="Address of a dask scheduler, such as tls://10.0.0.5:8786, whose workers "
            "compute in place of this computer. The result goes to a folder that they can "
            "reach. Empty: this computer.",
        )
        self.plain = CheckBox(
            text="Trust this network",
            value=False,
            tooltip="Allow a tcp:// scheduler on another machine: without TLS, whoever reaches "
            "it can run programs on its workers.",
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
                self.scheduler,
                self.plain,
            ],
            labels=True,
        )
