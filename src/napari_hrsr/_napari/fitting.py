"""Make widgets fit into a narrow dock."""

from __future__ import annotations

from magicgui.widgets import ComboBox, Label
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy


def narrow(combo: ComboBox) -> None:
    """Let long names not widen the dock at the picture's cost."""
    combo.native.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.native.setMinimumContentsLength(18)


def wrap(label: Label) -> None:
    """Let a long text take as many lines as it needs, from the left edge on."""
    label.native.setAlignment(Qt.AlignmentFlag.AlignLeft)
    label.native.setWordWrap(True)
    label.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
