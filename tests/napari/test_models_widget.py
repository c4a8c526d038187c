"""The widget "Models" in a real window, with real files."""

import hashlib
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from napari_hrsr._napari import models_widget
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr._napari.models_widget import Models
from napari_hrsr._napari.widget import SuperResolution2D
from napari_hrsr.models.catalog import default_model, list_models
from napari_hrsr.models.foreign import trust

TIMEOUT = 60_000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The user's models, in a folder of the test's own."""
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    monkeypatch.setattr(models_widget, "show_error", shown.append)
    return shown


def dock(viewer, kind=Models):
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name=kind.__name__)
    return widget


def published(path):
    # Not while tests are collected: it takes seconds to import.
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(1)
    network = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=2)
    torch.save(network.state_dict(), path)
    return path


def drop(table, *paths):
    """Drag files onto the table and let them go."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = (
        Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    entering = QDragEnterEvent(QPoint(5, 5), copy, data, left, none)
    QApplication.sendEvent(table.viewport(), entering)
    assert entering.isAccepted()
    QApplication.sendEvent(table.viewport(), QDropEvent(QPointF(5, 5), copy, data, left, none))


@contextmanager
def waiting(signal, qtbot):
    relay = Relay()
    signal.connect(relay.tell)
    with qtbot.wait_signal(relay.told, timeout=TIMEOUT):
        yield


def test_files_that_are_dropped_are_listed_chosen_used_and_removed(
    viewer, qtbot, folder, errors, monkeypatch
):
    super_resolution = dock(viewer, SuperResolution2D)
    widget = dock(viewer)
    assert widget.table.names == [s.name for s in list_models() if s.weights is not None]
    assert not widget.remove_button.isEnabled()
    assert "sha256" in widget.details.toPlainText()

    bad = folder / "bad.pth"
    bad.write_bytes(b"nothing")
    with waiting(widget.adder.ended, qtbot):
        drop(widget.table, bad, published(folder / "tiny.pth"))
        assert widget.adder.running
    (message,) = errors
    assert message.startswith("bad.pth ")
    assert widget.status.text() == "Added tiny; 1 refused"
    assert widget.table.chosen.name == "tiny"
    row = [
        widget.table.item(widget.table.currentRow(), column).text()
        for column in range(widget.table.columnCount())
    ]
    assert row[:5] == ["tiny", "upscale", "2D", "2", "RGB"]
    assert row[6:9] == ["7", "not stated in the file", "added: tiny.pth"]
    assert "tiny" in super_resolution.model.choices

    widget.make_default()
    assert default_model(2) == "tiny"
    assert "tiny (default)" in widget.table.item(widget.table.currentRow(), 0).text()

    monkeypatch.setattr(widget, "ask_remove", lambda spec: False)
    widget.remove()
    assert "tiny" in widget.table.names
    monkeypatch.setattr(widget, "ask_remove", lambda spec: spec.name == "tiny")
    widget.remove()
    assert "tiny" not in widget.table.names
    assert "tiny" not in super_resolution.model.choices
    assert default_model(2) == "general-2d-x2"


def test_adding_stops_when_it_is_cancelled(viewer, qtbot, folder, errors):
    widget = dock(viewer)
    files = [published(folder / f"network-{number}.pth") for number in range(20)]
    with waiting(widget.adder.ended, qtbot):
        assert widget.add(files)
        assert not widget.add(files)
        widget.cancel_button.click()
    assert "ancelled" in widget.status.text()
    assert not errors
    assert len([name for name in widget.table.names if name.startswith("network")]) < 20
    assert widget.add_button.isEnabled()


def scripted(path, seed):
    torch.manual_seed(seed)
    layers = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.PixelShuffle(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Sequential(*layers).eval()), str(path))
    return path


def asked(widget, qtbot):
    """Wait until it is asked whether a file is trusted."""
    qtbot.wait_until(
        lambda: widget.dialog is not None and widget.dialog.isVisible(), timeout=TIMEOUT
    )
    return widget.dialog


def test_code_of_others_is_asked_about_and_then_used_like_any_model(
    viewer, qtbot, folder, errors, monkeypatch
):
    monkeypatch.setattr(trust, "_trusted", set())
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("in this process"))
    super_resolution = dock(viewer, SuperResolution2D)
    widget = dock(viewer)
    path = scripted(folder / "net.pt", 0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    before = widget.table.names

    with waiting(widget.adder.ended, qtbot):
        drop(widget.table, path)
        dialog = asked(widget, qtbot)
        assert "net.pt" in dialog.text()
        told = dialog.informativeText()
        assert digest in told.replace("<br>", "")
        assert "read your files" in told
        assert dialog.defaultButton() is dialog.decline_button
        dialog.reject()
    assert widget.status.text() == "Not trusted and not added: net.pt"
    assert (widget.table.names, errors) == (before, [])
    assert not (folder / "models").exists()

    # Cancel takes the question back.
    with waiting(widget.adder.ended, qtbot):
        assert widget.add([path])
        asked(widget, qtbot)
        widget.cancel_button.click()
    assert widget.dialog is None
    assert widget.status.text() == "Cancelled"

    with waiting(widget.adder.ended, qtbot):
        assert widget.add([path])
        asked(widget, qtbot).trust_button.click()
    assert widget.status.text() == "Added net"
    assert "in a process of its own" in widget.details.toPlainText()
    # As in another session.
    monkeypatch.setattr(trust, "_trusted", set())
    viewer.add_image(np.random.default_rng(0).random((30, 40), np.float32), name="cells")
    super_resolution.model.value = "net"
    with waiting(super_resolution.controller.ended, qtbot):
        assert super_resolution.run()
    assert viewer.layers[-1].data.shape == (60, 80)

    # Another content under the same name is asked about.
    with waiting(widget.adder.ended, qtbot):
        assert widget.add([scripted(path, 1)])
        assert digest not in asked(widget, qtbot).informativeText().replace("<br>", "")
        widget.dialog.decline_button.click()
    monkeypatch.setattr(widget, "ask_remove", lambda spec: spec.name == "net")
    widget.remove()
    assert not trust.is_trusted(digest)
    assert errors == []


def test_interpolation_is_listed_when_asked_for(viewer):
    widget = dock(viewer)
    assert "cubic-2x2" not in widget.table.names
    widget.formulas.setChecked(True)
    assert widget.table.names == [spec.name for spec in list_models()]
