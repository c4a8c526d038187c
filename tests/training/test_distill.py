"""A small network that learns from a larger one, in the same loop as every other training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data
from skimage.io import imsave

import napari_hrsr
from napari_hrsr.errors import InputError, ModelError, ModelFileError
from napari_hrsr.models.catalog import find_spec, list_models
from napari_hrsr.models.load import load_model
from napari_hrsr.training import watching
from napari_hrsr.training.checkpoints import checkpoint_step
from napari_hrsr.training.config import (
    AdversarySettings,
    DataSettings,
    ModelSettings,
    OptimiserSettings,
    TeacherSettings,
    TrainingConfig,
)
from napari_hrsr.training.config_file import read_config, write_config
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.events import Measured
from napari_hrsr.training.fit import EPOCH_STEPS, make_module, resume_training, run_training
from napari_hrsr.training.preparing import build, open_data, settle
from napari_hrsr.training.run_folder import RunFolder
from napari_hrsr.training.start import Choices, configure
from napari_hrsr.training.teacher import DistilledTraining, with_teacher_digest

TEACHER = "general-2d-x2"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measure speed on tiny images."""
    monkeypatch.setattr("napari_hrsr.training.speed._SIDES", {2: 16, 3: 8})
    monkeypatch.setattr("napari_hrsr.training.speed._ROUNDS", 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharp")
    for number, image in enumerate((data.camera(), data.coins(), data.moon())):
        imsave(folder / f"image{number}.png", image[100:220, :130], check_contrast=False)
    return folder


@pytest.fixture
def config(images):
    return TrainingConfig(
        steps=2 * EPOCH_STEPS,
        batch=2,
        patch=8,
        pairs=4,
        largest=64,
        validate_every=EPOCH_STEPS,
        device="cpu",
        threads=1,
        data=DataSettings(images=(str(images),), validation_share=0.34),
        # One blur and no noise: what there is to learn is learned in a few steps.
        degradation=Degradations(
            bicubic=0, area=1, point_spread_share=1, gaussian_sigma=(1.0, 1.0), noisy_share=0
        ),
        model=ModelSettings(name="student", arguments={"features": 4, "blocks": 1}),
        optimiser=OptimiserSettings(learning_rate=4e-3),
        teacher=TeacherSettings(TEACHER),
    )


def made(config):
    network, spec = build(config)
    return make_module(config, network, spec, open_data(config))


def a_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "coarse": torch.rand(2, 1, 8, 8, generator=generator),
        "fine": torch.rand(2, 1, 16, 16, generator=generator),
        "noise": torch.full((2, 1, 1, 1), 0.02),
        "instruments": [None, None],
    }


def test_a_student_comes_nearer_to_its_teacher_and_to_the_truth(tmp_path, config):
    events = []
    model = run_training(config, tmp_path / "run", report=events.append)
    measured = [e.values for e in events if isinstance(e, Measured)]
    # An untrained student is cubic interpolation.
    start = made(config)[0].figures()
    assert measured[-1]["to_teacher"] > start["to_teacher"] + 0.3
    assert measured[-1]["gain"] > 0.3
    assert measured[-1]["teacher_psnr"] == pytest.approx(start["teacher_psnr"])
    spec = load_model(model).spec
    assert spec.trained_on.endswith(f"taught by {TEACHER}")
    names = load_file(RunFolder(tmp_path / "run").checkpoint)
    assert sum(n.numel() for n in names.values()) < 30_000, "the teacher is in the checkpoint"


def test_the_card_compares_teacher_student_and_cubic_interpolation(tmp_path, config):
    events = []
    run_training(replace(config, steps=EPOCH_STEPS), tmp_path / "run", report=events.append)
    values = next(e.values for e in events if isinstance(e, Measured))
    place = RunFolder(tmp_path / "run")
    rows = [line.split("|")[1:-1] for line in place.card.read_text().splitlines() if "|" in line]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    teacher, student = table[f"teacher, `{TEACHER}`"], table["this model"]
    cubic = table["cubic interpolation"]
    assert teacher[0] == f"{values['teacher_psnr']:.2f}"
    shipped = load_model(TEACHER)
    assert teacher[2] == str(sum(p.numel() for p in shipped.network.parameters()))
    assert teacher[3] == f"{shipped.spec.weights.size // 1000} kB"
    assert student[1] == f"{values['gain']:+.2f}"
    assert student[3] == f"{place.model.stat().st_size // 1000} kB"
    assert cubic[:4] == [f"{values['cubic_psnr']:.2f}", "+0.00", "0", "none"]
    assert all(float(row[4].removesuffix(" s")) > 0 for row in (teacher, student, cubic))


def test_the_loss_is_the_weighted_mean_of_both_distances(config):
    batch = a_batch()

    def loss(weight):
        module, _ = made(replace(config, teacher=TeacherSettings(TEACHER, weight)))
        return module, float(module.training_step(batch, 0).detach())

    module, half = loss(0.5)
    teacher = load_model(TEACHER)
    taught = teacher(batch["coarse"], noise=batch["noise"])
    result = module.network(batch["coarse"], batch["noise"])
    to_truth, to_teacher = (float(module.loss(result, x).detach()) for x in (batch["fine"], taught))
    assert half == pytest.approx((to_truth + to_teacher) / 2, rel=1e-4)
    assert loss(1.0)[1] == pytest.approx(to_teacher, rel=1e-4)
    assert loss(0.25)[1] == pytest.approx(0.75 * to_truth + 0.25 * to_teacher, rel=1e-4)


def test_the_teacher_learns_nothing(config):
    module, _ = made(config)
    before = [p.clone() for p in module.teacher.parameters()]
    module.training_step(a_batch(), 0).backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    assert all(torch.equal(p, q) for p, q in zip(module.teacher.parameters(), before, strict=True))
    assert not any("teacher" in name for name in module.state_dict())


def test_a_run_with_a_teacher_that_was_stopped_goes_on_to_the_same_weights(
    tmp_path, config, monkeypatch
):
    run_training(config, tmp_path / "whole")
    monkeypatch.setattr(watching, "_CHECKPOINT_SECONDS", 0.0)
    steps = iter(range(10**6))
    run_training(config, tmp_path / "run", cancelled=lambda: next(steps) > 70)
    assert checkpoint_step(RunFolder(tmp_path / "run").checkpoint) == EPOCH_STEPS
    resume_training(tmp_path / "run")
    whole, resumed = (load_file(RunFolder(tmp_path / n).checkpoint) for n in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_a_run_does_not_go_on_with_another_teacher(tmp_path, config, monkeypatch):
    settled = with_teacher_digest(config)
    assert settled.teacher.sha256 == find_spec(TEACHER).weights.sha256
    other = replace(settled.teacher, sha256="0" * 64)
    with pytest.raises(ModelError, match="not the teacher that this run began with"):
        DistilledTraining(build(config)[0], replace(config, teacher=other))


def test_minutes_leave_time_for_the_teacher(config, monkeypatch):
    data_, (network, _) = open_data(config), build(config)
    short = replace(config, steps=0, minutes=1)
    monkeypatch.setattr("napari_hrsr.training.preparing.teacher_seconds", lambda *a: 1.0)
    assert settle(short, network, data_).steps <= 60


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("cubic-2x2", "learned nothing itself"),
        ("nobody", "there is no model 'nobody'"),
        ("general-3d-x2", "they must agree"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_written(
    tmp_path, config, teacher, message
):
    with pytest.raises(ModelError, match=message):
        run_training(replace(config, teacher=TeacherSettings(teacher)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_teacher_is_refused(tmp_path, config):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x00" * 40)
    with pytest.raises(ModelFileError, match=r"broken\.safetensors"):
        run_training(replace(config, teacher=TeacherSettings(str(broken))), tmp_path / "run")


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5, float("nan")])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    with pytest.raises(InputError, match=r"teacher\.weight"):
        TeacherSettings(TEACHER, weight)


def test_a_run_has_a_teacher_or_an_adversary(config):
    with pytest.raises(InputError, match="adversary or from a teacher"):
        replace(config, adversary=AdversarySettings())
    with pytest.raises(InputError, match=r"teacher\.model"):
        TeacherSettings()


def test_settings_of_a_teacher_come_back_from_their_file(tmp_path, config):
    write_config(config, tmp_path / "a.toml")
    assert read_config(tmp_path / "a.toml").teacher == config.teacher
    (tmp_path / "b.toml").write_text('[teacher]\nmodel = "large.safetensors"\nweight = 0.7\n')
    teacher = read_config(tmp_path / "b.toml").teacher
    assert teacher == TeacherSettings(str(tmp_path / "large.safetensors"), 0.7)


def test_the_student_takes_factor_and_axes_from_its_teacher():
    config = configure(Choices(teacher="general-3d-x2", network="fsrcnn", teacher_weight=0.3))
    fresh = TrainingConfig(scale=(2, 2, 2))
    assert (config.scale, config.batch, config.patch) == (fresh.scale, fresh.batch, fresh.patch)
    assert config.model.network == "fsrcnn"
    assert config.teacher == TeacherSettings("general-3d-x2", 0.3)
    with pytest.raises(InputError, match="to learn from"):
        configure(Choices(teacher="nowhere.safetensors"))


def test_distil_from_python(tmp_path, config, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    rng = np.random.default_rng(0)
    arrays = [rng.random((120, 120)).astype(np.float32) for _ in range(2)]
    settings = replace(config, teacher=None, data=DataSettings())
    model = napari_hrsr.distill(
        arrays,
        teacher=TEACHER,
        weight=0.8,
        name="taught",
        steps=20,
        folder=tmp_path / "run",
        config=settings,
    )
    assert load_model(model).spec.name == "taught"
    assert read_config(tmp_path / "run" / "config.toml").teacher.weight == 0.8
    assert "taught" in {spec.name for spec in list_models(ndim=2)}
    with pytest.raises(InputError, match="no teacher"):
        napari_hrsr.distill(arrays, config=settings, folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()
