"""Live views in a real window, with slicing in the main thread and in napari's own."""

import gc
import threading
import weakref

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QCoreApplication

from napari_hrsr import live_view, upscale
from napari_hrsr._napari import commands, live_view_control
from napari_hrsr._napari import live_view as live_view_module
from napari_hrsr._napari import save as save_module
from napari_hrsr._napari.live_view import LIVE_KEY, LiveViewLayer
from napari_hrsr._napari.save import save_layer
from napari_hrsr._napari.widget import SLICES, SuperResolution2D, SuperResolution3D
from napari_hrsr.running import Runner

TIMEOUT = 180_000


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def slicing(request):
    get_settings().experimental.async_ = request.param
    yield request.param
    get_settings().experimental.async_ = False


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def warned(monkeypatch):
    shown = []
    monkeypatch.setattr(live_view_module, "show_warning", shown.append)
    return shown


def image(shape=(90, 70), dtype=np.uint16):
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


def opened(viewer, source, model="cubic-2x2", **options):
    """Return a live view of a layer, as the widget shows one."""
    options = {"tile": 16} | options
    return LiveViewLayer(viewer, source, live_view(source, model, **options))


def settled(live, qtbot):
    """Wait until the window shows what was computed of what is in view."""

    def there():
        now, total = live.view.progress
        return total > 0 and now == total and live.layer.loaded and not live._timer.isActive()

    qtbot.wait_until(there, timeout=TIMEOUT)
    qtbot.wait_until(lambda: np.array_equal(shown(live), expected(live)), timeout=TIMEOUT)


def shown(live):
    """Return the pixels that the window holds."""
    layer = getattr(live.layer, "__wrapped__", live.layer)
    return np.asarray(layer._slice.image.raw)


def box(live):
    corners = live.layer.corner_pixels.T
    point = live.layer.world_to_data(live._viewer.dims.point)
    shown = live._viewer.dims.displayed
    return tuple(
        slice(a, b + 1) if axis in shown else round(point[axis])
        for axis, (a, b) in enumerate(corners)
    )


def looks_at(live, centre):
    """Tell whether the middle of the window is about at a pixel of the source."""
    return bool(np.all(np.abs(live.layer.corner_pixels.mean(0) - 2 * np.array(centre)) < 60))


def expected(live):
    return np.asarray(live.view.array[box(live)])


class Gate:
    """Holds every call of the network until it is opened."""

    def __init__(self, monkeypatch):
        self.reached, self.opened = threading.Event(), threading.Event()
        forward = Runner._forward

        def held(*arguments):
            self.reached.set()
            assert self.opened.wait(60)
            return forward(*arguments)

        monkeypatch.setattr(Runner, "_forward", held)


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


def corners(layer, shape):
    n = layer.ndim
    points = np.array(list(np.ndindex(*(2,) * n))) * np.array(shape[:n]) - 0.5
    return np.array([layer.data_to_world(point) for point in points])


def test_the_window_shows_the_result_where_one_looks(viewer, qtbot, slicing):
    source = viewer.add_image(image((600, 500)), name="cells")
    live = opened(viewer, source, "general-2d-x2", tile=64)
    whole = upscale(source.data, "general-2d-x2", tile=64)
    viewer.scene.camera.zoom = 6
    for centre in ((100, 120), (400, 300)):
        viewer.scene.camera.center = (0, *centre)
        qtbot.wait_until(lambda at=centre: looks_at(live, at), timeout=TIMEOUT)
        settled(live, qtbot)
        np.testing.assert_array_equal(shown(live), whole[box(live)])
    assert len(live.view.cache) < len(live.view.job.plan)
    assert live.layer.metadata[LIVE_KEY]["model"] == "general-2d-x2"


def test_slices_of_a_volume(viewer, qtbot, slicing):
    source = viewer.add_image(image((20, 40, 50)), name="volume")
    live = opened(viewer, source, "cubic-2x2x2", tile=8)
    whole = upscale(source.data, "cubic-2x2x2", tile=8)
    for z in (0, 13):
        viewer.dims.set_current_step(0, z)
        settled(live, qtbot)
        np.testing.assert_array_equal(shown(live), whole[box(live)])
    assert len(live.view.cache) < len(live.view.job.plan)


def test_the_window_goes_on_while_tiles_are_computed(viewer, qtbot, gate, slicing):
    source = viewer.add_image(image((200, 200)))
    live = opened(viewer, source)
    assert gate.reached.wait(60)
    # All of this comes back although the network does not.
    viewer.scene.camera.zoom *= 3
    live.layer.refresh()
    qtbot.wait_until(lambda: live.layer.loaded, timeout=TIMEOUT)
    assert shown(live).any()
    done, total = live.view.progress
    assert done < total
    gate.opened.set()
    settled(live, qtbot)


def test_tiles_that_arrive_are_drawn_without_slicing_anew(viewer, qtbot, gate):
    get_settings().experimental.async_ = True
    try:
        live = opened(viewer, viewer.add_image(image((200, 200))))
        assert gate.reached.wait(60)
        qtbot.wait_until(lambda: live.layer.loaded and shown(live).any(), timeout=TIMEOUT)
        reloads = []
        live.layer.events.reload.connect(reloads.append)
        gate.opened.set()
        settled(live, qtbot)
    finally:
        get_settings().experimental.async_ = False
    # Each would have napari animate the whole window until it is answered.
    assert not reloads


def test_it_lies_exactly_on_its_source_and_stays_there(viewer, qtbot):
    source = viewer.add_image(
        image(), scale=(0.3, 0.2), translate=(7, -3), rotate=20, shear=[0.1],
        affine=[[1, 0.2, 4], [0, 1.5, -2], [0, 0, 1]], units=("um", "um"),
    )  # fmt: skip
    live = opened(viewer, source)
    shape = live.view.job.shape
    np.testing.assert_allclose(corners(live.layer, shape), corners(source, source.data.shape))
    assert live.layer.units == source.units
    source.scale = (0.5, 0.4)
    source.translate = (1, 2)
    source.rotate = -30
    np.testing.assert_allclose(corners(live.layer, shape), corners(source, source.data.shape))
    source.contrast_limits = (3, 99)
    source.colormap = "magma"
    assert live.layer.contrast_limits == [3, 99]
    assert live.layer.colormap.name == "magma"


def test_nothing_is_computed_when_zoomed_out_or_hidden(viewer, qtbot, gate):
    source = viewer.add_image(image((3000, 3000), np.uint8))
    live = opened(viewer, source, tile=512)
    viewer.reset_view()
    qtbot.wait_until(lambda: live.layer.data_level > 0, timeout=TIMEOUT)
    gate.opened.set()
    assert live.view.wait(60)
    computed = len(live.view.cache)
    live.layer.refresh()
    qtbot.wait_until(lambda: live.view.progress == (0, 0), timeout=TIMEOUT)
    assert len(live.view.cache) == computed
    live.layer.visible = False
    viewer.scene.camera.zoom = 8
    assert live.view.wait(60)
    assert len(live.view.cache) == computed


@pytest.mark.parametrize("how", ["removed", "closed"])
def test_an_end_in_mid_compute_stops_everything(make_napari_viewer, qtbot, gate, how, slicing):
    viewer = make_napari_viewer(show=True)
    source = viewer.add_image(image((300, 300)))
    live = opened(viewer, source)
    view = live.view
    assert gate.reached.wait(60)
    if how == "removed":
        viewer.layers.remove(live.layer)
    else:
        viewer.close()
    assert live.closed
    gate.opened.set()
    assert view.join(60)
    assert (view.nbytes, view.progress) == (0, (0, 0))
    gone = weakref.ref(view)
    del live, view
    gc.collect()
    assert gone() is None


def test_what_fails_is_told_once(viewer, qtbot, warned, monkeypatch):
    def broken(*_):
        raise ValueError("no such kernel")

    monkeypatch.setattr(Runner, "_forward", broken)
    source = viewer.add_image(image())
    live = opened(viewer, source)
    qtbot.wait_until(lambda: live.view.closed and bool(warned), timeout=TIMEOUT)
    live.layer.refresh()
    assert len(warned) == 1
    assert "no such kernel" in warned[0]
    assert shown(live).any()


def test_a_live_view_is_not_saved_as_a_result(viewer, qtbot, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(save_module, "show_error", told.append)
    live = opened(viewer, viewer.add_image(image()))
    assert save_layer(live.layer, path=tmp_path / "a.tif") is None
    assert "compute all" in told[0]
    assert not any(tmp_path.iterdir())


def dock(viewer, kind=SuperResolution2D, model="cubic-2x2"):
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name="widget")
    widget.model.value = model
    widget.details.tile.value = "16"
    return widget


def shown_by(widget, qtbot, number=1):
    qtbot.wait_until(
        lambda: not widget.live_view.opening and len(widget.live_view.shown) == number,
        timeout=TIMEOUT,
    )
    return widget.live_view.shown


def test_the_widget_opens_one_with_its_settings_and_then_computes_all(viewer, qtbot):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    widget.details.noise.value = "3"
    widget.part.value = SLICES
    widget.live_view.button.clicked.emit(True)
    [live] = shown_by(widget, qtbot)
    settled(live, qtbot)
    assert live.layer.name == "cells x2 (live)"
    assert live.view.array.shape == (180, 140)
    assert live.view.record()["intensity"]["noise"] == 3.0
    assert live.view.record()["model"] == "cubic-2x2"
    qtbot.wait_until(lambda: widget.bar.value == widget.bar.max, timeout=TIMEOUT)
    assert widget.run()
    qtbot.wait_until(lambda: not widget.controller.running, timeout=TIMEOUT)
    np.testing.assert_array_equal(np.asarray(live.view.array), viewer.layers["cells x2"].data)


def test_other_settings_replace_the_live_view(viewer, qtbot):
    viewer.add_image(image(), name="cells")
    widget = dock(viewer)
    widget.live_view.start()
    [first] = shown_by(widget, qtbot)
    widget.model.value = "linear-2x2"
    widget.live_view.start()
    qtbot.wait_until(lambda: first.closed, timeout=TIMEOUT)
    [second] = shown_by(widget, qtbot)
    assert second.view.job.model.spec.name == "linear-2x2"
    assert len(viewer.layers) == 2


def test_new_pixels_of_the_source_are_looked_at(viewer, qtbot):
    source = viewer.add_image(image(), name="volume")
    widget = dock(viewer)
    widget.live_view.start()
    [first] = shown_by(widget, qtbot)
    source.data = 200 - image()
    qtbot.wait_until(lambda: first.closed, timeout=TIMEOUT)
    [second] = shown_by(widget, qtbot)
    settled(second, qtbot)
    whole = upscale(source.data, "cubic-2x2", tile=16)
    np.testing.assert_array_equal(shown(second), whole[box(second)])


def test_what_does_not_fit_is_said_and_opens_nothing(viewer, qtbot, monkeypatch):
    told = []
    monkeypatch.setattr(live_view_control, "show_error", told.append)
    viewer.add_image(np.zeros((4, 30, 30), bool), name="mask")
    widget = dock(viewer, SuperResolution3D, "cubic-2x2x2")
    assert widget.live_view.start()
    qtbot.wait_until(lambda: bool(told), timeout=TIMEOUT)
    assert "mask" in told[0]
    assert len(viewer.layers) == 1
    widget.details.tile.value = "x"
    assert not widget.live_view.start()
    assert len(told) == 2


def test_one_click_looks_at_the_active_layer(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(image((5, 20, 16), np.uint8), name="volume")
    commands.look_at_active_layer(viewer)
    qtbot.wait_until(lambda: "volume x2 (live)" in viewer.layers, timeout=TIMEOUT)
    viewer.layers.remove("volume x2 (live)")


def test_quitting_in_mid_compute_ends_the_threads(viewer, qtbot, gate):
    live = opened(viewer, viewer.add_image(image((300, 300))))
    view = live.view
    assert gate.reached.wait(60)
    gate.opened.set()
    QCoreApplication.instance().aboutToQuit.emit()
    assert live.closed
    assert view.closed
    assert view.join(60)
