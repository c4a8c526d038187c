"""A training run from settings to a model, stopped, killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data
from skimage.io import imsave

from napari_hrsr.errors import CancelledError, HrsrError, InputError, TrainingError
from napari_hrsr.models.load import load_model
from napari_hrsr.training import watching
from napari_hrsr.training.checkpoints import checkpoint_step
from napari_hrsr.training.collection import ArrayItem
from napari_hrsr.training.config import (
    DataSettings,
    ModelSettings,
    OptimiserSettings,
    TrainingConfig,
)
from napari_hrsr.training.config_file import read_config, write_config
from napari_hrsr.training.events import Finished, Measured, Progress, Started
from napari_hrsr.training.fit import EPOCH_STEPS, resume_training, run_training
from napari_hrsr.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharp")
    for number, image in enumerate((data.camera(), data.coins(), data.page(), data.moon())):
        imsave(folder / f"image{number}.png", image[:144, :160], check_contrast=False)
    return folder


@pytest.fixture
def config(images):
    return TrainingConfig(
        steps=3 * EPOCH_STEPS,
        batch=2,
        patch=8,
        pairs=4,
        largest=64,
        validate_every=EPOCH_STEPS,
        device="cpu",
        threads=1,
        data=DataSettings(images=(str(images),), validation_share=0.3),
        model=ModelSettings(name="tiny", arguments={"features": 4, "blocks": 1}),
        optimiser=OptimiserSettings(learning_rate=4e-3),
    )


def weights(folder):
    return load_file(RunFolder(folder).checkpoint)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_run_leaves_a_model_and_everything_about_it(tmp_path, config):
    events = []
    model = run_training(config, tmp_path / "run", report=events.append)
    place = RunFolder(tmp_path / "run")
    started = next(e for e in events if isinstance(e, Started))
    measured = [e for e in events if isinstance(e, Measured)]
    assert started.steps == config.steps
    assert [e.step for e in measured] == [EPOCH_STEPS, 2 * EPOCH_STEPS, 3 * EPOCH_STEPS]
    assert events[-1] == Finished(str(model), config.steps, complete=True)
    assert [int(row["step"]) for row in place.rows()] == [e.step for e in measured]
    assert len(list(place.previews.glob("*.png"))) == 3
    assert list((place.path / "tensorboard").glob("events*"))
    assert read_config(place.config) == config
    upscaler = load_model(model)
    assert upscaler.spec.name == "tiny"
    assert f"gain | {measured[-1].values['gain']:+.2f}" in place.card.read_text()
    with np.load(place.preview) as shown:
        assert shown["truth"].shape == tuple(2 * n for n in shown["source"].shape)
    assert not list(place.path.glob(".*partial"))


def test_training_beats_interpolation_where_it_can(tmp_path, config):
    # Stripes finer than a pixel of the coarse image: cubic interpolation cannot know them.
    rows, columns = np.mgrid[:160, :160]
    stripes = ((rows // 24 + columns // 24) % 2) * 100.0
    config = replace(config, steps=4 * EPOCH_STEPS, data=DataSettings())
    events = []
    arrays = [ArrayItem("stripes", stripes, "YX"), ArrayItem("stripes2", stripes.T + 3, "YX")]
    run_training(config, tmp_path / "run", arrays=arrays, report=events.append)
    gains = [e.values["gain"] for e in events if isinstance(e, Measured)]
    assert gains[-1] > 1.0
    assert gains[-1] > gains[0]


def test_the_same_settings_give_the_same_weights(tmp_path, config):
    run_training(config, tmp_path / "a")
    run_training(read_config(tmp_path / "a" / "config.toml"), tmp_path / "b")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    run_training(replace(config, seed=1), tmp_path / "c")
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, config, monkeypatch):
    # The last epoch is a short one.
    config = replace(config, steps=config.steps + 20)
    run_training(config, tmp_path / "whole")
    monkeypatch.setattr(watching, "_CHECKPOINT_SECONDS", 0.0)
    steps = iter(range(10**6))
    events = []
    run_training(config, tmp_path / "run", report=events.append, cancelled=lambda: next(steps) > 80)
    assert not events[-1].complete
    assert EPOCH_STEPS < events[-1].step < config.steps
    assert checkpoint_step(RunFolder(tmp_path / "run").checkpoint) == EPOCH_STEPS
    resume_training(tmp_path / "run", report=events.append)
    assert events[-1] == Finished(str(tmp_path / "run" / "model.safetensors"), config.steps, True)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    rows = [int(r["step"]) for r in RunFolder(tmp_path / "run").rows()]
    assert rows == sorted(set(rows))


CHILD = """
import os, signal, sys
from napari_hrsr.training.config_file import read_config
from napari_hrsr.training.events import Measured
from napari_hrsr.training.fit import run_training
import napari_hrsr.training.watching as watching
watching._CHECKPOINT_SECONDS = 0.0

def die(event):
    if isinstance(event, Measured) and event.step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

run_training(read_config(sys.argv[1]), sys.argv[2], report=die)
"""


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path, config):
    run_training(config, tmp_path / "whole")
    write_config(config, tmp_path / "settings.toml")
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "settings.toml", tmp_path / "run",
         str(2 * EPOCH_STEPS)],
        env=os.environ, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert RunFolder(tmp_path / "run").checkpoint.exists()
    resume_training(tmp_path / "run")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    whole, resumed = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "run"))
    assert same(whole, resumed)


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path, config):
    run_training(config, tmp_path / "run")
    before = weights(tmp_path / "run")
    events = []
    resume_training(tmp_path / "run", report=events.append)
    assert events[-1].complete
    assert same(weights(tmp_path / "run"), before)


def test_training_goes_on_from_a_model(tmp_path, config):
    model = run_training(config, tmp_path / "first")
    config = replace(config, model=replace(config.model, name="second", start_from=str(model)))
    events = []
    run_training(config, tmp_path / "second", report=events.append)
    first = RunFolder(tmp_path / "first").rows()[-1]
    measured = next(e for e in events if isinstance(e, Measured))
    # A network from nothing would be near cubic interpolation after so few steps.
    assert measured.values["psnr"] > float(first["psnr"]) - 0.3
    wrong = replace(config, scale=(2, 2, 2), batch=2, patch=8, pairs=4, largest=64)
    with pytest.raises(HrsrError, match="3D"):
        run_training(wrong, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_progress_tells_the_time_that_remains(tmp_path, config):
    events = []
    run_training(replace(config, steps=EPOCH_STEPS), tmp_path / "run", report=events.append)
    for event in events:
        if isinstance(event, Progress):
            assert event.seconds_left >= 0
            assert event.loss > 0


def test_a_run_that_diverges_says_so(tmp_path, config):
    wild = replace(
        config, optimiser=OptimiserSettings(learning_rate=0.9, clip=1e30, losses={"mse": 1e42})
    )
    with pytest.raises(TrainingError, match="learning rate"):
        run_training(wild, tmp_path / "run")


def test_what_cannot_be_started_leaves_no_folder(tmp_path, config):
    nothing = replace(config, data=DataSettings(images=(str(tmp_path / "none"),)))
    with pytest.raises(InputError):
        run_training(nothing, tmp_path / "run")
    with pytest.raises(InputError, match="no images"):
        run_training(replace(config, data=DataSettings()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, config):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(InputError, match="holds a training run"):
        run_training(config, tmp_path)
    with pytest.raises(InputError, match="no training run"):
        resume_training(tmp_path / "other")


def test_cancelling_while_images_are_opened_writes_nothing(tmp_path, config):
    with pytest.raises(CancelledError):
        run_training(config, tmp_path / "run", cancelled=lambda: True)
    assert not (tmp_path / "run").exists()


def test_minutes_become_steps_that_can_be_repeated(tmp_path, config):
    steps = iter(range(10**6))
    short = replace(config, steps=0, minutes=0.05)
    run_training(short, tmp_path / "run", cancelled=lambda: next(steps) > 10)
    written = read_config(tmp_path / "run" / "config.toml")
    assert written.steps >= 20
    assert written.minutes == 0


def test_early_stopping_keeps_the_best(tmp_path, config):
    # A rate of almost nothing: no measurement is better than the one before.
    still = replace(
        config, steps=20 * EPOCH_STEPS, patience=2, optimiser=OptimiserSettings(learning_rate=1e-30)
    )
    events = []
    run_training(still, tmp_path / "run", report=events.append)
    assert events[-1].complete
    assert events[-1].step < still.steps
    assert "no improvement" in RunFolder(tmp_path / "run").log.read_text()
