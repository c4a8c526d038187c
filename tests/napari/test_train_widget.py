"""Training in a real window, by a real process."""

import numpy as np
import psutil
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.io import imsave

from napari_hrsr._napari import train_widget
from napari_hrsr._napari.image_source import FOLDER
from napari_hrsr._napari.network_speed import NetworkSpeed
from napari_hrsr._napari.train_setup import TrainSetup
from napari_hrsr._napari.train_widget import Train
from napari_hrsr._napari.training_options import SAME_FIELDS
from napari_hrsr.models.catalog import find_spec, list_models
from napari_hrsr.training.config_file import config_from_dict
from napari_hrsr.training.events import Started
from napari_hrsr.training.point_spread_choice import with_point_spread

TIMEOUT = 120_000

TINY = {"batch": 2, "patch": 8, "pairs": 2, "largest": 64, "threads": 1, "validate_every": 50}


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch, tmp_path):
    """Train the smallest network, in a home folder of this test, and measure no speed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(NetworkSpeed, "ask", lambda *_: None)
    whole = TrainSetup.order

    def tiny(setup):
        order = whole(setup)
        order.settings.update(TINY)
        order.settings["model"]["arguments"] = {"features": 4, "blocks": 1}
        return order

    monkeypatch.setattr(TrainSetup, "order", tiny)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def told(monkeypatch):
    """What the user was told beside the widget."""
    messages = []
    for kind in ("show_error", "show_warning"):
        monkeypatch.setattr(train_widget, kind, messages.append)
    return messages


@pytest.fixture
def folder(tmp_path):
    """A folder as people have them: shapes differ, and two files are of no use."""
    images = tmp_path / "pictures"
    images.mkdir()
    for number, name in enumerate(("camera", "coins", "moon")):
        pixels = getattr(data, name)()[: 140 + number, : 150 - number]
        imsave(images / f"{name}.png", pixels, check_contrast=False)
    imsave(images / "dot.png", data.camera()[:3, :3], check_contrast=False)
    (images / "broken.tif").write_bytes(b"II*\x00 and no more")
    return images


def dock(viewer, steps=50):
    widget = Train(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    widget.setup.details.device.value = "cpu"
    widget.setup.details.steps.value = steps
    return widget


def outcome(widget, qtbot, act):
    """Do something, and wait until the training has ended."""
    outcomes = []
    widget.controller.ended.connect(outcomes.append)
    act()
    qtbot.wait_until(lambda: bool(outcomes), timeout=TIMEOUT)
    widget.controller.ended.disconnect(outcomes.append)
    return outcomes[0]


def children():
    return [p for p in psutil.Process().children() if "napari_hrsr.cli" in p.cmdline()]


def test_train_on_a_folder_then_use_the_model_then_train_again(
    viewer, qtbot, folder, told, tmp_path
):
    source = viewer.add_image(data.camera()[:120, :130], name="cells")
    widget = dock(viewer)
    widget.setup.images.kind.value = FOLDER
    widget.setup.images.folder.value = str(folder)
    assert widget.setup.names.name.value == "pictures-2d-x2"
    assert outcome(widget, qtbot, widget.start_button.native.click).kind == "complete"

    assert "2 images were left out" in widget.progress.left_out_button.text
    assert "dot.png: it is too small: 3 x 3 pixels" in widget.progress.left_out.value
    assert "broken.tif" in widget.progress.left_out.value
    assert any("2 of the images cannot be used" in message for message in told)
    plot = widget.progress.plot
    assert plot.psnr.points[-1][0] == plot.cubic.points[-1][0] == 50
    assert plot.loss.points
    pictures = widget.progress.comparison.pictures
    assert pictures.step == 50
    assert pictures.model.shape == pictures.truth.shape == pictures.cubic.shape
    assert "dB over cubic" in widget.progress.figures.value
    assert "pictures-2d-x2 is listed" in widget.progress.status.value
    assert "pictures-2d-x2" in {spec.name for spec in list_models()}

    viewer.layers.selection.active = source
    widget.results.use_button.native.click()
    upscaling = viewer.window.dock_widgets["Super-resolution (2D) (napari-hrsr)"]
    assert upscaling.model.value == "pictures-2d-x2"
    assert upscaling.layer.value == source
    upscaling.run()
    qtbot.wait_until(lambda: "cells x2" in viewer.layers, timeout=TIMEOUT)
    qtbot.wait_until(lambda: not upscaling.controller.running, timeout=TIMEOUT)

    widget.results.show_button.native.click()
    widget.results.show_button.native.click()
    shown = [layer for layer in viewer.layers if layer.name.startswith("Validation")]
    assert len(shown) == 4
    assert len({tuple(layer.extent.world.ravel() // 2) for layer in shown}) == 1

    # Neither the preview layers nor the result are to be learned from.
    widget.setup.images.kind.value = "Layers"
    assert widget.setup.images.chosen_layers() == [source]
    assert widget.setup.names.name.value == "cells-2d-x2"
    assert outcome(widget, qtbot, widget.start_button.native.click).kind == "complete"
    assert widget.progress.left_out_button.native.isHidden()
    assert find_spec("cells-2d-x2").scale == (2, 2)
    assert {p.name for p in (tmp_path / "napari-hrsr-runs").iterdir()} == {
        "pictures-2d-x2",
        "cells-2d-x2",
    }


def test_stop_then_resume_then_close(viewer, qtbot, told, monkeypatch, tmp_path):
    monkeypatch.setattr(Train, "ask_run", lambda _: pytest.fail("there is a run to go on with"))
    viewer.add_image(data.coins()[:150, :160], name="coins")
    widget = dock(viewer, steps=100_000)
    widget.start()
    qtbot.wait_until(lambda: widget.results.use_button.enabled, timeout=TIMEOUT)
    assert "left" in widget.progress.status.value
    checkpoint = tmp_path / "napari-hrsr-runs" / "coins-2d-x2" / "checkpoint.safetensors"
    qtbot.wait_until(checkpoint.exists, timeout=TIMEOUT)
    assert not widget.start_button.enabled
    assert not widget.start()
    assert children()
    assert outcome(widget, qtbot, widget.stop_button.native.click).kind == "stopped"
    assert not children()
    assert "Resume" in widget.progress.status.value
    assert widget.results.use_button.enabled
    measured = list(widget.progress.plot.psnr.points)

    events = []
    widget.controller.told.connect(events.append)
    widget.resume_button.native.click()
    qtbot.wait_until(lambda: any(isinstance(e, Started) for e in events), timeout=TIMEOUT)
    started = next(event for event in events if isinstance(event, Started))
    assert started.step >= 50
    assert started.folder.endswith("coins-2d-x2")
    qtbot.wait_until(lambda: bool(widget.progress.plot.psnr.points), timeout=TIMEOUT)
    assert widget.progress.plot.psnr.points[0] == pytest.approx(measured[0], rel=1e-4)

    (child,) = children()
    widget.native.destroyed.emit()
    qtbot.wait_until(lambda: not widget.controller.running, timeout=TIMEOUT)
    assert not child.is_running()
    assert told == []


def test_a_pair_of_different_scenes_is_refused(viewer, qtbot, told, tmp_path):
    sharp = viewer.add_image(data.camera()[:128, :128], name="camera")
    coarse = viewer.add_image(data.coins()[:64, :64], name="coins")
    widget = dock(viewer)
    widget.setup.images.ticks.tick([sharp])
    widget.setup.details.low.value = SAME_FIELDS
    widget.setup.details.coarse.ticks.tick([coarse])
    assert outcome(widget, qtbot, widget.start_button.native.click).kind == "failed"
    assert "none of the pairs can be used" in widget.progress.status.value
    assert told == [widget.progress.status.value]
    assert widget.show_setup.value
    assert widget.start_button.enabled
    assert not widget.results.use_button.enabled
    assert not list((tmp_path / "napari-hrsr-runs").iterdir())


def test_nothing_to_learn_from_is_told_at_once(viewer, told):
    widget = dock(viewer)
    assert not widget.start()
    assert "nothing to learn from" in told[0]
    assert not widget.controller.running


def test_adversarial_training_asks_for_a_model_to_start_from(viewer, told):
    viewer.add_image(data.coins(), name="coins")
    widget = dock(viewer)
    widget.setup.network.adversarial.value = True
    assert not widget.start()
    assert "Start from" in told[0]


def test_degradation_is_shown_on_the_image(viewer, qtbot):
    source = viewer.add_image(data.coins()[:90, :100], name="coins", scale=(3, 3))
    widget = dock(viewer)
    widget.setup.preview_button.native.click()
    qtbot.wait_until(lambda: "Low-resolution preview" in viewer.layers, timeout=TIMEOUT)
    for name in ("Sharp preview", "Low-resolution preview"):
        corners = viewer.layers[name].extent.world
        assert corners == pytest.approx(source.extent.world, abs=1.6)
    assert viewer.layers["Low-resolution preview"].data.shape == (45, 50)
    assert "noise" in widget.setup.preview_facts.value
    widget.setup.preview_button.native.click()
    qtbot.wait_until(lambda: widget.setup.preview_button.enabled, timeout=TIMEOUT)
    assert len(viewer.layers) == 3
    assert widget.setup.images.chosen_layers() == [source]


def test_a_measured_blur_is_learned_from_as_the_command_line_does(viewer, tmp_path):
    viewer.add_image(data.coins()[:90, :100], name="coins")
    setup = dock(viewer).setup
    assert setup.task.axes.native.isHidden()
    setup.task.task.value = "deblur"
    assert setup.factor.native.isHidden()
    assert setup.names.name.value == "coins-2d-deblur"
    spots = np.zeros((17, 17), np.float32)
    spots[8, 8] = 1000
    imsave(tmp_path / "bead.tif", gaussian_filter(spots, (1, 2)), check_contrast=False)
    setup.task.blur.value = tmp_path / "bead.tif"
    assert setup.details.blur.native.isHidden()
    config = config_from_dict(setup.order().settings)
    assert (config.task, config.scale) == ("deblur", (1, 1))
    expected = with_point_spread(
        config_from_dict({"task": "deblur", "scale": [1, 1]}), tmp_path / "bead.tif"
    )
    assert config.degradation == expected.degradation
    setup.task.axes.value = 3
    assert setup.scale == (1, 1, 1)
    setup.task.task.value = "upscale"
    assert setup.scale == (2, 2)
    assert "measured" not in setup.order().settings["degradation"]
