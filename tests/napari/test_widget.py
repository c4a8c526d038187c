"""The widgets in a real window."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import torch

from napari_hrsr import jobs, upscale
from napari_hrsr._napari import controller as controller_module
from napari_hrsr._napari.options import ON_DISK
from napari_hrsr._napari.widget import (
    SLICES,
    VISIBLE,
    SuperResolution,
    SuperResolution2D,
    SuperResolution3D,
)
from napari_hrsr.files import read_image
from napari_hrsr.running import Runner

TIMEOUT = 60_000


@pytest.fixture(autouse=True)
def one_tile_at_a_time(monkeypatch):
    """Small tiles are run in batches; here every tile is to be one step."""
    monkeypatch.setattr(jobs, "choose_batch", lambda *_: 1)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    monkeypatch.setattr(controller_module, "show_error", shown.append)
    return shown


def image(shape=(90, 70), dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    smooth = np.add.outer(np.sin(np.arange(shape[-2]) / 5), np.cos(np.arange(shape[-1]) / 4))
    noisy = smooth + rng.normal(0, 0.05, shape)
    return ((noisy + 3) * 40).astype(dtype)


def dock(viewer, kind=SuperResolution2D, model="cubic-2x2", tile="16"):
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name=kind.__name__)
    if model:
        widget.model.value = model
    widget.details.tile.value = tile
    return widget


def run(widget, qtbot):
    assert widget.run()
    wait_for_end(widget, qtbot)


def wait_for_end(widget, qtbot):
    qtbot.wait_until(lambda: not widget.controller.running, timeout=TIMEOUT)


class Gate:
    """Lets the network run a given number of times, then holds it until opened."""

    def __init__(self, monkeypatch, passes):
        self.reached = threading.Event()
        self.opened = threading.Event()
        forward, left = Runner._forward, [passes]

        def held(runner, *arguments):
            left[0] -= 1
            if left[0] < 0:
                self.reached.set()
                assert self.opened.wait(30)
            return forward(runner, *arguments)

        monkeypatch.setattr(Runner, "_forward", held)


@pytest.fixture
def gate(monkeypatch):
    gates = []

    def make(passes):
        gates.append(Gate(monkeypatch, passes))
        return gates[-1]

    yield make
    for made in gates:
        made.opened.set()


def corners(layer):
    """World positions of the outer corners of a layer's pixels."""
    n = layer.ndim
    shape = np.array(layer.data.shape[:n])
    points = np.array(list(np.ndindex(*(2,) * n))) * shape - 0.5
    return np.array([layer.data_to_world(point) for point in points])


def test_result_lies_exactly_on_its_source(viewer, qtbot):
    source = viewer.add_image(
        image(),
        name="cells",
        scale=(0.3, 0.2),
        translate=(7, -3),
        rotate=20,
        shear=[0.1],
        affine=[[1, 0.2, 4], [0, 1.5, -2], [0, 0, 1]],
        units=("um", "um"),
        axis_labels=("y", "x"),
        colormap="magma",
        contrast_limits=(50, 200),
        gamma=0.8,
    )
    widget = dock(viewer)
    run(widget, qtbot)
    result = viewer.layers["cells x2"]
    np.testing.assert_allclose(corners(result), corners(source), atol=1e-9)
    assert result.colormap.name == "magma"
    assert tuple(result.contrast_limits) == (50, 200)
    assert result.gamma == 0.8
    assert [str(unit) for unit in result.units] == ["micrometer", "micrometer"]
    assert result.axis_labels == ("y", "x")
    assert result.data.dtype == np.uint16
    np.testing.assert_array_equal(result.data, upscale(source.data, "cubic-2x2"))
    record = result.metadata["napari_hrsr"]
    assert record["model"] == "cubic-2x2"
    assert record["source"] == "cells"
    assert widget.run_button.enabled
    assert not widget.cancel_button.enabled


def test_volume_widget_upscales_all_three_axes(viewer, qtbot):
    source = viewer.add_image(image((6, 30, 25), np.uint8), scale=(3, 1, 1))
    run(dock(viewer, SuperResolution3D, "cubic-2x2x2"), qtbot)
    result = viewer.layers[-1]
    assert result.data.shape == (12, 60, 50)
    np.testing.assert_allclose(result.scale, (1.5, 0.5, 0.5))
    np.testing.assert_allclose(corners(result), corners(source), atol=1e-9)


def test_trained_models_are_the_default(viewer):
    viewer.add_image(image())
    flat = dock(viewer, SuperResolution2D, None)
    assert flat.model.value == "general-2d-x2"
    viewer.add_image(image((4, 30, 25)))
    deep = dock(viewer, SuperResolution3D, None)
    assert deep.model.value == "general-3d-x2"


def test_only_models_of_the_right_dimension_are_offered(viewer):
    viewer.add_image(image((4, 30, 25)))
    flat, deep = dock(viewer, SuperResolution2D), dock(viewer, SuperResolution3D, None)
    assert "cubic-2x2x2" not in flat.model.choices
    assert "cubic-2x2x2" in deep.model.choices
    assert "cubic-2x2" not in deep.model.choices


def test_choices_follow_the_layer_list(viewer):
    widget = dock(viewer, model=None)
    assert not widget.run_button.enabled
    first = viewer.add_image(image(), name="first")
    second = viewer.add_image(image(), name="second")
    assert set(widget.layer.choices) == {first, second}
    viewer.layers.remove("first")
    assert list(widget.layer.choices) == [second]
    viewer.add_labels(np.zeros((9, 9), int))
    assert list(widget.layer.choices) == [second]
    viewer.layers.remove("second")
    assert not widget.run_button.enabled


def test_axes_are_asked_for_only_when_the_labels_do_not_say(viewer):
    widget = dock(viewer, model=None)
    plain = viewer.add_image(image((5, 30, 25)), name="plain")
    labelled = viewer.add_image(image((5, 30, 25)), name="named", axis_labels=("t", "y", "x"))
    widget.layer.value = plain
    assert widget.axes.value == "QYX"
    assert len(widget.axes.choices) == 3
    widget.layer.value = labelled
    assert list(widget.axes.choices) == ["TYX"]


def test_visible_part_equals_the_crop_of_the_whole(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    source = viewer.add_image(image((300, 280)), name="wide")
    viewer.scene.camera.zoom *= 4
    qtbot.wait_until(lambda: source.corner_pixels[0, 0] > 0)
    widget = dock(viewer, model="lanczos-2x2")
    widget.part.value = VISIBLE
    run(widget, qtbot)
    result = viewer.layers["wide x2"]
    (y0, y1), (x0, x1) = result.metadata["napari_hrsr"]["region"]
    assert 0 < y0 < y1 < 300
    whole = upscale(source.data, "lanczos-2x2")
    np.testing.assert_array_equal(result.data, whole[2 * y0 : 2 * y1, 2 * x0 : 2 * x1])
    np.testing.assert_allclose(
        result.data_to_world((-0.5, -0.5)), source.data_to_world((y0 - 0.5, x0 - 0.5))
    )


def test_slice_range_lies_on_its_slices(viewer, qtbot):
    source = viewer.add_image(image((8, 30, 25)), name="stack", scale=(4, 1, 1))
    widget = dock(viewer)
    widget.part.value = SLICES
    widget.first_slice.value, widget.last_slice.value = 2, 4
    run(widget, qtbot)
    result = viewer.layers["stack x2"]
    assert result.data.shape == (3, 60, 50)
    np.testing.assert_array_equal(result.data, upscale(source.data, "cubic-2x2", axes="ZYX")[2:5])
    assert result.data_to_world((0, 0, 0))[0] == source.data_to_world((2, 0, 0))[0]


def test_selected_layers_in_one_go(viewer, qtbot):
    first = viewer.add_image(image(seed=1), name="a")
    viewer.add_image(image(seed=2), name="left alone")
    third = viewer.add_image(image(seed=3), name="c")
    widget = dock(viewer)
    widget.all_selected.value = True
    viewer.layers.selection = {first, third}
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["a", "left alone", "c", "a x2", "c x2"]


def test_colour_image(viewer, qtbot):
    data = np.stack([image(dtype=np.uint8, seed=s) for s in range(3)], axis=-1)
    viewer.add_image(data, rgb=True, name="slide")
    run(dock(viewer), qtbot)
    result = viewer.layers["slide x2"]
    assert result.rgb
    assert result.data.shape == (180, 140, 3)


def test_progress_counts_tiles_and_the_result_appears_live(make_napari_viewer_proxy, qtbot, gate):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    held = gate(6)
    widget.run()
    qtbot.wait_until(lambda: widget.controller.tiles_done >= 1, timeout=TIMEOUT)
    assert held.reached.wait(30)
    assert widget.bar.visible
    assert 0 < widget.bar.value < widget.bar.max
    assert "left" in widget.status.value
    live = viewer.layers["cells x2"].data
    assert live.any()
    assert (live == 0).any()
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert not widget.bar.visible
    assert (viewer.layers["cells x2"].data > 0).all()


@pytest.mark.parametrize("keep", [False, True])
def test_cancel(viewer, qtbot, gate, monkeypatch, keep):
    source = viewer.add_image(image(), name="cells")
    before = source.data.copy()
    widget = dock(viewer)
    held = gate(6)
    monkeypatch.setattr(SuperResolution, "ask_keep", lambda _: keep)
    widget.run()
    qtbot.wait_until(lambda: widget.controller.tiles_done >= 1, timeout=TIMEOUT)
    widget.cancel()
    held.opened.set()
    wait_for_end(widget, qtbot)
    names = [layer.name for layer in viewer.layers]
    assert names == (["cells", "cells x2 (incomplete)"] if keep else ["cells"])
    if keep:
        assert viewer.layers[-1].metadata["napari_hrsr"]["complete"] is False
    assert widget.run_button.enabled
    assert not [t for t in threading.enumerate() if t.name.startswith("hrsr-")]
    np.testing.assert_array_equal(source.data, before)


@pytest.mark.parametrize(
    ("error", "tile"),
    [
        (RuntimeError("shape mismatch"), 0),
        (torch.OutOfMemoryError("CUDA out of memory"), 7),
        (MemoryError(), 0),
        (ValueError("a bug"), 7),
        (KeyboardInterrupt(), 0),
    ],
    ids=["RuntimeError", "OutOfMemoryError", "MemoryError", "ValueError", "KeyboardInterrupt"],
)
def test_failure_is_told_once_and_the_run_button_comes_back(
    viewer, qtbot, monkeypatch, errors, error, tile
):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    forward, calls = Runner._forward, []

    def fail(runner, *arguments):
        calls.append(1)
        if len(calls) > tile:
            raise error
        return forward(runner, *arguments)

    monkeypatch.setattr(Runner, "_forward", fail)
    run(widget, qtbot)
    assert len(errors) == 1
    assert "cells" in errors[0]
    assert [layer.name for layer in viewer.layers] == ["cells"]
    assert widget.run_button.enabled
    monkeypatch.setattr(Runner, "_forward", forward)
    run(widget, qtbot)
    assert "cells x2" in viewer.layers


def test_result_agrees_with_its_source(viewer, qtbot):
    source = viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    widget.consistent.value = True
    widget.details.noise.value = "0"
    run(widget, qtbot)
    result = viewer.layers["cells x2"].data
    means = result.reshape(90, 2, 70, 2).mean((1, 3))
    assert np.abs(means - source.data).max() <= 0.5
    widget.details.blur.value = "0.3, 0.4"
    run(widget, qtbot)
    record = viewer.layers[-1].metadata["napari_hrsr"]["consistent"]
    assert record["psf_sigma"] == [0.6, 0.8]


def test_blur_with_too_many_widths_is_told(viewer, qtbot, errors):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    widget.consistent.value = True
    widget.details.blur.value = "0.3, 0.4, 0.5"
    run(widget, qtbot)
    assert "one per axis" in errors[0]


def test_wrong_option_is_told_before_anything_starts(viewer, qtbot, monkeypatch):
    from napari_hrsr._napari import widget as widget_module

    shown = []
    monkeypatch.setattr(widget_module, "show_error", shown.append)
    viewer.add_image(image())
    widget = dock(viewer, tile="large")
    assert not widget.run()
    assert "tile" in shown[0]
    widget.details.tile.value, widget.details.noise.value = "16", "much"
    assert not widget.run()
    assert "noise" in shown[1]
    assert len(viewer.layers) == 1


def test_image_with_nan_is_refused(viewer, qtbot, errors):
    data = image(dtype=np.float32)
    data[3, 4] = np.nan
    viewer.add_image(data, name="holes", contrast_limits=(0, 1))
    run(dock(viewer), qtbot)
    assert len(errors) == 1
    assert "NaN" in errors[0]
    assert len(viewer.layers) == 1


def test_pressing_run_during_a_run_starts_no_second(viewer, qtbot, gate):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    held = gate(2)
    assert widget.run()
    assert held.reached.wait(30)
    assert not widget.run()
    assert not widget.run_button.enabled
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert len(viewer.layers) == 2


def test_deleting_the_source_does_no_harm(viewer, qtbot, gate, errors):
    source = viewer.add_image(image(), name="cells")
    expected = upscale(source.data, "cubic-2x2")
    widget = dock(viewer)
    held = gate(3)
    widget.run()
    qtbot.wait_until(lambda: widget.controller.tiles_done >= 1, timeout=TIMEOUT)
    viewer.layers.remove("cells")
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert errors == []
    np.testing.assert_array_equal(viewer.layers["cells x2"].data, expected)


def test_deleting_the_result_stops_the_run(viewer, qtbot, gate, errors):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    held = gate(3)
    widget.run()
    qtbot.wait_until(lambda: "cells x2" in viewer.layers, timeout=TIMEOUT)
    viewer.layers.remove("cells x2")
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert errors == []
    assert [layer.name for layer in viewer.layers] == ["cells"]
    assert widget.run_button.enabled


def test_closing_the_dock_stops_the_run(viewer, qtbot, gate):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    held = gate(3)
    widget.run()
    qtbot.wait_until(lambda: widget.controller.tiles_done >= 1, timeout=TIMEOUT)
    widget.native.destroyed.emit()
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["cells"]
    assert not [t for t in threading.enumerate() if t.name.startswith("hrsr-")]


CLOSE_DURING_A_RUN = """
import threading
import napari, numpy as np
from qtpy.QtCore import QTimer
from napari_hrsr import jobs
from napari_hrsr._napari.widget import SuperResolution2D

jobs.choose_batch = lambda *_: 1
viewer = napari.Viewer()
viewer.add_image(np.random.default_rng(0).random((600, 600)), name="cells")
widget = SuperResolution2D(viewer)
viewer.window.add_dock_widget(widget)
widget.details.tile.value = "16"
widget.controller.progressed.connect(lambda done, total, text: done and timer.start(0))
timer = QTimer()
timer.setSingleShot(True)
timer.timeout.connect(viewer.close)
QTimer.singleShot(0, widget.run)
napari.run()
assert widget.controller.tiles_done < 1000
print("left:", [t.name for t in threading.enumerate() if t.name.startswith("hrsr-")])
"""


def test_closing_the_viewer_during_a_run_ends_the_process_cleanly():
    done = subprocess.run(
        [sys.executable, "-c", CLOSE_DURING_A_RUN], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "left: []"
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_result_on_disk(viewer, qtbot, monkeypatch, tmp_path):
    source = viewer.add_image(image((200, 150)), name="cells", scale=(0.5, 0.5), units=("um", "um"))
    widget = dock(viewer, tile="64")
    path = tmp_path / "result.ome.zarr"
    monkeypatch.setattr(SuperResolution, "ask_path", lambda *_: path)
    widget.details.target.value = ON_DISK
    run(widget, qtbot)
    result = viewer.layers["cells x2"]
    finest = result.data[0] if result.multiscale else result.data
    np.testing.assert_array_equal(np.asarray(finest), upscale(source.data, "cubic-2x2"))
    np.testing.assert_allclose(result.scale, (0.25, 0.25))
    np.testing.assert_allclose(result.translate, (-0.125, -0.125))
    stored = read_image(path)
    np.testing.assert_allclose(stored.metadata.scale, (0.25, 0.25))
    np.testing.assert_allclose(stored.metadata.translate, (-0.125, -0.125))
    assert stored.metadata.units == ("micrometer", "micrometer")
    assert stored.record["model"] == "cubic-2x2"


def test_colour_result_on_disk(viewer, qtbot, monkeypatch, tmp_path):
    data = np.stack([image((200, 150), np.uint8, seed=s) for s in range(3)], axis=-1)
    viewer.add_image(data, rgb=True, name="slide")
    widget = dock(viewer, tile="64")
    monkeypatch.setattr(SuperResolution, "ask_path", lambda *_: tmp_path / "slide.ome.zarr")
    widget.details.target.value = ON_DISK
    run(widget, qtbot)
    result = viewer.layers["slide x2"]
    finest = result.data[0] if result.multiscale else result.data
    assert result.rgb
    np.testing.assert_array_equal(np.asarray(finest), upscale(data, "cubic-2x2", axes="YXS"))


@pytest.mark.parametrize("keep", [False, True])
def test_cancelled_result_on_disk(viewer, qtbot, gate, monkeypatch, tmp_path, keep):
    viewer.add_image(image((200, 150)), name="cells")
    widget = dock(viewer, tile="32")
    path = tmp_path / "result.ome.zarr"
    monkeypatch.setattr(SuperResolution, "ask_path", lambda *_: path)
    monkeypatch.setattr(SuperResolution, "ask_keep", lambda _: keep)
    widget.details.target.value = ON_DISK
    held = gate(6)
    widget.run()
    qtbot.wait_until(lambda: widget.controller.tiles_done >= 1, timeout=TIMEOUT)
    widget.cancel()
    held.opened.set()
    wait_for_end(widget, qtbot)
    assert [p.name for p in tmp_path.iterdir()] == (["result.ome.zarr"] if keep else [])
    assert len(viewer.layers) == (2 if keep else 1)
    if keep:
        assert read_image(path).record["complete"] is False


def test_dialog_closed_without_a_path_starts_nothing(viewer, qtbot, monkeypatch):
    viewer.add_image(image())
    widget = dock(viewer)
    widget.details.target.value = ON_DISK
    monkeypatch.setattr(SuperResolution, "ask_path", lambda *_: None)
    assert not widget.run()
    assert widget.run_button.enabled


def test_runs_leave_nothing_behind(viewer, qtbot):
    widget = dock(viewer)
    references = []
    for number in range(3):
        source = viewer.add_image(image(seed=number), name=f"cells {number}")
        widget.layer.value = source
        run(widget, qtbot)
        result = viewer.layers[-1]
        references.append(weakref.ref(result.data))
        viewer.layers.clear()
        del source, result
    qtbot.wait(10)
    gc.collect()
    # napari itself may hold on to the layer that was shown last.
    assert sum(reference() is not None for reference in references) <= 1
    assert not [t for t in threading.enumerate() if t.name.startswith("hrsr-")]
