"""What is to be made isotropic, and how: the form of the widget "Make isotropic"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit
from psygnal import Signal

from napari_hrsr._napari.choices import axes_choices, is_image
from napari_hrsr._napari.fitting import AlignedLabels, narrow, wrap
from napari_hrsr._napari.isotropic_choices import format_sizes, grid_text, parse_automatic
from napari_hrsr._napari.isotropic_network import IsotropicNetwork
from napari_hrsr._napari.isotropic_options import IsotropicOptions
from napari_hrsr._napari.isotropic_voxels import IsotropicVoxels, layer_size
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
        self._loaded = False
        self._build()
        self._connect()
        self._on_layer()

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
        self.voxels = IsotropicVoxels()
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
                self.layer, self.axes, *self.voxels.widgets, self.grid, self.profile,
                self.profile_file, self.thickness, *self.network.widgets,
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
        self.details.visible = self.profile_file.visible = False

    def _connect(self) -> None:
        self.layer.changed.connect(self._on_layer)
        self.axes.changed.connect(self.fill)
        self.voxels.changed.connect(self.check)
        for widget in (self.thickness, self.profile_file, self.details.noise):
            widget.changed.connect(self.check)
        self.profile.changed.connect(self._on_profile)
        self.network.network.changed.connect(lambda: self.resized.emit())
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
        profile, fwhm = self.profile.value, None
        if profile != MEASURED:
            fwhm = parse_automatic(self.thickness.value, "thickness")
        elif self.profile_file.value.is_file():
            profile = str(self.profile_file.value)
        else:
            msg = "choose the file of the slice profile"
            raise InputError(msg)
        noise = self.details.chosen_noise()
        return self.voxels.wishes() | {"profile": profile, "fwhm": fwhm, "noise": noise}

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
        self.voxels.fill(self.layer.value, self.axes.value)

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
        text = grid_text(stack, volumes, source.dtype.itemsize, self.voxels.unit.value)
        own = [layer_size(self.layer.value, self.names(), letter) for letter in "ZYX"]
        if not np.allclose(own, stack.spacing, rtol=1e-3):
            text += f"\nThe result is laid on the layer, which has voxels of {format_sizes(own)}."
        self._say(text, fits=True)

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

    def _on_profile(self) -> None:
        self.profile_file.visible = self.profile.value == MEASURED
        self.thickness.visible = self.profile.value != MEASURED
        self.resized.emit()
        self.check()

    def _show_options(self, shown: bool) -> None:
        self.details.visible = shown
        self.resized.emit()
