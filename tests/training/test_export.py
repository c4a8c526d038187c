"""Models in reduced precision: the same model, nearly, in a file of its own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

import napari_hrsr
from napari_hrsr.devices import PRECISIONS, is_fast, resolve_precision
from napari_hrsr.errors import InputError, ModelError, ModelFileError, OutputError
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.samples import read_sample
from napari_hrsr.training import export
from napari_hrsr.training.architectures import find_choice, make_network
from napari_hrsr.training.export import EXPORT_KEY, export_model, known_pair
from napari_hrsr.training.model_file import save_model

CPU = torch.device("cpu")
PARTS = {"int8": 0.6, "bfloat16": 1.1, "float16": 1.1}
"""Most of the original's size that the file may have."""
NEAR = {"int8": 55, "bfloat16": 65, "float16": 100}
"""Least decibels of the result computed in float32 against the original's."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measure on small images."""

    def cropped(name):
        image = read_sample(name)
        return image[(slice(120, 220),) * 2] if image.ndim == 2 else image[(slice(30, 60),) * 3]

    monkeypatch.setattr(export, "read_sample", cropped)
    monkeypatch.setattr("napari_hrsr.training.speed._SIDES", {2: 16, 3: 8})
    monkeypatch.setattr("napari_hrsr.training.speed._ROUNDS", 2)


def random_model(path, *, choice="small", ndim=2, scale=(2, 2), channels=1, size=1.0):
    """A network whose last convolution is not zero, as if it had learned something."""
    torch.manual_seed(0)
    network, arguments = make_network(choice, ndim=ndim, scale=scale, channels=channels)
    with torch.no_grad():
        for parameter in network.tail.parameters():
            parameter.copy_(0.02 * size * torch.randn_like(parameter))
    spec = ModelSpec(
        name="original",
        title="Original",
        task="upscale",
        architecture=find_choice(choice).architecture,
        arguments=arguments,
        ndim=ndim,
        scale=scale,
        channels=channels,
        halo=network.halo,
        noise_input=True,
        licence="CC0-1.0",
    )
    save_model(network, spec, path, dtype=torch.float32)
    return path


@pytest.mark.parametrize("precision", ["int8", "bfloat16", "float16"])
def test_an_exported_model_is_the_model_it_was_made_from(tmp_path, precision):
    out = tmp_path / "smaller.safetensors"
    done = export_model("general-2d-x2", out, precision=precision, device="cpu")
    original, exported = load_model("general-2d-x2").spec, load_model(out).spec
    assert exported.name == "smaller"
    kept = {"name": "", "title": "", "weights": None, "precision": "float32"}
    assert replace(exported, **kept) == replace(original, **kept)
    assert done.size == out.stat().st_size < PARTS[precision] * done.original_size
    image = read_sample("cells")[:96, :120].astype(np.float32)
    options = {"precision": "float32", "device": "cpu", "noise": 3.0}
    before = napari_hrsr.upscale(image, "general-2d-x2", **options)
    after = napari_hrsr.upscale(image, out, **options)
    peak = np.ptp(np.percentile(image, (0.1, 99.9)))
    error = np.sqrt(np.mean(((after - before) / peak) ** 2))
    assert after.shape == before.shape
    assert -20 * np.log10(max(error, 1e-9)) > NEAR[precision]


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_tiles_of_an_exported_model_are_exact(tmp_path, precision):
    model = random_model(tmp_path / "model.safetensors", choice="fsrcnn")
    out = tmp_path / "out.safetensors"
    export_model(model, out, precision=precision, device="cpu")
    image = np.random.default_rng(0).random((60, 50), np.float32)
    whole = napari_hrsr.upscale(image, out, tile=64, device="cpu", noise=0)
    tiled = napari_hrsr.upscale(image, out, tile=13, device="cpu", noise=0)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_volumes_and_colours_are_measured(tmp_path, channels):
    scale = (2, 2) if channels == 3 else (2, 1, 1)
    model = random_model(
        tmp_path / "model.safetensors", ndim=len(scale), scale=scale, channels=channels
    )
    done = export_model(model, tmp_path / "out.safetensors", precision="int8", device="cpu")
    assert [m.model for m in done.measurements] == ["original", "exported"]
    assert done.sample == ("cells" if channels == 3 else "volume")
    assert done.measurements[1].to_original > 45
    assert abs(done.lost) < 0.5


def test_the_sample_of_a_model_that_keeps_the_factor_is_noisy():
    spec = replace(find_spec("cubic-2x2"), scale=(1, 1), halo=(0, 0))
    _, pair = known_pair(spec)
    assert pair.coarse.shape == pair.fine.shape
    assert np.abs(pair.coarse - pair.fine).mean() > 0.01


def test_file_and_card_say_what_was_measured(tmp_path):
    out = tmp_path / "out.safetensors"
    done = export_model("general-2d-x2", out, precision="bfloat16", device="cpu")
    with safe_open(out, "pt") as file:
        inside = json.loads(file.metadata()[EXPORT_KEY])
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert inside["measurements"][0]["psnr"] == done.measurements[0].psnr
    assert {m.computed_in for m in done.measurements} == {"float32", "bfloat16"}
    card = out.with_suffix(".md").read_text()
    assert f"quality lost: {done.lost:.3f} dB" in card
    assert done.speed_line() in card
    assert done.table() in card


@pytest.mark.parametrize(("fast", "said"), [(True, "speed: 4.00"), (False, "speed: as the orig")])
def test_a_difference_in_speed_is_called_one_only_where_the_computation_differs(
    tmp_path, monkeypatch, fast, said
):
    monkeypatch.setattr(export, "is_fast", lambda device, dtype: fast)
    monkeypatch.setattr(export, "megapixel_seconds", lambda runs, channels: [4.0, 1.0, 2.0])
    done = export_model(
        "general-2d-x2", tmp_path / "out.safetensors", precision="bfloat16", device="cpu"
    )
    assert done.measurements[1].computed_in == ("bfloat16" if fast else "float32")
    assert done.speed_line().startswith(said)
    assert done.lost == pytest.approx(done.measurements[0].psnr - done.measurements[1].psnr)


def test_automatic_precision_is_the_models_own_where_the_device_is_fast_in_it(monkeypatch):
    spec = replace(find_spec("general-2d-x2"), precision="bfloat16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert resolve_precision("auto", spec, CPU) is torch.float32
    assert resolve_precision("bfloat16", spec, CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert resolve_precision("auto", spec, CPU) is torch.bfloat16
    assert resolve_precision("float32", spec, CPU) is torch.float32
    assert not is_fast(CPU, torch.float16)
    plain = find_spec("general-2d-x2")
    assert all(resolve_precision("auto", plain, d) is torch.float32 for d in (CPU,))
    assert set(PRECISIONS) == set(plain.dtypes)


def test_a_precision_that_the_model_does_not_run_in_is_no_fact():
    with pytest.raises(ValueError, match="precision of model"):
        replace(find_spec("general-2d-x2"), precision="int3")


def test_what_cannot_be_exported_is_explained(tmp_path):
    out = tmp_path / "out.safetensors"
    with pytest.raises(InputError, match="unknown precision 'int4': choose bfloat16"):
        export_model("general-2d-x2", out, precision="int4")
    with pytest.raises(InputError, match=r"end in \.safetensors"):
        export_model("general-2d-x2", tmp_path / "out.onnx", precision="int8")
    with pytest.raises(ModelError, match="no weights"):
        export_model("cubic-2x2", out, precision="int8")
    with pytest.raises(ModelError, match="there is no model"):
        export_model("nobody", out, precision="int8")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"not a model at all")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        export_model(wrong, out, precision="int8")
    with pytest.raises(OutputError, match="does not exist"):
        export_model("general-2d-x2", tmp_path / "none" / "out.safetensors", precision="int8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wrong.safetensors"]


@pytest.mark.parametrize("name", ["out.safetensors", "out.md"])
def test_what_exists_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_model("general-2d-x2", tmp_path / "out.safetensors", precision="int8")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_weights_beyond_float16_are_refused(tmp_path):
    model = random_model(tmp_path / "model.safetensors", size=1e9)
    with pytest.raises(ModelError, match="choose bfloat16"):
        export_model(model, tmp_path / "out.safetensors", precision="float16")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_failed_measurement_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(export, "megapixel_seconds", fail)
    with pytest.raises(MemoryError):
        export_model("general-2d-x2", tmp_path / "out.safetensors", precision="int8")
    assert not list(tmp_path.iterdir())


def test_an_exported_model_can_be_exported_again(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    export_model("general-2d-x2", first, precision="int8", device="cpu")
    export_model(first, second, precision="float16", device="cpu")
    models = [load_model(path) for path in (first, second)]
    assert all(isinstance(model, NetworkUpscaler) for model in models)
    pairs = zip(*(model.network.state_dict().values() for model in models), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in pairs)
