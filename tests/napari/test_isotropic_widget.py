"""The widget "Make isotropic" in a real window, with real runs."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from napari_hrsr._napari import isotropic_widget
from napari_hrsr._napari.isotropic_controller import Relay
from napari_hrsr._napari.isotropic_network import IsotropicNetwork
from napari_hrsr._napari.isotropic_run import FIRST, LAST
from napari_hrsr._napari.isotropic_setup import MEASURED
from napari_hrsr._napari.isotropic_widget import MakeIsotropic
from napari_hrsr._napari.options import ON_DISK
from napari_hrsr.files import read_image
from napari_hrsr.isotropic import making, running
from napari_hrsr.isotropic.axial_model import axial_models

TIMEOUT = 60_000
FOR_EVER = 100_000


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Let the smallest network learn for a few steps, and keep it in a folder of this test."""
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    whole = making.axial_config

    def tiny(*arguments, **options):
        config = whole(*arguments, **options)
        model = replace(config.model, arguments={"features": 4, "blocks": 1})
        return replace(config, model=model, batch=1, patch=8, threads=1, validate_every=50)

    monkeypatch.setattr(making, "axial_config", tiny)


@pytest.fixture
def steps(monkeypatch):
    """Set how many steps are learned."""
    whole, chosen = IsotropicNetwork.choices, [2]

    def few(network):
        choices = whole(network)
        return choices if "model" in choices else choices | {"steps": chosen[0]}

    monkeypatch.setattr(IsotropicNetwork, "choices", few)
    return lambda number: chosen.__setitem__(0, number)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch):
    """Messages that were shown to the user as errors."""
    shown = []
    monkeypatch.setattr(isotropic_widget, "show_error", shown.append)
    return shown


@pytest.fixture
def gate(monkeypatch):
    """Holds the restoration at its beginning until it is opened."""
    opened, reached, restore = threading.Event(), threading.Event(), running.restore

    def held(*arguments):
        reached.set()
        assert opened.wait(30)
        restore(*arguments)

    monkeypatch.setattr(running, "restore", held)
    yield reached, opened
    opened.set()


def stack(shape=(10, 40, 44), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    waves = np.sin(z / 1.5) + np.sin(y / 3 + z) + np.cos(x / 2)
    return ((waves + 3 + rng.normal(0, 0.02, shape)) * 40).astype(dtype)


def add(viewer, data=None, **options):
    options = {"name": "stack", "scale": (3, 1, 1), "units": ("um",) * 3} | options
    return viewer.add_image(stack() if data is None else data, **options)


def dock(viewer, qtbot):
    widget = MakeIsotropic(viewer)
    viewer.window.add_dock_widget(widget, name="Make isotropic")
    qtbot.wait_until(lambda: widget.setup.grid.value != "Loading...", timeout=TIMEOUT)
    widget.setup.details.device.value = "cpu"
    return widget


def run(widget, qtbot):
    """Run to the end, and return what was said meanwhile."""
    said = []
    widget.controller.progressed.connect(lambda done, total, text: said.append(text))
    with ending(widget, qtbot):
        assert widget.start()
    return said


@contextmanager
def ending(widget, qtbot, timeout=TIMEOUT):
    """Do something, and wait until the run has ended."""
    relay = Relay()
    widget.controller.ended.connect(relay.tell)
    with qtbot.wait_signal(relay.told, timeout=timeout):
        yield


def state(widget):
    return None if widget.planes.preview is None else widget.planes.preview.state


def wait_for(qtbot, condition):
    qtbot.wait_until(condition, timeout=TIMEOUT)


def corners(layer):
    """World positions of the outer corners of a layer's voxels."""
    shape = np.array(layer.data.shape)
    points = np.array(list(np.ndindex(*(2,) * layer.ndim))) * shape - 0.5
    return np.array([layer.data_to_world(point) for point in points])


def test_the_form_is_filled_from_the_layer(viewer, qtbot):
    widget = dock(viewer, qtbot)
    assert "open a stack first" in widget.setup.grid.value
    assert not widget.start_button.enabled
    add(viewer, scale=(0.7, 2.8, 0.5))
    voxels = widget.setup.voxels
    assert [edit.value for edit in voxels.sizes] == ["0.7", "2.8", "0.5"]
    assert voxels.unit.value == "µm"
    assert (voxels.coarse.value, voxels.target.value) == (1, "0.5")
    assert widget.setup.network.keep.value == "stack"
    assert widget.setup.network.minutes.value == 3
    assert "too small" in widget.setup.grid.value
    viewer.layers["stack"].scale = (2.8, 0.7, 0.7)
    assert widget.setup.grid.value == (
        "10 x 40 x 44 voxels of 2.8 x 0.7 x 0.7 µm → 40 x 40 x 44 of 0.7 µm, 70 kB"
    )
    assert widget.start_button.enabled


def test_what_is_typed_changes_the_grid_and_stays(viewer, qtbot):
    add(viewer, scale=(1, 1, 1))
    widget = dock(viewer, qtbot)
    voxels = widget.setup.voxels
    assert "nothing to refine" in widget.setup.grid.value
    assert not widget.start_button.enabled
    voxels.sizes[0].value = "2,5"
    assert "→ 25 x 40 x 44 of 1" in widget.setup.grid.value
    assert "laid on the layer, which has voxels of 1." in widget.setup.grid.value
    assert widget.start_button.enabled
    voxels.target.value = "0.5"
    assert "→ 50 x 80 x 88 of 0.5" in widget.setup.grid.value
    viewer.add_image(stack(), name="another")
    assert (voxels.sizes[0].value, voxels.target.value) == ("2,5", "0.5")
    voxels.coarse.value = 2
    assert not widget.start_button.enabled
    voxels.sizes[1].value = "wide"
    assert "voxel size along y must be a number above 0" in widget.setup.grid.value


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (stack()[0], {"scale": (1, 1), "units": ("um",) * 2}, "has no z axis"),
        (np.stack([stack()] * 3, -1), {"rgb": True}, "split the channels"),
        (stack((3, 40, 44)), {}, "at least 4 slices"),
        (stack() > 100, {}, "mask"),
        (stack(), {"axis_labels": ("t", "y", "x")}, "has no z axis"),
    ],
)
def test_a_layer_that_cannot_be_used_says_why(viewer, qtbot, data, options, reason):
    add(viewer, data, **options)
    widget = dock(viewer, qtbot)
    assert reason in widget.setup.grid.value
    assert not widget.start_button.enabled
    add(viewer, name="good")
    widget.setup.layer.value = viewer.layers["good"]
    assert widget.start_button.enabled


def test_a_wrong_option_disables_start(viewer, qtbot, tmp_path):
    add(viewer)
    setup = (widget := dock(viewer, qtbot)).setup
    setup.thickness.value = "thick"
    assert "thickness must be 'Automatic' or a number" in setup.grid.value
    assert not widget.start_button.enabled
    setup.profile.value = MEASURED
    assert "choose the file" in setup.grid.value
    (tmp_path / "profile.txt").write_text("1\n2\n1\n")
    setup.profile_file.value = tmp_path / "profile.txt"
    assert widget.start_button.enabled
    setup.details.noise.value = "much"
    assert "noise" in setup.grid.value


def test_learned_restored_kept_and_used_again(viewer, qtbot, steps, errors):
    source = add(
        viewer,
        translate=(7, -3, 2),
        affine=[[1, 0.2, 0, 4], [0, 1.5, 0, -2], [0, 0, 1, 0], [0, 0, 0, 1]],
        colormap="magma",
        contrast_limits=(20, 200),
    )
    before = source.data.copy()
    widget = dock(viewer, qtbot)
    said = run(widget, qtbot)
    assert errors == []
    result = viewer.layers["stack isotropic"]
    assert result.data.shape == (30, 40, 44)
    assert result.data.dtype == np.uint8
    np.testing.assert_allclose(corners(result), corners(source), atol=1e-9)
    assert result.colormap.name == "magma"
    assert tuple(result.contrast_limits) == (20, 200)
    assert result.data[15].std() > 0
    np.testing.assert_array_equal(source.data, before)
    record = result.metadata["napari_hrsr"]
    assert (record["task"], record["source"]) == ("isotropic", "stack")
    assert "Getting ready to learn" in said
    assert any(text.startswith("Restoring") for text in said)
    assert widget.status.value.startswith("Done in")
    assert "kept as 'stack'" in widget.status.value
    assert widget.thickness.value.startswith("Slices")
    assert "it can be wrong" in widget.caution.value
    assert widget.bar.native.isHidden()
    assert widget.start_button.enabled
    assert not widget.cancel_button.enabled
    planes = widget.planes.preview.planes
    assert state(widget) == LAST
    assert [plane.title for plane in planes] == ["z-x", "z-y"]
    assert [plane.restored.shape for plane in planes] == [(30, 44), (30, 40)]
    assert (planes[0].restored != planes[0].interpolated).any()

    network = widget.setup.network
    assert network.keep.value == "stack-2"
    assert network.network.choices == ("", "stack")
    network.network.value = "stack"
    assert network.minutes.native.isHidden()
    said = run(widget, qtbot)
    assert "Getting ready to learn" not in said
    assert list(axial_models()) == ["stack"]
    again = viewer.layers["stack isotropic [1]"]
    assert again.metadata["napari_hrsr"]["weights_sha256"] == record["weights_sha256"]

    source.scale = (5, 1, 1)
    assert network.network.choices == ("",)


def test_noise_is_told(viewer, qtbot, steps):
    noisy = stack() + np.random.default_rng(1).normal(0, 10, (10, 40, 44))
    add(viewer, noisy.astype(np.float32))
    widget = dock(viewer, qtbot)
    widget.setup.network.keep.value = ""
    run(widget, qtbot)
    assert "noisy" in widget.caution.value
    assert not axial_models()


def test_cancel_while_learning(viewer, qtbot, steps, errors):
    steps(FOR_EVER)
    add(viewer)
    widget = dock(viewer, qtbot)
    assert widget.start()
    assert not widget.start()
    wait_for(qtbot, lambda: widget.status.value.startswith("Learning"))
    assert state(widget) == FIRST
    assert not widget.bar.native.isHidden()
    assert not widget.start_button.enabled
    assert not widget.show_setup.value
    with ending(widget, qtbot, timeout=5_000):
        widget.cancel()
        assert widget.status.value == "Cancelling"
    assert [layer.name for layer in viewer.layers] == ["stack"]
    assert widget.status.value == "Cancelled"
    assert state(widget) is None
    assert widget.show_setup.value
    assert widget.start_button.enabled
    assert not axial_models()
    assert errors == []


def test_cancel_while_restoring_keeps_the_network(viewer, qtbot, steps, gate):
    add(viewer)
    widget = dock(viewer, qtbot)
    assert widget.start()
    wait_for(qtbot, lambda: "stack isotropic" in viewer.layers)
    with ending(widget, qtbot):
        widget.cancel()
        gate[1].set()
    assert [layer.name for layer in viewer.layers] == ["stack"]
    assert widget.status.value == "Cancelled; the network is kept as 'stack'"
    assert "stack" in widget.setup.network.network.choices


def test_enough_uses_what_is_learned(viewer, qtbot, steps):
    steps(FOR_EVER)
    add(viewer)
    widget = dock(viewer, qtbot)
    assert not widget.enough_button.enabled
    with ending(widget, qtbot):
        assert widget.start()
        wait_for(qtbot, lambda: state(widget) not in (None, FIRST))
        assert widget.enough_button.enabled
        widget.enough()
    assert "stack isotropic" in viewer.layers
    assert "stack" in axial_models()


def test_doubt_becomes_a_layer_on_the_result(viewer, qtbot, steps, errors):
    source = add(viewer, translate=(7, -3, 2))
    widget = dock(viewer, qtbot)
    widget.setup.details.doubt.value = True
    said = run(widget, qtbot)
    assert errors == []
    assert any(text.startswith("Doubting") for text in said)
    doubt = viewer.layers["stack doubt"]
    assert doubt.data.dtype == np.float32
    assert doubt.data.max() > 0
    np.testing.assert_allclose(corners(doubt), corners(source), atol=1e-9)
    assert not doubt.visible
    assert doubt.metadata["napari_hrsr"]["task"] == "doubt of isotropic"


def test_what_fails_is_told_and_nothing_is_left(viewer, qtbot, steps, errors):
    data = stack(dtype=np.float32)
    data[3, 4, 5] = np.nan
    add(viewer, data, contrast_limits=(0, 255))
    widget = dock(viewer, qtbot)
    run(widget, qtbot)
    assert len(errors) == 1
    assert "NaN" in errors[0]
    assert len(viewer.layers) == 1
    assert widget.start_button.enabled
    widget.setup.network.keep.value = "a/b"
    assert not widget.start()
    assert "no name" in errors[1]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), KeyboardInterrupt()])
def test_a_bug_is_told_once(viewer, qtbot, steps, errors, monkeypatch, error):
    def fail(*_):
        raise error

    add(viewer)
    widget = dock(viewer, qtbot)
    monkeypatch.setattr(running, "restore", fail)
    run(widget, qtbot)
    assert len(errors) == 1
    assert "stack" in errors[0]
    assert [layer.name for layer in viewer.layers] == ["stack"]
    assert widget.start_button.enabled


def test_a_name_is_not_used_twice(viewer, qtbot, steps, errors):
    add(viewer)
    widget = dock(viewer, qtbot)
    run(widget, qtbot)
    widget.setup.network.keep.value = "stack"
    assert not widget.start()
    assert "already" in errors[0]


def test_layers_may_go_during_a_run(viewer, qtbot, steps, errors, gate):
    source = add(viewer)
    widget = dock(viewer, qtbot)
    assert widget.start()
    viewer.layers.remove(source)
    wait_for(qtbot, lambda: "stack isotropic" in viewer.layers)
    viewer.add_image(stack(), name="another")
    with ending(widget, qtbot):
        gate[1].set()
    np.testing.assert_allclose(corners(viewer.layers["stack isotropic"]), corners(source))
    assert errors == []
    gate[1].clear()
    widget.setup.layer.value = viewer.layers["another"]
    widget.setup.voxels.sizes[0].value = "3"
    assert widget.start()
    wait_for(qtbot, lambda: "another isotropic" in viewer.layers)
    with ending(widget, qtbot):
        viewer.layers.remove("another isotropic")
        gate[1].set()
    assert [layer.name for layer in viewer.layers] == ["stack isotropic", "another"]
    assert errors == []


def test_closing_the_widget_stops_the_run(viewer, qtbot, steps):
    steps(FOR_EVER)
    add(viewer)
    widget = dock(viewer, qtbot)
    assert widget.start()
    wait_for(qtbot, lambda: widget.status.value.startswith("Learning"))
    widget.native.destroyed.emit()
    qtbot.wait_until(lambda: not widget.controller.running, timeout=5_000)
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_result_on_disk(viewer, qtbot, steps, monkeypatch, tmp_path):
    source = add(viewer)
    widget = dock(viewer, qtbot)
    path = tmp_path / "result.ome.zarr"
    widget.setup.details.target.value = ON_DISK
    monkeypatch.setattr(MakeIsotropic, "ask_path", lambda *_: None)
    assert not widget.start()
    monkeypatch.setattr(MakeIsotropic, "ask_path", lambda *_: path)
    run(widget, qtbot)
    result = viewer.layers["stack isotropic"]
    stored = read_image(path)
    np.testing.assert_allclose(stored.metadata.scale, (1, 1, 1))
    assert stored.record["task"] == "isotropic"
    finest = result.data[0] if result.multiscale else result.data
    np.testing.assert_array_equal(np.asarray(finest), np.asarray(stored.data))
    np.testing.assert_allclose(result.translate, source.translate - (1, 0, 0))


def test_channels_share_one_network(viewer, qtbot, steps):
    add(
        viewer,
        np.stack([stack(), stack(seed=1)]),
        scale=(1, 3, 1, 1),
        units=("pixel", "um", "um", "um"),
        axis_labels=("c", "z", "y", "x"),
    )
    widget = dock(viewer, qtbot)
    assert widget.setup.grid.value.startswith("2 times 10 x 40 x 44")
    run(widget, qtbot)
    assert viewer.layers["stack isotropic"].data.shape == (2, 30, 40, 44)
