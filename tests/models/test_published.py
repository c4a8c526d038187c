"""Networks that others published: opened, tiled, and equal to themselves untiled."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_hrsr import load_model, upscale
from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.legacy import convert

# What networks of others do when they are run is theirs.
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid", "ignore::DeprecationWarning")


def published(architecture: str, **arguments: Any) -> nn.Module:
    """Build a network of spandrel's."""
    # Not while tests are collected: it takes seconds to import.
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    network: nn.Module = getattr(module, architecture)(**arguments)
    return network


def untiled(state: dict[str, Tensor]) -> Any:
    """Load weights as spandrel does."""
    spandrel = importlib.import_module("spandrel")
    return spandrel.ModelLoader().load_from_state_dict(dict(state))


def dncnn(features: int = 64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published("DnCNN", in_nc=1, out_nc=1, nc=features, nb=17, act_mode="R").state_dict()


def compact(channels: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return published(
        "Compact", num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=3, upscale=2
    ).state_dict()


def kept(state: dict[str, Tensor], folder: Path, how: str) -> Path:
    """Save weights in one of the ways in which they are published."""
    path = folder / f"network{'.safetensors' if how == 'safetensors' else '.pth'}"
    if how == "safetensors":
        save_file(state, path)
    elif how == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
        convert(path, folder / "converted.safetensors")
        return folder / "converted.safetensors"
    else:
        torch.save({"params_ema": state} if how == "wrapped" else state, path)
    return path


@pytest.mark.parametrize("how", ["zip", "wrapped", "safetensors", "legacy"])
def test_a_published_denoiser_equals_spandrel_untiled(how: str, tmp_path: Path) -> None:
    state = dncnn()
    path = kept(state, tmp_path, how)
    rng = np.random.default_rng(0)
    # The extremes are those of the percentiles, so that spandrel, which clips, clips nothing.
    image = rng.integers(2000, 50_000, (96, 120)).astype(np.uint16)
    image[:2], image[-2:] = 0, 65535
    model = load_model(path)
    assert model.spec.task == "denoise"
    assert model.spec.halo == (17, 17)
    result = upscale(image, path, tile=40, dtype=np.float32)
    with torch.inference_mode():
        whole = untiled(state).model.eval()(torch.from_numpy(image / np.float32(65535))[None, None])
    assert_allclose(result, whole[0, 0].numpy() * 65535, atol=65535 * 1e-5)


def test_a_network_for_colours_takes_grey_16_bits_slice_by_slice(tmp_path: Path) -> None:
    path = kept(compact(), tmp_path, "zip")
    volume = np.random.default_rng(1).integers(0, 4096, (3, 40, 50)).astype(np.uint16)
    result = upscale(volume, path, axes="ZYX", tile=24)
    assert result.shape == (3, 80, 100)
    assert result.dtype == np.uint16
    colours = np.repeat(volume[..., None], 3, axis=-1)
    expected = upscale(colours, path, axes="ZYXS", dtype=np.float32).mean(-1)
    assert_allclose(result, np.clip(np.rint(expected), 0, 65535), atol=1.01)


def test_8_bit_colours_are_given_to_it_as_the_author_did(tmp_path: Path) -> None:
    state = compact()
    path = kept(state, tmp_path, "zip")
    image = np.random.default_rng(2).integers(60, 200, (31, 42, 3)).astype(np.uint8)
    batch = torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None]
    expected = untiled(state)(batch)[0].permute(1, 2, 0).numpy() * 255
    result = upscale(image, path, axes="YXS", tile=16)
    assert_allclose(result, np.rint(expected), atol=1)


def test_bounded_and_fading_fields_are_measured(tmp_path: Path) -> None:
    state = published(
        "ESRGAN", in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4
    ).state_dict()
    spec = load_model(kept(state, tmp_path, "zip")).spec
    assert (spec.scale, spec.channels) == ((4, 4), 3)
    assert spec.halo is not None
    assert 4 <= min(spec.halo) <= 40
    compacted = load_model(kept(compact(), tmp_path, "safetensors")).spec
    # Five convolutions of 3 x 3.
    assert compacted.halo == (5, 5)


def test_windows_of_attention_start_on_their_multiples(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = published(
        "SwinIR", upscale=2, img_size=16, window_size=8, depths=[2], embed_dim=8, num_heads=[2],
        mlp_ratio=2, upsampler="pixelshuffledirect",
    )  # fmt: skip
    path = kept(network.state_dict(), tmp_path, "zip")
    spec = load_model(path).spec
    assert spec.multiple == (8, 8)
    image = np.random.default_rng(3).random((61, 75), np.float32)
    whole = upscale(image, path, tile=200)
    assert_allclose(upscale(image, path, tile=16), whole, atol=1e-4)


def test_the_measured_noise_is_told_to_a_network_that_asks(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = published("DnCNN", in_nc=2, out_nc=1, nc=8, nb=15, act_mode="R", mode="FDnCNN")
    # Untrained weights let nothing through so many layers.
    state = {key: 2 * value for key, value in network.state_dict().items()}
    path = kept(state, tmp_path, "zip")
    assert load_model(path).spec.noise_input
    image = np.random.default_rng(4).normal(100, 10, (40, 40)).astype(np.float32)
    assert np.abs(upscale(image, path, noise=1.0) - upscale(image, path, noise=20.0)).max() > 1e-3


def test_a_legacy_file_that_runs_code_is_not_converted(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "mark").touch, ()

    path = tmp_path / "evil.pth"
    torch.save({"a": Payload()}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelFileError, match=r"evil\.pth cannot be converted"):
        convert(path, tmp_path / "out.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pth"]


def test_a_legacy_file_that_would_grow_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "growing.pth"
    weights = torch.ones(50, 50)
    state = {str(number): weights for number in range(3)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelFileError, match="used several times"):
        convert(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
