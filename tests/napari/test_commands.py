"""The entries of napari's menus, and the demo."""

import numpy as np

from napari_hrsr._napari import commands
from napari_hrsr._napari.demo import show_demo


def test_one_click_upscales_the_active_layer(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((5, 20, 16), np.uint8), name="volume")
    viewer.add_labels(np.zeros((5, 20, 16), int))
    viewer.layers.selection.active = viewer.layers["volume"]
    commands.upscale_active_layer(viewer)
    qtbot.wait_until(lambda: "volume x2" in viewer.layers, timeout=60_000)
    assert viewer.layers["volume x2"].data.shape == (10, 40, 32)


def test_one_click_says_what_to_do_without_an_image(make_napari_viewer_proxy, monkeypatch):
    told = []
    monkeypatch.setattr(commands, "show_info", told.append)
    viewer = make_napari_viewer_proxy()
    commands.upscale_active_layer(viewer)
    viewer.add_labels(np.zeros((9, 9), int))
    commands.save_active_layer(viewer)
    assert len(told) == 2
    assert all("Select" in message for message in told)
    assert len(viewer.layers) == 1


def test_demo_shows_source_and_result_side_by_side(qtbot):
    viewer, widget = show_demo()
    qtbot.wait_until(lambda: not widget.controller.running, timeout=120_000)
    source, result = viewer.layers
    np.testing.assert_array_equal(np.array(result.data.shape), 2 * np.array(source.data.shape))
    assert viewer.canvas.grid.enabled
    viewer.close()
