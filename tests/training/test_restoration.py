"""Networks that keep the size of their image: settings, training, and what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_hrsr import list_models, upscale
from napari_hrsr.cli import app
from napari_hrsr.errors import InputError
from napari_hrsr.models.load import load_model
from napari_hrsr.samples import find_sample, read_sample
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.config_file import config_from_dict, config_to_dict, read_config
from napari_hrsr.training.preparing import build
from napari_hrsr.training.recording import Degradation, degrade
from napari_hrsr.training.start import Choices, configure
from napari_hrsr.training.tasks import TASK_DEGRADATIONS, resolved_task

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHIPPED = ("denoise-2d", "denoise-3d", "deblur-2d")


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_a_task_that_restores_brings_its_factor_and_degradations(task: str) -> None:
    config = configure(Choices(task=task))
    assert (config.scale, config.task) == ((1, 1), task)
    assert config.degradation == TASK_DEGRADATIONS[task]
    assert config_from_dict(config_to_dict(config)) == config
    volume = configure(Choices(task=task, scale=(1, 1, 1)))
    assert volume.ndim == 3
    _, spec = build(config)
    assert (spec.task, spec.scale) == (task, (1, 1))


def test_degradations_of_the_settings_go_before_those_of_the_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('task = "denoise"\nscale = [1, 1]\n[degradation]\nphotons = [3.0, 5.0]\n')
    assert read_config(path).degradation.photons == (3.0, 5.0)
    path.write_text('task = "denoise"\nscale = [1, 1]\n')
    assert read_config(path).degradation == TASK_DEGRADATIONS["denoise"]


def test_tasks_and_factors_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="1 on all axes to denoise"):
        configure(Choices(task="denoise", scale=(2, 2)))
    with pytest.raises(InputError, match="above 1 on some axis"):
        TrainingConfig(task="upscale", scale=(1, 1))
    with pytest.raises(InputError, match="'task' must be"):
        configure(Choices(task="sharpen"))


def test_a_generator_of_adversarial_training_enhances() -> None:
    assert resolved_task("auto", (2, 2), adversarial=True) == "enhance"
    assert resolved_task("auto", (1, 1), adversarial=False) == "denoise"
    assert resolved_task("deblur", (1, 1), adversarial=True) == "deblur"


def test_a_denoiser_is_trained_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_HRSR_HOME", str(tmp_path / "home"))
    clean = read_sample(find_sample("cells").name)
    tifffile.imwrite("sharp.tif", clean)
    run = CliRunner().invoke(
        app,
        ["train", "sharp.tif", "--task", "denoise", "--steps", "40", "--name", "quiet",
         "--no-install", "--quiet", "--device", "cpu"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    model = load_model(tmp_path / "hrsr-runs" / "quiet" / "model.safetensors")
    assert (model.spec.task, model.spec.scale) == ("denoise", (1, 1))
    truth = clean.astype(np.float32)
    noisy = truth + np.random.default_rng(0).normal(0, 0.1 * np.ptp(truth), truth.shape)
    made = upscale(noisy.astype(np.float32), model, device="cpu")
    assert np.mean((made - truth) ** 2) < 0.6 * np.mean((noisy - truth) ** 2)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_restores_what_it_says(name: str) -> None:
    model = load_model(name)
    recipe = read_config(RECIPES / f"{name}.toml")
    assert model.spec.task == recipe.task == name.partition("-")[0]
    assert recipe.data.leave_out, "the measured sources are left out of the shipped weights"
    sample = "cells" if model.spec.ndim == 2 else "volume"
    truth = read_sample(find_sample(sample).name).astype(np.float32)
    black, white = np.percentile(truth, (0.1, 99.9))
    truth = (truth - black) / (white - black)
    degradation = Degradation(_instrument(recipe, 1.5), photons=200.0, read_noise=0.01)
    if name.startswith("denoise"):
        degradation = Degradation(_instrument(recipe, 0.0), photons=40.0, read_noise=0.02)
    measured = degrade(truth, degradation, np.random.default_rng(0)).astype(np.float32)
    made = upscale(measured, name, device="cpu")
    gain = 10 * np.log10(np.mean((measured - truth) ** 2) / np.mean((made - truth) ** 2))
    assert gain > 0.5


def _instrument(recipe: TrainingConfig, sigma: float):  # type: ignore[no-untyped-def]
    from napari_hrsr.forward import ForwardModel

    return ForwardModel(recipe.scale, (sigma,) * recipe.ndim)


def test_restoring_models_are_listed_by_their_task() -> None:
    assert {"denoise-2d", "denoise-3d"} <= {spec.name for spec in list_models(task="denoise")}
    assert "deblur-2d" in {spec.name for spec in list_models(task="deblur", ndim=2)}
    assert not any("denoise" in spec.name for spec in list_models(task="upscale"))
