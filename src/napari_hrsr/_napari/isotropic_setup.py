"""What is to be made isotropic, and how: the form of the widget "Make isotropic"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit
from psygnal import Signal

from napari_hrsr._napari.choices import axes_choices, is_image
from napari_hrsr._napari.fitting import AlignedLabels, narrow, wrap
from napari_hrsr._napari.isotropic_choices import (
    LETTERS,
    coarse_axis,
    finest_pixel,
    grid_text,
    parse_automatic,
    parse_size,
    unit_text,
)
from napari_hrsr._napari.isotropic_network import IsotropicNetwork
from napari_hrsr._napari.isotropic_options import IsotropicOptions
from napari_hrsr._napari.options import AUTOMATIC
from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.layers import layer_axes, layer_source

if TYPE_CHECKING:
    import napari

    from napari_hrsr.isotropic.stack import Stack

MEASURED = "measured"


class IsotropicSetup(Container):
    """Layer, voxel sizes, target, slices, network, and the details.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.

    Attributes
    ----------
    checked : Signal(bool)
        Whether what is chosen can be done; the form says why not.
    resized : Signal()
        Something was shown or hidden.
    """

    checked = Signal(bool)
    resized = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        self._followed: Any = None
        self._loaded = self._axis_by_hand = False
        self._suggested_target = ""
        self._build()
        self._connect()
        self.follow_layers()

    def _build(self) -> None:
        self.layer = ComboBox(
            label="Image",
            choices=self._layer_choices,
            tooltip="A stack of slices. It is not changed.",
        )
        self.axes = ComboBox(
            label="Axes",
            choices=self._axes_choices,
            tooltip="Which axes are space. The others (time, channel, ...) are looped over.",
        )
        self.sizes = [
            LineEdit(tooltip=f"Distance of the voxels along {letter}.") for letter in LETTERS
        ]
        self.unit = Label(value="")
        self.voxel = Container(
            label="Voxel z, y, x",
            widgets=[*self.sizes, self.unit],
            layout="horizontal",
            labels=False,
        )
        self.voxel.margins = (0, 0, 0, 0)
        self.coarse = ComboBox(
            label="Coarse axis",
            choices=[(letter, axis) for axis, letter in enumerate(LETTERS)],
            tooltip="The axis along which the slices were taken: the one of the largest voxels.",
        )
        self.target = LineEdit(
            label="Target voxel",
            tooltip="Voxel size of the result along all axes, in the same unit. "
            "Finer than the slices' pixels is interpolated, not learned.",
        )
        self.grid = Label(label="Result", value="")
        self.profile = ComboBox(
            label="Slice profile",
            choices=[("Gaussian", "gaussian"), ("Box", "box"), ("From file...", MEASURED)],
            tooltip="What a slice collects along the coarse axis: Gaussian suits microscopes "
            "and most scanners, a box suits slices that were cut or binned.",
        )
        self.profile_file = FileEdit(
            label="Profile file",
            tooltip="Text with one number a line, or an image of a point, sampled as finely as "
            "the slices' pixels.",
        )
        self.profile_file.choose_btn.text = "Choose"
        self.thickness = LineEdit(
            label="Thickness",
            value=AUTOMATIC,
            tooltip="Full width at half maximum of a slice, in the unit of the voxel sizes; "
            "estimated by default. Too thin does little harm, too thick makes structure up.",
        )
        self.network = IsotropicNetwork()
        self.more = CheckBox(text="More options")
        self.details = IsotropicOptions()
        self.basics = Container(
            widgets=[
                self.layer, self.axes, self.voxel, self.coarse, self.target, self.grid,
                self.profile, self.profile_file, self.thickness, *self.network.widgets,
            ],
            labels=True,
        )  # fmt: skip
        self.basics.margins = (0, 0, 0, 0)
        self.extend([self.basics, self.more, self.details])
        self.margins = (0, 0, 0, 0)
        self._aligned = AlignedLabels(self.basics, self.details)
        wrap(self.grid)
        for combo in (self.layer, self.axes):
            narrow(combo)
        for edit in self.sizes:
            edit.native.setMinimumWidth(40)
        self.details.visible = self.profile_file.visible = False

    def _connect(self) -> None:
        self.layer.changed.connect(self._on_layer)
        self.axes.changed.connect(self.fill)
        for edit in self.sizes:
            edit.changed.connect(self._on_sizes)
        self.coarse.changed.connect(self._on_axis)
        for widget in (self.target, self.thickness, self.profile_file, self.details.noise):
            widget.changed.connect(self.check)
        self.profile.changed.connect(self._on_profile)
        self.network.network.changed.connect(self.resized)
        self.more.changed.connect(self._show_options)

    @property
    def stack(self) -> Stack:
        """The grids that are chosen.

        Raises
        ------
        HrsrError
            If something cannot be understood, or does not fit.
        """
        from napari_hrsr.isotropic.measuring import describe
        from napari_hrsr.isotropic.running import layer_spacing, make_wishes

        source, names = layer_source(self.chosen()), self.names()
        # Without an axis z the voxel sizes are nobody's: that is to be said first.
        layer_spacing(self.chosen(), names)
        return describe(source, names, make_wishes(**self.wishes()))[1]

    def chosen(self) -> Any:
        """Return the chosen layer.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.layer.value is None:
            msg = "there is no image layer: open a stack first"
            raise InputError(msg)
        return self.layer.value

    def names(self) -> str:
        """Return one letter per axis of the chosen layer."""
        return self.axes.value or layer_axes(self.chosen(), None)

    def wishes(self) -> dict[str, Any]:
        """Return what is said of the stack, as keyword arguments of `running.make_wishes`.

        Raises
        ------
        InputError
            If something cannot be understood.
        """
        spacing = [
            parse_size(edit.value, f"voxel size along {letter}")
            for edit, letter in zip(self.sizes, LETTERS, strict=True)
        ]
        profile, fwhm = self.profile.value, None
        if profile != MEASURED:
            fwhm = parse_automatic(self.thickness.value, "thickness")
        elif self.profile_file.value.is_file():
            profile = str(self.profile_file.value)
        else:
            msg = "choose the file of the slice profile"
            raise InputError(msg)
        return {
            "spacing": spacing,
            "axis": int(self.coarse.value),
            "target": parse_size(self.target.value, "target voxel"),
            "profile": profile,
            "fwhm": fwhm,
            "noise": self.details.chosen_noise(),
        }

    def choices(self) -> dict[str, Any]:
        """Return how to learn and to restore, as keyword arguments of `running.Choices`.

        Raises
        ------
        InputError
            If the name to keep the network as cannot be used.
        """
        return self.details.choices() | self.network.choices()

    def follow_layers(self) -> None:
        """Follow the layer list; what was typed stays as long as the layer does."""
        with self.layer.changed.blocked():
            self.layer.reset_choices()
        if self.layer.value is not self._followed:
            self._on_layer()

    def follow_networks(self) -> None:
        """Follow the networks that were kept; the core is loaded by now."""
        self._loaded = True
        self.network.follow()
        if self.layer.value is not None:
            self.network.suggest(str(self.layer.value.name))
        self.check()

    def fill(self) -> None:
        """Take the voxel sizes from the layer, and choose what follows from them."""
        layer = self.layer.value
        self.unit.value = ""
        if layer is not None and "Z" in (names := self.axes.value or ""):
            self.unit.value = unit_text(layer, names)
            for edit, letter in zip(self.sizes, "ZYX", strict=True):
                with edit.changed.blocked():
                    edit.value = f"{abs(float(layer.scale[names.index(letter)])):.6g}"
        self._axis_by_hand, self._suggested_target = False, self.target.value
        self._on_sizes()

    def check(self) -> None:
        """Say what the result will be, or why there can be none."""
        if not self._loaded:
            self._say("Loading...", fits=False)
            return
        try:
            stack = self.stack
        except HrsrError as error:
            self.network.offer(None)
            self._say(str(error), fits=False)
            return
        self.network.offer(stack)
        source = layer_source(self.layer.value)
        volumes = math.prod(source.shape) // math.prod(stack.shape)
        self._say(grid_text(stack, volumes, source.dtype.itemsize, self.unit.value), fits=True)

    def close_setup(self) -> None:
        """Let go of everything: the window is closing."""
        self.checked.disconnect()
        self.resized.disconnect()
        self._follow(None)

    def _say(self, text: str, *, fits: bool) -> None:
        self.grid.value = text
        self.checked.emit(fits)

    def _layer_choices(self, _: object) -> list[tuple[str, Any]]:
        return [(str(layer.name), layer) for layer in self._viewer.layers if is_image(layer)]

    def _axes_choices(self, _: object) -> list[tuple[str, str]]:
        return [] if self.layer.value is None else axes_choices(self.layer.value, 3)

    def _follow(self, layer: Any) -> None:
        if self._followed is not None:
            self._followed.events.scale.disconnect(self.fill)
            self._followed.events.units.disconnect(self.fill)
        self._followed = layer
        if layer is not None:
            layer.events.scale.connect(self.fill)
            layer.events.units.connect(self.fill)

    def _on_layer(self) -> None:
        self._follow(self.layer.value)
        with self.axes.changed.blocked():
            self.axes.reset_choices()
        self.axes.visible = len(self.axes.choices) > 1
        if self.layer.value is not None:
            self.network.suggest(str(self.layer.value.name))
        self.fill()
        self.resized.emit()

    def _on_sizes(self) -> None:
        try:
            sizes = [parse_size(edit.value, "voxel size") for edit in self.sizes]
        except InputError:
            self.check()
            return
        if not self._axis_by_hand:
            with self.coarse.changed.blocked():
                self.coarse.value = coarse_axis(sizes)
        if self.target.value == self._suggested_target:
            self._suggested_target = f"{finest_pixel(sizes, self.coarse.value):.6g}"
            with self.target.changed.blocked():
                self.target.value = self._suggested_target
        self.check()

    def _on_axis(self) -> None:
        self._axis_by_hand = True
        self._on_sizes()

    def _on_profile(self) -> None:
        self.profile_file.visible = self.profile.value == MEASURED
        self.thickness.visible = self.profile.value != MEASURED
        self.resized.emit()
        self.check()

    def _show_options(self, shown: bool) -> None:
        self.details.visible = shown
        self.resized.emit()
