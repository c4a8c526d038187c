"""Training from the command line, as a user would start it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from skimage import data
from skimage.io import imsave
from typer.testing import CliRunner

from napari_hrsr.cli import app
from napari_hrsr.models.catalog import find_spec, list_models
from napari_hrsr.training.events import Finished, Started, event_from_json

SETTINGS = """
steps = 60
batch = 2
patch = 8
pairs = 4
largest = 64
threads = 1
device = "cpu"

[data]
images = ["sharp"]

[model]
name = "tiny"
arguments = {features = 4, blocks = 1}
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    (tmp_path / "sharp").mkdir()
    for name in ("camera", "coins", "moon", "page"):
        image = getattr(data, name)()[:150, :160]
        imsave(tmp_path / "sharp" / f"{name}.png", image, check_contrast=False)
    imsave(tmp_path / "sharp" / "dot.png", data.camera()[:3, :3], check_contrast=False)
    (tmp_path / "sharp" / "broken.tif").write_bytes(b"II*\x00 and no more")
    (tmp_path / "run.toml").write_text(SETTINGS)
    return tmp_path


def test_a_trained_model_is_listed_and_upscales(settings):
    run = CliRunner().invoke(
        app, ["train", "--config", f"{settings}/run.toml", "--out", f"{settings}/run"]
    )
    assert run.exit_code == 0, run.output
    assert "left out: dot.png" in run.output
    assert "left out: broken.tif" in run.output
    assert "gain" in run.output
    assert find_spec("tiny").scale == (2, 2)
    assert "tiny" in {spec.name for spec in list_models(ndim=2)}
    image, result = settings / "sharp" / "coins.png", settings / "out.tif"
    run = CliRunner().invoke(app, ["upscale", str(image), str(result), "--model", "tiny", "-q"])
    assert run.exit_code == 0, run.output
    assert result.exists()


def test_options_go_before_the_file_of_settings(settings):
    arguments = ["train", "--config", f"{settings}/run.toml", "--out", f"{settings}/run"]
    run = CliRunner().invoke(
        app, [*arguments, "--steps", "20", "--name", "other", "--seed", "4", "--no-install"]
    )
    assert run.exit_code == 0, run.output
    written = (settings / "run" / "config.toml").read_text()
    assert 'name = "other"' in written
    assert "seed = 4" in written
    assert not (settings / "models").exists()


def test_what_cannot_be_trained_is_one_line(settings):
    run = CliRunner().invoke(app, ["train", f"{settings}/none", "--out", f"{settings}/run"])
    assert run.exit_code == 1
    assert "napari-hrsr: error:" in run.output
    assert "Traceback" not in run.output
    run = CliRunner().invoke(app, ["train", "--resume", f"{settings}/nothing"])
    assert run.exit_code == 1
    run = CliRunner().invoke(app, ["train", f"{settings}/sharp", "--scale", "two"])
    assert run.exit_code == 2


def test_a_program_hears_events_and_stops_by_closing_the_input(settings):
    arguments = ["train", "--config", f"{settings}/run.toml", "--steps", "100000", "--events"]
    child = subprocess.Popen(
        [sys.executable, "-m", "napari_hrsr.cli", *arguments, "--out", f"{settings}/run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    events = []
    for line in child.stdout:
        assert json.loads(line)
        events.append(event_from_json(line))
        if len(events) == 6:
            child.stdin.close()
    child.stdout.close()
    assert child.wait() == 130
    assert any(isinstance(event, Started) for event in events)
    assert isinstance(events[-1], Finished)
    assert not events[-1].complete
    assert 0 < events[-1].step < 100000
