"""Networks that were learned from a stack, on disk."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_hrsr.errors import ModelError, ModelFileError
from napari_hrsr.forward import AxialProfile
from napari_hrsr.isotropic.axial_model import (
    METADATA_KEY,
    AxialFacts,
    AxialModel,
    axial_models,
    read_axial_model,
    write_axial_model,
)
from napari_hrsr.isotropic.learning import axial_config
from napari_hrsr.isotropic.running import kept_path
from napari_hrsr.isotropic.stack import describe_stack
from napari_hrsr.models.header import METADATA_KEY as SPEC_KEY
from napari_hrsr.models.load import NetworkUpscaler
from napari_hrsr.models.spec import spec_to_dict
from napari_hrsr.training.preparing import build

STACK = describe_stack((12, 40, 40), (2.6, 1.0, 1.0))
FACTS = AxialFacts(2.6, AxialProfile("measured", 0.9, (0.1, 1.0, 0.2), 0.4), 0.0125)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AxialModel:
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    network, spec = build(axial_config(STACK, name="brain", steps=1))
    for weights in network.parameters():
        torch.nn.init.uniform_(weights, -0.05, 0.05)
    return AxialModel(NetworkUpscaler(network.half().float(), spec), FACTS, Path("nowhere"))


def test_a_kept_network_comes_back_as_it_was(model: AxialModel) -> None:
    write_axial_model(model, kept_path("brain"))
    assert list(axial_models()) == ["brain"]
    assert axial_models()["brain"] == FACTS
    again = read_axial_model("brain")
    assert again.facts == FACTS
    batch = torch.rand(1, 1, 9, 12)
    with torch.no_grad():
        assert torch.equal(again.network(batch), model.network(batch))
    again.check(STACK)


def test_a_network_for_other_slices_is_refused(model: AxialModel) -> None:
    with pytest.raises(ModelError, match=r"2.6 pixels apart, these are 4 apart"):
        model.check(describe_stack((12, 40, 40), (4.0, 1.0, 1.0)))


def test_what_was_not_learned_from_a_stack_is_refused(model: AxialModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model 'liver'"):
        read_axial_model("liver")
    with pytest.raises(ModelFileError, match="not learned from a stack"):
        read_axial_model(_shipped("general-2d-x2"))
    (tmp_path / "cut.safetensors").write_bytes(b"12345")
    with pytest.raises(ModelFileError):
        read_axial_model(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    "facts",
    ["", "[]", "{}", json.dumps({"ratio": 0, "profile": {}, "misfit": 0}), "nonsense",
     json.dumps({"ratio": 2, "misfit": 0, "profile": {"kind": "round", "fwhm": 1, "samples": [],
                                                      "step": 0}}),
     json.dumps({"ratio": 2, "misfit": -1, "profile": {"kind": "box", "fwhm": 1, "samples": [],
                                                       "step": 0}})],
)  # fmt: skip
def test_facts_that_make_no_sense_are_refused(
    model: AxialModel, tmp_path: Path, facts: str
) -> None:
    path = tmp_path / "odd.safetensors"
    spec = json.dumps(spec_to_dict(model.spec))
    save_file(
        model.network.network.state_dict(), path, metadata={SPEC_KEY: spec, METADATA_KEY: facts}
    )
    with pytest.raises(ModelError):
        read_axial_model(path)
    kept_path("odd").parent.mkdir(parents=True)
    path.rename(kept_path("odd"))
    assert "odd" not in axial_models()


def test_odd_numbers_of_a_profile_survive() -> None:
    profile = AxialProfile("measured", 1 / 3, tuple(np.linspace(0.1, 1, 5)), 0.1 + 0.2)
    assert AxialFacts.from_json(AxialFacts(1.7, profile, 0.1).to_json()).profile == profile


def _shipped(name: str) -> Path:
    return Path(str(files("napari_hrsr") / "models" / "weights" / f"{name}.safetensors"))
