"""The widget "Evaluate" in a real window, with real runs."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from napari.layers import Layer
from scipy.ndimage import gaussian_filter

import napari_hrsr
from napari_hrsr._napari import evaluate_saving, run_container
from napari_hrsr._napari.evaluate_layers import MAP_KEY, find_source, is_result
from napari_hrsr._napari.evaluate_widget import Evaluate
from napari_hrsr._napari.fuse_layer import fused_attributes
from napari_hrsr._napari.isotropic_controller import Relay

TIMEOUT = 120_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    for module in (run_container, evaluate_saving):
        monkeypatch.setattr(module, "show_error", shown.append)
    return shown


def picture(shape=(48, 56), seed=0):
    rng = np.random.default_rng(seed)
    scene = gaussian_filter(rng.normal(size=shape), [0, *[1.5] * (len(shape) - 1)])
    noisy = 1000 + 200 * scene / scene.std() + rng.normal(0, 5, shape)
    return noisy.round().clip(0).astype(np.uint16)


def add_result(viewer, layer, model="cubic-2x2", **options):
    return viewer.add_layer(Layer.create(*napari_hrsr.upscale_layer(layer, model, **options)))


def dock(viewer):
    widget = Evaluate(viewer)
    viewer.window.add_dock_widget(widget, name="Evaluate")
    return widget


@contextmanager
def ending(widget, qtbot, signal="ended"):
    relay = Relay()
    getattr(widget, signal).connect(relay.tell)
    with qtbot.wait_signal(relay.told, timeout=TIMEOUT):
        yield


def corners(layer):
    """World positions of the outer corners of a layer's pixels."""
    shape = np.array(layer.data.shape[: layer.ndim])
    return np.array(
        [
            layer.data_to_world(np.array(corner) * shape - 0.5)
            for corner in np.ndindex(*(2,) * layer.ndim)
        ]
    )


def test_one_click_from_a_result(viewer, qtbot, errors):
    source = viewer.add_image(
        picture(), name="cells", scale=(0.5, 0.4), translate=(7, -3), rotate=20, shear=[0.3],
        units=("um", "um"),
    )  # fmt: skip
    viewer.add_image(picture(seed=1), name="other")
    result = add_result(viewer, source)
    widget = dock(viewer)
    assert widget.layer.value == result
    assert widget.source.value == source
    with ending(widget, qtbot):
        assert widget.start()
        assert not widget.start()
    assert errors == []
    found, subject = widget.found
    assert found.consistency.chi_square > 0
    assert found.voxel_size == (0.25, 0.2)
    assert found.unit == "µm"
    assert subject.names == {"result": result.name, "source": "cells"}
    consistency = viewer.layers[f"{result.name} consistency"]
    assert consistency.data.shape == source.data.shape
    np.testing.assert_allclose(corners(consistency), corners(source), atol=1e-9)
    np.testing.assert_allclose(consistency.data, found.consistency.deviation, rtol=1e-5, atol=1e-5)
    assert tuple(consistency.contrast_limits) == (-5, 5)
    middle = consistency.colormap.map(0.5)[0][:3]
    assert middle.min() > 0.9
    detail = viewer.layers[f"{result.name} unsupported detail"]
    np.testing.assert_allclose(corners(detail), corners(result), atol=1e-9)
    assert not detail.visible
    assert widget.view.isVisibleTo(widget.native)
    assert widget.view.table.rowCount() == len(found.rows())
    assert [c.title for c in widget.view.plot.curves] == [c.title for c in found.curves()]
    assert found.verdicts()[0] in widget.view.summary.text()
    assert widget.status.value.startswith("Done in")
    # Once more: maps are replaced, not heaped up.
    count = len(viewer.layers)
    with ending(widget, qtbot):
        widget.start()
    assert len(viewer.layers) == count


def test_the_map_of_a_part_of_one_time_point_lies_on_that_part(viewer, qtbot, errors):
    source = viewer.add_image(
        picture((3, 48, 56)), name="movie", scale=(2, 0.5, 0.4), translate=(1, 7, -3),
        axis_labels=("t", "y", "x"),
    )  # fmt: skip
    result = add_result(viewer, source, region=[(1, 3), (8, 44), (4, 52)])
    widget = dock(viewer)
    viewer.dims.set_point(0, 5.0)
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    consistency = viewer.layers[f"{result.name} consistency"]
    assert consistency.data.shape == (1, 36, 48)
    first = np.array(consistency.data_to_world([-0.5, -0.5, -0.5]))
    np.testing.assert_allclose(first, source.data_to_world([1.5, 7.5, 3.5]), atol=1e-9)
    assert any("T 1 of 2" in remark for remark in widget.found[0].remarks)
    part = source.data[2, 8:44, 4:52]
    np.testing.assert_array_equal(np.asarray(widget.found[1].source), part)
    assert widget.found[0].consistency.psnr > 30


def test_fused_frames_are_held_against_the_frame_they_lie_on(viewer, qtbot, errors):
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.normal(size=(96, 96)), 3)
    scene = 1000 + 200 * scene / scene.std()
    frames = [scene[k : k + 80, k : k + 80].reshape(40, 2, 40, 2).mean((1, 3)) for k in range(4)]
    burst = np.stack(frames) + rng.normal(0, 3, (4, 40, 40))
    source = viewer.add_image(burst, name="burst", scale=(1, 0.5, 0.5), translate=(0, 7, -3))
    fusion = napari_hrsr.fuse_frames(source, 2, axes="TYX", reference=2)
    result = viewer.add_image(fusion.data, **fused_attributes(source, "TYX", fusion, scale=2))
    moving = viewer.add_image(
        fusion.moving, **fused_attributes(source, "TYX", fusion, scale=1, moving=True)
    )
    widget = dock(viewer)
    assert not is_result(moving)
    assert widget.layer.value == result
    assert widget.source.value == source
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    np.testing.assert_array_equal(np.asarray(widget.found[1].source), burst[2])
    assert widget.found[0].consistency.chi_square < 2
    consistency = viewer.layers[f"{result.name} consistency"]
    assert consistency.data.shape == (1, 40, 40)
    first = np.array(consistency.data_to_world([-0.5, -0.5, -0.5]))
    np.testing.assert_allclose(first, source.data_to_world([1.5, -0.5, -0.5]), atol=1e-9)


def test_a_reference_stands_beside_cubic_interpolation(viewer, qtbot, errors):
    truth = viewer.add_image(picture((64, 72)), name="truth", scale=(0.5, 0.5))
    coarse = truth.data.reshape(32, 2, 36, 2).mean((1, 3)).round().astype(np.uint16)
    source = viewer.add_image(coarse, name="coarse", scale=(1, 1), translate=(0.25, 0.25))
    add_result(viewer, source)
    widget = dock(viewer)
    widget.reference.value = truth
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    found = widget.found[0]
    assert found.reference.cubic is not None
    headings = [widget.view.table.horizontalHeaderItem(c).text() for c in range(3)]
    assert headings == ["", "result", "cubic"]
    assert widget.view.table.item(0, 0).text() == "PSNR, dB"


def test_uncertainty_is_of_the_recorded_model_and_lies_on_the_result(viewer, qtbot, errors):
    source = viewer.add_image(picture(), name="cells", scale=(0.5, 0.4), rotate=30)
    result = add_result(viewer, source, "general-2d-x2")
    widget = dock(viewer)
    widget.uncertainty.value = True
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    assert widget.found[0].uncertainty.model == "general-2d-x2"
    layer = viewer.layers[f"{result.name} uncertainty"]
    np.testing.assert_allclose(corners(layer), corners(result), atol=1e-9)


def test_an_image_of_unknown_origin_is_evaluated_alone(viewer, qtbot, errors):
    layer = viewer.add_image(picture(), name="<b>unknown</b>")
    widget = dock(viewer)
    assert widget.layer.value == layer
    assert widget.source.value is None
    assert not widget.uncertainty.enabled
    with ending(widget, qtbot):
        widget.start()
    assert errors == []
    assert widget.found[0].structure is not None
    assert widget.found[0].consistency is None
    assert [x.name for x in viewer.layers] == ["<b>unknown</b>"]


def test_what_cannot_be_evaluated_is_told(viewer, qtbot, errors):
    widget = dock(viewer)
    assert not widget.start()
    assert "make or open a result" in errors.pop()
    layer = viewer.add_image(np.ones((40, 40)), name="flat")
    other = viewer.add_image(picture((39, 40)), name="other")
    widget.layer.value = layer
    with ending(widget, qtbot):
        widget.start()
    assert "constant image" in errors.pop()
    widget.layer.value = other
    widget.reference.value = viewer.add_image(picture((40, 40)), name="larger")
    with ending(widget, qtbot):
        widget.start()
    assert "(40, 40)" in errors.pop()
    widget.reference.value = other
    assert not widget.start()
    assert "is the result" in errors.pop()
    widget.noise.value = "much"
    assert not widget.start()
    assert "noise" in errors.pop()


def test_cancel_leaves_no_map(viewer, qtbot, errors):
    source = viewer.add_image(picture((200, 200)), name="cells")
    add_result(viewer, source)
    widget = dock(viewer)
    with ending(widget, qtbot):
        widget.start()
        widget.cancel()
    assert widget.status.value == "Cancelled"
    assert not [layer for layer in viewer.layers if MAP_KEY in layer.metadata]
    assert errors == []
    assert widget.start_button.enabled


def test_closing_the_widget_stops_the_run(viewer, qtbot):
    source = viewer.add_image(picture((200, 200)), name="cells")
    add_result(viewer, source)
    widget = dock(viewer)
    widget.start()
    cancel = widget._run.cancel
    viewer.window.remove_dock_widget(widget.native)
    widget.native.deleteLater()
    qtbot.wait_until(cancel.is_set, timeout=TIMEOUT)
    qtbot.wait_until(lambda: not widget.running, timeout=TIMEOUT)
    assert len(viewer.layers) == 2


def test_a_new_result_is_chosen_and_its_source_found_under_another_name(viewer):
    widget = dock(viewer)
    source = viewer.add_image(picture(), name="cells", scale=(2, 2))
    assert widget.layer.value == source
    decoy = viewer.add_image(picture(), name="decoy", translate=(500, 500))
    source.name = "renamed"
    viewer.add_image(picture((60, 60)), name="cells")
    result = add_result(viewer, source)
    result.metadata["napari_hrsr"]["source"] = "cells"
    widget.reset_choices()
    assert widget.layer.value == result
    widget.layer.value = source
    widget.layer.value = result
    assert widget.source.value == source
    assert is_result(result)
    assert not is_result(decoy)
    assert find_source(result, [decoy, result]) == decoy


def test_the_report_is_written_where_it_was_asked_for(viewer, qtbot, errors, tmp_path):
    source = viewer.add_image(picture(), name="cells")
    add_result(viewer, source)
    widget = dock(viewer)
    widget.save_report(tmp_path / "early.html")
    with ending(widget, qtbot):
        widget.start()
    for _ in range(2):
        with ending(widget, qtbot, "saved"):
            widget.save_report(tmp_path / "report.html")
    assert "exists" in errors.pop()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "How far to trust cells x2" in text


def test_opening_the_widget_imports_no_torch():
    code = (
        "import napari_hrsr._napari.evaluate_widget, napari_hrsr._napari.evaluate_view, sys;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "False"
