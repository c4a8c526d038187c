"""Models are added to the list by name, whoever made them, and taken out again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn
from typer.testing import CliRunner

from napari_hrsr import list_models, load_model, upscale
from napari_hrsr.cli import app
from napari_hrsr.errors import CancelledError, ModelError, ModelFileError
from napari_hrsr.models import receptive_field
from napari_hrsr.models.catalog import default_model, find_spec
from napari_hrsr.models.describing import describe_model, doing
from napari_hrsr.models.foreign import loading
from napari_hrsr.models.installing import add_models, remove_model
from napari_hrsr.models.spec import Upscaler


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's models of these tests apart."""
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    return tmp_path


def dncnn() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for i in range(15):
        channels = (1 if i == 0 else 4, 1 if i == 14 else 4)
        layer = nn.Conv2d(*channels, 3, padding=1)
        state[f"model.{2 * i}.weight"] = layer.weight.detach().clone()
        assert layer.bias is not None
        state[f"model.{2 * i}.bias"] = layer.bias.detach().clone()
    return state


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", *arguments])
    return done.exit_code, done.output


def test_a_published_network_is_added_used_shown_chosen_and_removed(folder: Path) -> None:
    path = folder / "my denoiser.pth"
    torch.save({"params": dncnn()}, path)
    code, text = run("add", str(path))
    assert (code, text.split(":")[0]) == (0, "added my-denoiser")
    (spec,) = [s for s in list_models(task="denoise") if s.name == "my-denoiser"]
    assert spec.halo == (15, 15)
    assert spec.arguments["file"] == "my denoiser.pth"
    image = np.random.default_rng(0).random((50, 40), np.float32)
    assert_array_equal(upscale(image, "my-denoiser", tile=16), upscale(image, path, tile=16))

    text = run("show", "my-denoiser")[1]
    assert "31 x 31 source pixels" in text
    assert "DnCNN" in text
    assert run("default", "my-denoiser")[0] == 0
    assert default_model(2) == "my-denoiser"
    code, text = run("remove", "my-denoiser")
    assert code == 0
    assert default_model(2) == "general-2d-x2"
    assert "my-denoiser" not in [s.name for s in list_models()]
    assert run("remove", "my-denoiser")[0] == 1


def test_a_name_that_ships_is_not_taken(folder: Path) -> None:
    path = folder / "general-2d-x2.pth"
    torch.save(dncnn(), path)
    (spec,) = add_models(path)
    assert spec.name == "general-2d-x2-added"
    assert load_model("general-2d-x2").spec.scale == (2, 2)
    # The same file again replaces its copy.
    assert [s.name for s in add_models(path)] == ["general-2d-x2-added"]


def test_a_folder_is_added_file_by_file(folder: Path) -> None:
    source = folder / "downloads"
    source.mkdir()
    with pytest.raises(ModelFileError, match="downloads holds no file"):
        add_models(source)
    torch.save(dncnn(), source / "a.pth")
    (source / "b.pth").write_bytes(b"nonsense")
    (source / "readme.txt").write_text("not a model")
    with pytest.raises(ModelFileError, match=r"b\.pth"):
        add_models(source)
    assert load_model("a").spec.task == "denoise"


def test_what_came_with_the_package_stays() -> None:
    with pytest.raises(ModelError, match="came with a package"):
        remove_model("general-2d-x2")
    with pytest.raises(ModelError, match=r"no model '\.\./x'"):
        remove_model("../x")


def test_an_old_file_is_converted_on_the_command_line(folder: Path) -> None:
    old = folder / "old.pth"
    torch.save(dncnn(), old, _use_new_zipfile_serialization=False)
    code, text = run("add", str(old))
    assert code == 1
    assert "models convert old.pth" in " ".join(text.split())
    assert run("convert", str(old)) == (0, "old.safetensors: 30 tensors\n")
    assert run("convert", str(old))[0] == 1
    assert run("convert", str(old), "--overwrite")[0] == 0
    assert load_model(folder / "old.safetensors").spec.halo == (15, 15)


def test_a_gain_says_what_it_was_measured_over() -> None:
    (upscaler,) = (spec for spec in list_models() if spec.name == "general-2d-x2")
    (denoiser,) = (spec for spec in list_models() if spec.name == "denoise-2d")
    shown = {spec.name: dict(describe_model(spec)) for spec in (upscaler, denoiser)}
    gains = {
        name: [text for label, text in facts.items() if label.startswith("gain")]
        for name, facts in shown.items()
    }
    assert gains["general-2d-x2"]
    assert all(text.endswith("over cubic interpolation") for text in gains["general-2d-x2"])
    assert gains["denoise-2d"]
    assert all(text.endswith("over the image as it is") for text in gains["denoise-2d"])
    assert (doing(upscaler), doing(denoiser)) == ("Upscaling", "Denoising")
    assert doing(find_spec("general-2d-x2+denoise-2d")) == "Denoising"


def test_the_list_of_models_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    rows = {
        cells[1].strip(): cells
        for line in run()[1].splitlines()
        if len(cells := line.replace("│", "|").split("|")) > 5
    }
    assert rows["general-2d-x2"][5].strip().endswith("over cubic interpolation")
    assert [cell.strip() for cell in rows["denoise-2d"][2:5]] == ["denoise", "2D", "1 x 1"]
    assert rows["denoise-2d"][5].strip().endswith("over the image as it is")


def test_measuring_is_cancelled_within_a_run_of_the_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(dncnn(), folder / "net.pth")
    runs: list[int] = []
    run_once = receptive_field._run

    def counted(model: Upscaler, image: Tensor) -> Tensor:
        runs.append(1)
        return run_once(model, image)

    monkeypatch.setattr(receptive_field, "_run", counted)
    monkeypatch.setattr(loading, "_measured", {})
    polls = itertools.count()
    content = (folder / "net.pth").read_bytes()
    with pytest.raises(CancelledError):
        loading.build_from("net.pth", content, lambda: next(polls) > 8)
    assert runs == [1]
