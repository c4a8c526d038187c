"""Writing the report of an evaluation, after asking where to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_hrsr.errors import HrsrError

if TYPE_CHECKING:
    from napari_hrsr.evaluation.evaluated import Evaluation
    from napari_hrsr.evaluation.subject import Subject


def ask_report_path(parent: QWidget, subject: Subject) -> tuple[Path, bool] | None:
    """Ask where a report shall go.

    Parameters
    ----------
    parent : QWidget
        Of the dialog.
    subject : Subject
        What was evaluated: its name is suggested.

    Returns
    -------
    (Path, bool) or None
        Where to, and whether a file that is there was agreed to be replaced;
        None if the dialog was closed.
    """
    name = subject.names.get("result", "result").replace("/", "-")
    text, _ = QFileDialog.getSaveFileName(parent, "Save report", f"{name}.html", "Page (*.html)")
    if not text:
        return None
    path = Path(text if text.lower().endswith((".html", ".htm")) else f"{text}.html")
    return path, str(path) == text


def save_in_background(
    path: Path,
    found: tuple[Evaluation, Subject],
    told: Callable[[str], None],
    *,
    overwrite: bool,
) -> Any:
    """Write a report in a worker thread, and notify people.

    Parameters
    ----------
    path : Path
        Where to.
    found : tuple
        The evaluation, and what it is of.
    told : callable
        Called with what people were told, in the thread of the window.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    WorkerBase
        To be kept until it has finished.
    """

    def notify(outcome: tuple[str, bool]) -> None:
        message, written = outcome
        (show_info if written else show_error)(message)
        told(message)

    worker = create_worker(
        _write, path, *found, overwrite, _start_thread=False,
        _progress={"total": 1, "desc": f"Saving {path.name}"},
    )  # fmt: skip
    worker.yielded.connect(notify)
    worker.start()
    return worker


def _write(path: Path, evaluation: Evaluation, subject: Subject, overwrite: bool) -> Any:
    from napari_hrsr.evaluation.report import write_report

    try:
        write_report(path, evaluation, subject, overwrite=overwrite)
    except (HrsrError, OSError) as error:
        yield f"{path.name}: {error}", False
    else:
        yield f"Saved {path.name}", True
