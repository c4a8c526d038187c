"""The voxel sizes of a stack and of its result: the layer's, unless somebody types others."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, Container, Label, LineEdit
from psygnal import Signal

from napari_hrsr._napari.isotropic_choices import (
    LETTERS,
    coarse_axis,
    finest_pixel,
    parse_size,
    unit_text,
)
from napari_hrsr.errors import InputError


class IsotropicVoxels:
    """Voxel sizes, which axis is coarse, and the size of the result's voxels.

    Attributes
    ----------
    widgets : list of Widget
        To be put one below the other, with labels.
    changed : Signal()
        Something was typed, chosen, or taken from a layer.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._axis_by_hand = False
        self._suggested = ""
        self.sizes = [
            LineEdit(tooltip=f"Distance of the voxels along {letter}.") for letter in LETTERS
        ]
        self.unit = Label(value="")
        self.row = Container(
            label="Voxel z, y, x",
            widgets=[*self.sizes, self.unit],
            layout="horizontal",
            labels=False,
        )
        self.row.margins = (0, 0, 0, 0)
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
        self.widgets = [self.row, self.coarse, self.target]
        for edit in self.sizes:
            edit.native.setMinimumWidth(40)
            edit.changed.connect(self._follow)
        self.coarse.changed.connect(self._on_axis)
        self.target.changed.connect(lambda: self.changed.emit())

    def fill(self, layer: Any, names: str | None) -> None:
        """Take the sizes from a layer, and choose what follows from them.

        Parameters
        ----------
        layer : napari.layers.Image or None
            The stack.
        names : str or None
            One letter per axis; None where there is no stack.
        """
        self.unit.value = unit_text(layer, names) if names else ""
        for edit, letter in zip(self.sizes, "ZYX", strict=True):
            with edit.changed.blocked():
                edit.value = f"{layer_size(layer, names, letter):.6g}" if names else ""
        self._axis_by_hand, self._suggested = False, self.target.value
        self._follow()

    def wishes(self) -> dict[str, Any]:
        """Return what is chosen, as keyword arguments of `running.make_wishes`.

        Raises
        ------
        InputError
            If a size is none.
        """
        spacing = [
            parse_size(edit.value, f"voxel size along {letter}")
            for edit, letter in zip(self.sizes, LETTERS, strict=True)
        ]
        target = parse_size(self.target.value, "target voxel")
        return {"spacing": spacing, "axis": int(self.coarse.value), "target": target}

    def _on_axis(self) -> None:
        self._axis_by_hand = True
        self._follow()

    def _follow(self) -> None:
        """Let the axis and the target follow from the sizes, unless somebody chose them."""
        try:
            sizes = [parse_size(edit.value, "voxel size") for edit in self.sizes]
        except InputError:
            self.changed.emit()
            return
        if not self._axis_by_hand:
            with self.coarse.changed.blocked():
                self.coarse.value = coarse_axis(sizes)
        if self.target.value == self._suggested:
            self._suggested = f"{finest_pixel(sizes, self.coarse.value):.6g}"
            with self.target.changed.blocked():
                self.target.value = self._suggested
        self.changed.emit()


def layer_size(layer: Any, names: str, letter: str) -> float:
    """Return a layer's voxel size along an axis."""
    return abs(float(layer.scale[names.index(letter)]))
