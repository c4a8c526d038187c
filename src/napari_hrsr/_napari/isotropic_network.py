"""Learn a new network from the stack, or use one that was kept before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit

from napari_hrsr._napari.fitting import narrow
from napari_hrsr._napari.isotropic_choices import fitting_networks, network_name
from napari_hrsr.errors import InputError

if TYPE_CHECKING:
    from napari_hrsr.isotropic.axial_model import AxialFacts
    from napari_hrsr.isotropic.stack import Stack

LEARN = "Learn from this stack"


class IsotropicNetwork:
    """Which network, how long to learn, and the name to keep it as.

    Attributes
    ----------
    widgets : list of Widget
        To be put one below the other, with labels.
    """

    def __init__(self) -> None:
        self._known: Mapping[str, AxialFacts] = {}
        self._stack: Stack | None = None
        self._suggested = ""
        self.network = ComboBox(
            label="Network",
            choices=self._network_choices,
            tooltip="Learn a new one, or use one that was kept from a stack of the same kind, "
            "with slices as many pixels apart.",
        )
        self.minutes = FloatSpinBox(
            label="Minutes",
            value=3,
            min=0.01,
            max=10_000,
            step=1,
            tooltip="How long to learn. The longer, the better; stopping earlier is fine.",
        )
        self.keep = LineEdit(
            label="Keep as",
            tooltip="The learned network is listed by this name afterwards, for other stacks of "
            "the same kind. Empty: it is forgotten.",
        )
        self.widgets = [self.network, self.minutes, self.keep]
        narrow(self.network)
        self.network.changed.connect(self._show_learning)

    def follow(self) -> None:
        """Follow the folder of the networks that were kept."""
        from napari_hrsr.isotropic.axial_model import axial_models

        self._known = axial_models()
        self.network.reset_choices()

    def offer(self, stack: Stack | None) -> None:
        """Offer the networks that fit a stack."""
        self._stack = stack
        self.network.reset_choices()

    def suggest(self, layer: str) -> None:
        """Name the network after a layer, unless a name was typed."""
        if self.keep.value in ("", self._suggested):
            self._suggested = network_name(layer, self._known)
            self.keep.value = self._suggested

    def choices(self) -> dict[str, Any]:
        """Return which network and how to learn, as keyword arguments of `running.Choices`.

        Raises
        ------
        InputError
            If the name cannot be used.
        """
        if self.network.value:
            return {"model": self.network.value}
        from napari_hrsr.isotropic.running import kept_path

        name = self.keep.value.strip()
        if name and kept_path(name).exists():
            msg = f"there is a network {name!r} already: choose another name at 'Keep as'"
            raise InputError(msg)
        return {"minutes": float(self.minutes.value), "keep": name or None}

    def _network_choices(self, _: object) -> list[tuple[str, str]]:
        return [(LEARN, ""), *fitting_networks(self._known, self._stack)]

    def _show_learning(self) -> None:
        self.minutes.visible = self.keep.visible = not self.network.value
