"""Files of weights: ours come back exactly, all others are refused with a reason."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from napari_hrsr.errors import ModelError, ModelFileError
from napari_hrsr.models.header import METADATA_KEY
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.spec import ModelSpec, Upscaler, Weights, spec_to_dict
from napari_hrsr.training.model_file import save_model

ARGUMENTS: dict[str, Any] = {"ndim": 2, "scale": (2, 2), "features": 4, "blocks": 1}


def spec_of(**changes: Any) -> ModelSpec:
    facts: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "task": "upscale",
        "architecture": "convolutional",
        "arguments": ARGUMENTS,
        "ndim": 2,
        "scale": (2, 2),
        "halo": (5, 5),
        "noise_input": True,
    }
    return ModelSpec(**(facts | changes))


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        k: torch.randn_like(v)
        for k, v in build_network("convolutional", ARGUMENTS).state_dict().items()
    }


def content(
    values: dict[str, torch.Tensor] | None = None, facts: Any = None, key: str = METADATA_KEY
) -> bytes:
    facts = spec_to_dict(spec_of()) if facts is None else facts
    return save(tensors() if values is None else values, {key: json.dumps(facts)})


def facts(**changes: Any) -> dict[str, Any]:
    return spec_to_dict(spec_of()) | changes


def test_a_model_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    path.write_bytes(content())
    for given in (path, str(path)):
        model = load_model(given)
        assert isinstance(model, Upscaler)
        weights = model.spec.weights
        assert weights is not None
        assert (weights.file, weights.size) == (path.name, path.stat().st_size)
        assert replace(model.spec, weights=None) == spec_of()
        state = model.network.state_dict()  # type: ignore[attr-defined]
        for name, tensor in tensors().items():
            assert torch.equal(state[name], tensor)
        assert not model.training  # type: ignore[attr-defined]


def test_half_precision_weights_are_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(content({k: v.half() for k, v in tensors().items()}))
    model = load_model(path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # type: ignore[attr-defined]


def spoiled(value: float) -> dict[str, torch.Tensor]:
    values = tensors()
    values["head.weight"][0, 0, 1, 1] = value
    return values


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def with_arguments(**changes: Any) -> bytes:
    return content(facts=facts(arguments=ARGUMENTS | changes))


DAMAGED = {
    "empty": (b"", "cut off"),
    "seven bytes": (b"1234567", "cut off"),
    "cut in the header": (content()[:60], "cut off"),
    "cut in the weights": (content()[:-40], "damaged|cut off"),
    "half": (content()[: len(content()) // 2], "damaged|cut off"),
    "more bytes": (content() + b"\0" * 16, "damaged"),
    "huge header": (header(b"{}", 2**63), "cut off"),
    "not JSON": (header(b"nonsense"), "damaged header"),
    "a list": (header(b"[]"), "damaged header"),
    "deep JSON": (header(b"[" * 200_000), "damaged header"),
    "metadata is a list": (header(b'{"__metadata__": [1]}'), "damaged|no weights"),
    "somebody else's": (content(key="format"), "belongs to no network"),
    "NaN": (content(spoiled(float("nan"))), "'head.weight' holds NaN"),
    "infinite": (content(spoiled(float("inf"))), "'head.weight' holds NaN"),
    "integers": (content({k: v.int() for k, v in tensors().items()}), "int32"),
    "complex": (content({k: v.cfloat() for k, v in tensors().items()}), "complex64|damaged"),
    "a missing tensor": (
        content({k: v for k, v in tensors().items() if k != "head.bias"}),
        "does not fit its network.*head.bias",
    ),
    "another shape": (content(tensors() | {"head.bias": torch.ones(5)}), "does not fit"),
    "one too many": (content(tensors() | {"other": torch.ones(5)}), "does not fit.*other"),
    "facts are no object": (content(facts=[1, 2]), "not understood"),
    "unknown facts": (content(facts=facts(colour="red")), "not understood.*colour"),
    "an unknown network": (content(facts=facts(architecture="os.system")), "unknown architecture"),
    "wrong arguments": (with_arguments(depth=3), "does not take these arguments"),
    "wide": (with_arguments(features=10**9), "absurd size"),
    "deep": (with_arguments(blocks=10**9), "absurd size"),
    "wider than the file": (with_arguments(features=1024), "too small for its network"),
    "another factor": (content(facts=facts(scale=(3, 3))), "a factor or a halo"),
    "a short halo": (content(facts=facts(halo=(1, 1))), "a factor or a halo"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_cannot_be_trusted_is_refused(case: str, tmp_path: Path) -> None:
    data, words = DAMAGED[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=words) as info:
        load_model(path)
    assert "model.safetensors" in str(info.value)
    assert str(tmp_path) not in str(info.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.safetensors"
    os.mkfifo(fifo)
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    for path in (fifo, folder):
        with pytest.raises(ModelFileError, match="not a regular file"):
            load_model(path)
    with pytest.raises(ModelFileError, match="No such file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot read"):
        load_model("nul\0.safetensors")


def test_weights_that_were_exchanged_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.safetensors").write_bytes(content())
    spec = spec_of(weights=Weights("small.safetensors", "0" * 64, 1))
    monkeypatch.setattr("napari_hrsr.models.load.WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setattr("napari_hrsr.models.load.find_spec", lambda name: spec)
    with pytest.raises(ModelFileError, match="reinstall"):
        load_model("small")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match="no model"):
        load_model("missing")


def test_a_network_that_sees_the_whole_image_cannot_state_a_halo(tmp_path):
    arguments = {"ndim": 2, "scale": [2, 2], "features": 8, "blocks": 1, "reduction": 2}
    for window, halo, fits in ((None, None, True), (None, (9, 9), False)):
        network = build_network("attention", {**arguments, "window": window})
        stated = {
            "name": "whole", "title": "whole", "task": "upscale", "architecture": "attention",
            "arguments": {**arguments, "window": window}, "ndim": 2, "scale": (2, 2), "halo": halo,
        }  # fmt: skip
        path = tmp_path / f"{fits}.safetensors"
        save_model(network, ModelSpec(**stated), path)
        if fits:
            assert load_model(path).spec.halo is None
        else:
            with pytest.raises(ModelFileError, match="halo"):
                load_model(path)
