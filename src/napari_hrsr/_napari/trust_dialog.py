"""Ask whether to run the code in a file: what it is called, its digest, and the risk."""

from __future__ import annotations

import html
from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_hrsr.models.foreign.trust import TrustRequest


class TrustDialog(QMessageBox):
    """A question that waits for an answer while the window goes on.

    Parameters
    ----------
    request : TrustRequest
        What would run.
    answer : callable
        Called once, with whether the user trusts it; closing is no.
    parent : QWidget
        The window.
    """

    def __init__(
        self, request: TrustRequest, answer: Callable[[bool], None], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._answer: Callable[[bool], None] | None = answer
        self.setWindowTitle("Run code of somebody else's?")
        self.setIcon(QMessageBox.Icon.Warning)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(f"<b>{html.escape(request.file)}</b> ({request.kind}) holds code.")
        digests = "".join(
            f"<p>sha256 of {html.escape(name)}:<br><code>{_in_two(sha256)}</code></p>"
            for name, sha256 in request.digests
        )
        self.setInformativeText(
            f"<p>{html.escape(request.risk)}</p>{digests}"
            "<p>It stays trusted until you remove the model; a changed file is asked about again."
            "</p>"
        )
        self.trust_button = self.addButton("Trust this file", QMessageBox.ButtonRole.AcceptRole)
        self.decline_button = self.addButton("Do not open it", QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(self.decline_button)
        self.setEscapeButton(self.decline_button)
        self.finished.connect(self._on_finished)

    def _on_finished(self, _: int) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(self.clickedButton() is self.trust_button)


def _in_two(sha256: str) -> str:
    """Break a digest where a line of a small window ends."""
    half = len(sha256) // 2
    return f"{sha256[:half]}<br>{sha256[half:]}"
