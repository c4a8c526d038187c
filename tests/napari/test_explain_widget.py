"""The widget "Explain" in a real window, with real networks."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from skimage import data

from napari_hrsr._napari import run_container
from napari_hrsr._napari.explain_region import CLICK, SHAPE
from napari_hrsr._napari.explain_widget import ATTRIBUTION, FIELD, MAPS, Explain
from napari_hrsr._napari.isotropic_controller import Relay

TIMEOUT = 60_000
PICTURE = data.camera()[60:180, 150:280]


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    monkeypatch.setattr(run_container, "show_error", shown.append)
    return shown


def dock(viewer, qtbot):
    widget = Explain(viewer)
    with waiting(widget.listed, qtbot):
        viewer.window.add_dock_widget(widget, name="Explain")
    return widget


@contextmanager
def waiting(signal, qtbot):
    relay = Relay()
    signal.connect(relay.tell)
    with qtbot.wait_signal(relay.told, timeout=TIMEOUT):
        yield


def explain(widget, qtbot, what):
    with waiting(widget.ended, qtbot):
        assert widget.start(what)
        assert not widget.start(what)


def test_what_is_found_lies_on_the_source(viewer, qtbot, errors):
    source = viewer.add_image(
        PICTURE, name="picture", scale=(0.5, 0.25), translate=(7, -3), rotate=20, shear=[0.2],
        units=("um", "um"),
    )  # fmt: skip
    widget = dock(viewer, qtbot)
    assert widget.model.value == "general-2d-x2"
    assert len(widget.network_layer.choices) > 10

    explain(widget, qtbot, MAPS)
    maps = viewer.layers["picture body.6"]
    assert maps.data.shape == (32, *PICTURE.shape)
    for corner in [(0, 0), (119, 0), (31.5, 129)]:
        np.testing.assert_allclose(
            maps.data_to_world((5, *corner))[1:], source.data_to_world(corner), atol=1e-9
        )
    assert "32 maps of body.6" in widget.message.value

    widget.network_layer.value = "result"
    explain(widget, qtbot, MAPS)
    fine = viewer.layers["picture result"]
    assert fine.data.shape == (1, 240, 260)
    np.testing.assert_allclose(
        fine.data_to_world((0, -0.5, 259.5))[1:], source.data_to_world((-0.5, 129.5)), atol=1e-9
    )

    explain(widget, qtbot, FIELD)
    field = viewer.layers["picture receptive field"]
    kinds = list(field.features["kind"])
    assert sorted(kinds) == ["core", "field", "region"]
    around = np.array(field.data[kinds.index("field")])
    inner = np.array(field.data[kinds.index("region")])
    np.testing.assert_allclose(around.max(0) - inner.max(0), 9)
    np.testing.assert_allclose(np.ptp(inner, axis=0), 12)
    np.testing.assert_allclose(field.data_to_world((3, 4)), source.data_to_world((3, 4)))
    assert "the model states 30 x 30." in widget.message.value
    assert errors == []


def test_attribution_around_a_click_and_around_a_shape(viewer, qtbot, errors):
    source = viewer.add_image(PICTURE, name="picture", scale=(2, 2), translate=(10, 0))
    widget = dock(viewer, qtbot)
    widget.where.value = CLICK
    assert not widget.start(ATTRIBUTION)
    assert "click on the image" in errors.pop()
    event = SimpleNamespace(position=source.data_to_world((30, 50)))
    for callback in list(viewer.mouse_drag_callbacks):
        callback(viewer, event)
    widget.side.value = 6
    explain(widget, qtbot, ATTRIBUTION)
    found = viewer.layers["picture attribution"]
    middle = found.data_to_world((np.array(found.data.shape) - 1) / 2)
    np.testing.assert_allclose(middle, source.data_to_world((29.5, 49.5)))
    assert found.contrast_limits[0] == -found.contrast_limits[1]
    assert "Diffusion index" in widget.message.value

    widget.where.value = SHAPE
    assert not widget.start(ATTRIBUTION)
    assert "draw a shape" in errors.pop()
    corners = [(69.5, 79.5), (69.5, 91.5), (77.5, 91.5), (77.5, 79.5)]
    viewer.add_shapes(np.array([source.data_to_world(c) for c in corners]), shape_type="polygon")
    explain(widget, qtbot, FIELD)
    field = viewer.layers["picture receptive field"]
    region = np.array(field.data[list(field.features["kind"]).index("region")])
    np.testing.assert_allclose(region.min(0), (69.5, 79.5))
    np.testing.assert_allclose(region.max(0), (77.5, 91.5))
    assert errors == []


def test_a_volume_and_a_slice_of_it(viewer, qtbot, errors):
    volume = np.stack([np.roll(PICTURE[:30, :32], shift, axis=1) for shift in range(10)])
    source = viewer.add_image(volume, name="volume", scale=(3, 1, 1), translate=(5, 0, 2))
    widget = dock(viewer, qtbot)
    assert widget.model.value == "general-3d-x2"
    widget.side.value = 3
    explain(widget, qtbot, FIELD)
    field = viewer.layers["volume receptive field"]
    assert {np.ptp(np.array(polygon)[:, 0]) for polygon in field.data} == {0}
    assert len(field.data) > 10

    with waiting(widget.listed, qtbot):
        widget.model.value = "general-2d-x2"
    viewer.dims.set_point(0, source.data_to_world((7, 0, 0))[0])
    explain(widget, qtbot, MAPS)
    maps = viewer.layers["volume body.6"]
    assert maps.data.shape == (32, 1, 30, 32)
    np.testing.assert_allclose(
        maps.data_to_world((0, 0, 3, 4))[1:], source.data_to_world((7, 3, 4)), atol=1e-9
    )
    assert errors == []


def test_cancel_adds_nothing(viewer, qtbot, errors):
    viewer.add_image(PICTURE, name="picture")
    widget = dock(viewer, qtbot)
    with waiting(widget.ended, qtbot):
        widget.start(ATTRIBUTION)
        widget.cancel()
    assert widget.status.value == "Cancelled"
    assert [layer.name for layer in viewer.layers] == ["picture"]
    assert all(button.enabled for button in widget.starters)
    assert errors == []


def test_what_cannot_be_explained_is_told(viewer, qtbot, errors):
    widget = Explain(viewer)
    viewer.window.add_dock_widget(widget, name="Explain")
    assert not widget.start(MAPS)
    assert "open an image" in errors.pop()
    broken = PICTURE.astype(np.float32)
    broken[3, 3] = np.nan
    viewer.add_image(broken, name="broken")
    widget.reset_choices()
    with waiting(widget.ended, qtbot):
        widget.start(MAPS)
    assert "broken" in errors.pop()
    assert widget.status.value == "Failed"


def test_closing_the_widget_stops_the_run(viewer, qtbot):
    viewer.add_image(PICTURE, name="picture")
    widget = dock(viewer, qtbot)
    callbacks = len(viewer.mouse_drag_callbacks)
    widget.start(ATTRIBUTION)
    cancel = widget._run.cancel
    viewer.window.remove_dock_widget(widget.native)
    widget.native.deleteLater()
    qtbot.wait_until(cancel.is_set, timeout=TIMEOUT)
    qtbot.wait_until(lambda: not widget.running, timeout=TIMEOUT)
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1
    assert [layer.name for layer in viewer.layers] == ["picture"]
