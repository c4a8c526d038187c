"""Models of the user's own are listed by their headers and found by name."""

from __future__ import annotations

import pytest
import torch

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.catalog import default_model, find_spec, list_models
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import install_model, user_folder, user_models
from napari_hrsr.training.model_file import save_model


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "mine"))
    return tmp_path / "mine"


def written(path, name="yeast", caution=""):
    arguments = {"ndim": 2, "scale": (2, 2), "features": 4, "blocks": 1}
    network = ConvolutionalUpscaler(**arguments)
    spec = ModelSpec(
        name=name, title=name, task="upscale", architecture="convolutional", arguments=arguments,
        ndim=2, scale=(2, 2), halo=network.halo, noise_input=True, caution=caution,
    )  # fmt: skip
    save_model(network, spec, path)
    return path


def test_an_installed_model_is_listed_found_and_loaded(tmp_path):
    assert user_models() == []
    install_model(written(tmp_path / "model.safetensors", caution="Not for measurement"))
    (spec,) = user_models()
    assert spec.name == "yeast"
    assert spec in list_models(ndim=2)
    assert find_spec("yeast").caution == "Not for measurement"
    assert load_model("yeast").spec == spec
    assert default_model(2) != "yeast"


def test_a_newer_model_of_the_same_name_takes_its_place(tmp_path):
    torch.manual_seed(0)
    first = install_model(written(tmp_path / "a.safetensors"))
    second = install_model(written(tmp_path / "b.safetensors"))
    assert first.weights.sha256 != second.weights.sha256
    assert user_models() == [second]
    assert [p.name for p in user_folder().iterdir()] == ["yeast.safetensors"]


def test_what_is_no_model_is_passed_over_and_not_installed(tmp_path, folder):
    folder.mkdir()
    (folder / "junk.safetensors").write_bytes(b"junk")
    assert user_models() == []
    with pytest.raises(ModelFileError):
        install_model(folder / "junk.safetensors")
    with pytest.raises(ModelFileError, match="none for a file"):
        install_model(written(tmp_path / "m.safetensors", name="../out"))
