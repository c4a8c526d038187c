"""Tasks and chains in the super-resolution widgets, in a real viewer without a window."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_hrsr import upscale
from napari_hrsr._napari import commands, steps
from napari_hrsr._napari.widget import SuperResolution2D, SuperResolution3D

TIMEOUT = 60_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


def image(*shape):
    return np.random.default_rng(0).integers(100, 4000, shape).astype(np.uint16)


def dock(viewer, kind=SuperResolution2D):
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name=kind.__name__)
    return widget


def wait_for_end(widget, qtbot):
    qtbot.wait_until(lambda: not widget.controller.running, timeout=TIMEOUT)


@pytest.mark.parametrize("kind", [SuperResolution2D, SuperResolution3D])
def test_the_task_filters_the_models(viewer, kind):
    viewer.add_image(image(8, 20, 20), name="cells")
    widget = dock(viewer, kind)
    ndim = kind.spatial_axes
    assert widget.task.value == "Upscale"
    assert widget.model.value == f"general-{ndim}d-x2"
    assert not any("denoise" in name for name in widget.model.choices)
    widget.task.value = "Denoise"
    assert widget.model.value == f"denoise-{ndim}d"
    assert not any("x2" in name for name in widget.model.choices)
    assert widget.result_size.value.startswith("8 x 20 x 20")
    widget.task.value = "Upscale"
    assert widget.model.value == f"general-{ndim}d-x2"


def test_a_task_without_models_says_so_and_cannot_be_run(viewer, monkeypatch):
    monkeypatch.setattr(steps, "list_models", lambda **_: [])
    viewer.add_image(image(20, 20))
    widget = dock(viewer)
    widget.task.value = "Enhance"
    assert widget.model.value is None
    assert "train one" in widget.model_facts.value
    assert not widget.run_button.enabled


def test_a_chain_is_one_run_with_one_result(viewer, qtbot):
    source = viewer.add_image(image(40, 36), name="cells", scale=(0.5, 0.5))
    widget = dock(viewer)
    widget.task.value = "Denoise"
    widget.steps.add()
    widget.steps.add("cubic-2x2")
    assert widget.chosen_model == "denoise-2d+general-2d-x2+cubic-2x2"
    assert "denoise, then x2, then x2" in widget.model_facts.value.replace("\n", " ")
    assert widget.result_size.value.startswith("160 x 144")
    widget.steps.drop(widget.steps._rows[1])
    assert widget.result_size.value.startswith("80 x 72")
    assert widget.run()
    wait_for_end(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells denoise x2"]
    result = viewer.layers[-1]
    assert_array_equal(result.data, upscale(source.data, ["denoise-2d", "general-2d-x2"]))
    assert_array_equal(result.scale, (0.25, 0.25))
    chained = result.metadata["napari_hrsr"]["chain"]
    assert [part["model"] for part in chained] == ["denoise-2d", "general-2d-x2"]


def test_the_evaluation_of_a_result_is_one_click_away(viewer, qtbot):
    viewer.add_image(image(40, 36), name="cells")
    widget = dock(viewer)
    widget.model.value = "cubic-2x2"
    assert widget.run()
    wait_for_end(widget, qtbot)
    viewer.add_image(image(12, 12), name="another")
    viewer.layers.selection.active = viewer.layers["cells x2"]
    widget.evaluate_button.clicked.emit(True)
    chosen = viewer.window.dock_widgets["Evaluate (napari-hrsr)"]
    assert chosen.layer.value == viewer.layers["cells x2"]
    assert chosen.source.value == viewer.layers["cells"]


def test_one_click_denoises_the_active_layer(viewer, qtbot):
    viewer.add_image(image(30, 30), name="cells")
    commands.denoise_active_layer(viewer)
    qtbot.wait_until(lambda: len(viewer.layers) == 2, timeout=TIMEOUT)
    widget = viewer.window.dock_widgets["Super-resolution (2D) (napari-hrsr)"]
    wait_for_end(widget, qtbot)
    assert viewer.layers[-1].name == "cells denoise"
    assert viewer.layers[-1].data.shape == (30, 30)
