"""ONNX files: opened, tiled, installed; refused where they could do more than compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from napari_hrsr import load_model, upscale
from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.installing import add_models


def graph(path: Path, *, nodes=(), extra=(), channels=1, sizes=("y", "x"), factor=2) -> Path:
    """Two convolutions, and a shuffle of channels into pixels."""
    rng = np.random.default_rng(0)
    shapes = [(4, channels, 3, 3), (channels * factor**2, 4, 3, 3)]
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), f"w{i}")
        for i, s in enumerate(shapes)
    ]
    steps = [
        helper.make_node("Conv", ["image", "w0"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["result"], blocksize=factor, mode="CRD"),
        *nodes,
    ]
    info = helper.make_tensor_value_info
    made = helper.make_graph(
        steps,
        "net",
        [info("image", TensorProto.FLOAT, [1, channels, *sizes])],
        [info("result", TensorProto.FLOAT, None)],
        [*weights, *extra],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_tiles_equal_the_whole_and_the_halo_is_measured(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx")
    spec = load_model(path).spec
    assert (spec.scale, spec.channels, spec.halo) == ((2, 2), 1, (2, 2))
    image = np.random.default_rng(1).integers(0, 4000, (41, 50)).astype(np.uint16)
    whole = upscale(image, path, tile=100, dtype=np.float32)
    assert_allclose(upscale(image, path, tile=13, dtype=np.float32), whole, atol=1e-2)
    assert whole.shape == (82, 100)


def test_a_description_beside_it_says_what_it_does(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx")
    beside = tmp_path / "net.onnx.json"
    beside.write_text(json.dumps({"factor": 2, "normalisation": "range", "task": "enhance"}))
    spec = load_model(path).spec
    assert (spec.normalisation, spec.task) == ("range", "enhance")
    for wrong, words in (({"factor": 3}, "has the factor"), ({"size": 3}, "states 'size'")):
        beside.write_text(json.dumps(wrong))
        with pytest.raises(ModelFileError, match=words):
            load_model(path)


def test_it_is_installed_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_HRSR_MODELS", str(tmp_path / "models"))
    path = graph(tmp_path / "my net.onnx")
    (spec,) = add_models(path, given={"factor": 2, "channels": 1})
    assert spec.name == "my-net"
    image = np.random.default_rng(1).random((20, 30), np.float32)
    assert_array_equal(upscale(image, "my-net"), upscale(image, path))


def endless() -> list[onnx.NodeProto]:
    body = helper.make_graph([], "body", [], [])
    return [helper.make_node("Loop", ["", ""], ["d"], body=body)]


def outside() -> TensorProto:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "far")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"
    return tensor


def huge() -> TensorProto:
    return numpy_helper.from_array(np.array([1, 1 << 20, 1 << 20], np.int64), "many")


HOSTILE = {
    "another file": {"extra": [outside()]},
    "may not end": {"nodes": endless()},
    "is random": {"nodes": [helper.make_node("RandomNormalLike", ["c"], ["d"])]},
    "operators of its own": {"nodes": [helper.make_node("Evil", ["c"], ["d"], domain="evil")]},
    "much larger": {
        "extra": [huge()],
        "nodes": [helper.make_node("ConstantOfShape", ["many"], ["d"])],
    },
    "NaN or infinite": {"extra": [numpy_helper.from_array(np.full(99, np.nan, np.float32), "bad")]},
    "64 x 64 pixels only": {"sizes": (64, 64)},
}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_graphs_are_refused(tmp_path: Path, words: str) -> None:
    path = graph(tmp_path / "net.onnx", **HOSTILE[words])
    with pytest.raises(ModelFileError, match=words):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x07" * 50])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"net\.onnx"):
        load_model(path)
