"""The widget "Fuse frames" in a real window, with real runs."""

from contextlib import contextmanager

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from napari_hrsr._napari import run_container
from napari_hrsr._napari.fuse_widget import FuseFrames
from napari_hrsr._napari.isotropic_controller import Relay

TIMEOUT = 60_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    monkeypatch.setattr(run_container, "show_error", shown.append)
    return shown


def burst(count=5, size=36, same=False):
    """Frames of one scene at different fractions of a pixel."""
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.normal(size=(2 * size + 16, 2 * size + 16)), 1.5)
    scene = 100 + 40 * scene / scene.std()
    frames = []
    for number in range(count):
        away = (0, 0) if same or number == 0 else rng.uniform(-3, 3, 2)
        moved = shift(scene, away, order=3, mode="nearest")[8:-8, 8:-8]
        frames.append(moved.reshape(size, 2, size, 2).mean((1, 3)))
    noisy = np.stack(frames) + rng.normal(0, 0.5, (count, size, size))
    return noisy.round().clip(0).astype(np.uint16)


def dock(viewer):
    widget = FuseFrames(viewer)
    viewer.window.add_dock_widget(widget, name="Fuse frames")
    return widget


@contextmanager
def ending(widget, qtbot):
    relay = Relay()
    widget.ended.connect(relay.tell)
    with qtbot.wait_signal(relay.told, timeout=TIMEOUT):
        yield


def corners(layer, axes):
    """World positions of the outer corners of a layer's pixels, along some of its axes."""
    shape = np.array(layer.data.shape)[axes]
    found = []
    for corner in np.ndindex(*(2,) * len(axes)):
        point = np.zeros(layer.ndim)
        point[axes] = np.array(corner) * shape - 0.5
        found.append(np.array(layer.data_to_world(point))[axes])
    return np.array(found)


def test_frames_of_a_layer_become_one_that_lies_on_them(viewer, qtbot, errors):
    source = viewer.add_image(
        burst(), name="burst", scale=(1, 0.5, 0.5), translate=(0, 7, -3), colormap="magma",
        contrast_limits=(0, 200), units=("s", "um", "um"),
    )  # fmt: skip
    before = source.data.copy()
    widget = dock(viewer)
    widget.moving.value = True
    with ending(widget, qtbot):
        assert widget.start()
        assert not widget.start()
    assert errors == []
    fused = viewer.layers["burst fused"]
    assert fused.data.shape == (72, 72)
    assert fused.data.dtype == np.uint16
    assert fused.colormap.name == "magma"
    assert [str(u) for u in fused.units] == [str(u) for u in source.units][1:]
    np.testing.assert_allclose(corners(fused, [0, 1]), corners(source, [1, 2]), atol=1e-9)
    moving = viewer.layers["burst moving"]
    np.testing.assert_allclose(corners(moving, [0, 1]), corners(source, [1, 2]), atol=1e-9)
    np.testing.assert_array_equal(source.data, before)
    assert "finer detail" in widget.message.value
    assert widget.plot.shifts.shape == (5, 2)
    assert widget.status.value.startswith("Done in")
    assert widget.start_button.enabled
    assert not widget.cancel_button.enabled


def test_identical_frames_are_said_to_hold_no_more_detail(viewer, qtbot, errors):
    viewer.add_image(burst(same=True), name="burst")
    widget = dock(viewer)
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    assert "no finer" in widget.message.value
    assert "burst fused" in viewer.layers


def test_selected_layers_are_frames(viewer, qtbot, errors):
    for number, frame in enumerate(burst(3)):
        viewer.add_image(frame, name=f"frame {number}", scale=(0.5, 0.5))
    widget = dock(viewer)
    widget.selected.value = True
    viewer.layers.selection = set()
    widget.start()
    assert "select two image layers" in errors.pop()
    viewer.layers.selection = set(viewer.layers)
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    fused = viewer.layers["frame 0 fused"]
    np.testing.assert_allclose(
        corners(fused, [0, 1]), corners(viewer.layers["frame 0"], [0, 1]), atol=1e-9
    )


def test_cancel_leaves_nothing(viewer, qtbot, errors):
    viewer.add_image(burst(8, 64), name="burst")
    widget = dock(viewer)
    with ending(widget, qtbot):
        widget.start()
        widget.cancel()
    assert [layer.name for layer in viewer.layers] == ["burst"]
    assert widget.status.value == "Cancelled"
    assert errors == []


def test_what_cannot_be_fused_is_told(viewer, qtbot, errors):
    widget = dock(viewer)
    assert not widget.start()
    assert "open an image" in errors.pop()
    viewer.add_image(burst(1), name="single")
    widget.reset_choices()
    widget.noise.value = "much"
    assert not widget.start()
    assert "noise" in errors.pop()
    widget.noise.value = "Automatic"
    with ending(widget, qtbot):
        widget.start()
    assert "frame" in errors.pop()
    assert [layer.name for layer in viewer.layers] == ["single"]


def test_closing_the_widget_stops_the_run(viewer, qtbot):
    viewer.add_image(burst(8, 64), name="burst")
    widget = dock(viewer)
    widget.start()
    cancel = widget._run.cancel
    viewer.window.remove_dock_widget(widget.native)
    widget.native.deleteLater()
    qtbot.wait_until(cancel.is_set, timeout=TIMEOUT)
    qtbot.wait_until(lambda: not widget.running, timeout=TIMEOUT)
    assert [layer.name for layer in viewer.layers] == ["burst"]
