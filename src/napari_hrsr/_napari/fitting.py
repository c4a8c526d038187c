"""Make widgets fit into a narrow dock."""

from __future__ import annotations

from collections.abc import Iterator

from magicgui.widgets import ComboBox, Container, Label
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QWidget


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


class AlignedLabels(QObject):
    """Gives the labels of containers one width, whatever the font of the window is.

    Parameters
    ----------
    containers : Container
        With labels; one below the other.
    """

    def __init__(self, *containers: Container) -> None:
        super().__init__(containers[0].native)
        self._natives = [container.native for container in containers]
        for native in self._natives:
            native.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Measure again when the window shows the container, or changes its font."""
        if event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.FontChange):
            self.align()
        return False

    def align(self) -> None:
        """Measure the labels, and make all as wide as the widest."""
        labels = [label for native in self._natives for label in _labels(native)]
        for label in labels:
            label.ensurePolished()
            label.setMinimumWidth(0)
        widest = max(label.sizeHint().width() for label in labels)
        for label in labels:
            label.setFixedWidth(widest)


def _labels(native: QWidget) -> Iterator[QLabel]:
    """Find the label at the beginning of each row that has one."""
    rows = native.layout()
    for number in range(rows.count()):
        row = rows.itemAt(number).widget()
        columns = None if row is None else row.layout()
        if isinstance(columns, QHBoxLayout) and isinstance(columns.itemAt(0).widget(), QLabel):
            yield columns.itemAt(0).widget()
