"""Distilling and exporting from the command line, as a user would."""

from __future__ import annotations

import pytest
from skimage import data
from skimage.io import imsave
from typer.testing import CliRunner

from napari_hrsr.cli import app
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.training.config_file import read_config

SETTINGS = """
batch = 2
patch = 8
pairs = 4
largest = 64
threads = 1
device = "cpu"
model = {arguments = {features = 4, blocks = 1}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("napari_hrsr.training.speed._SIDES", {2: 16, 3: 8})
    (tmp_path / "sharp").mkdir()
    for name in ("camera", "coins", "moon"):
        image = getattr(data, name)()[100:220, :130]
        imsave(tmp_path / "sharp" / f"{name}.png", image, check_contrast=False)
    (tmp_path / "run.toml").write_text(SETTINGS)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_student_is_trained_exported_and_upscales(place):
    done = run(
        "distill", place / "sharp", "--teacher", "general-2d-x2", "--weight", "0.6",
        "--config", place / "run.toml", "--steps", "20", "--name", "student",
        "--out", place / "run",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "gain" in done.output
    assert read_config(place / "run" / "config.toml").teacher.weight == 0.6
    assert "## Learned from a teacher" in (place / "run" / "model.md").read_text()
    out = place / "tiny.safetensors"
    done = run("export", "student", out, "--precision", "int8", "--install")
    assert done.exit_code == 0, done.output
    assert "quality lost:" in done.output
    assert "speed:" in done.output
    assert f"file: {out.stat().st_size} bytes" in done.output
    assert find_spec("tiny").title.endswith("int8 weights")
    image, result = place / "sharp" / "coins.png", place / "out.tif"
    done = run("upscale", image, result, "--model", "tiny", "-q")
    assert done.exit_code == 0, done.output
    assert result.exists()


def test_what_cannot_be_done_is_one_line(place):
    out = place / "out.safetensors"
    for arguments in (
        ("distill", place / "sharp"),
        ("distill", place / "sharp", "--teacher", "nobody"),
        ("distill", place / "sharp", "--teacher", place / "none.safetensors"),
        ("distill", place / "sharp", "--teacher", "cubic-2x2", "--out", place / "run"),
        ("export", "nobody", out),
        ("export", "general-2d-x2", out, "--precision", "int4"),
        ("export", "general-2d-x2", place / "out.txt"),
    ):
        done = run(*arguments)
        assert done.exit_code == 1, arguments
        assert "napari-hrsr: error:" in done.output
        assert "Traceback" not in done.output
    assert sorted(p.name for p in place.iterdir()) == ["run.toml", "sharp"]
