"""Networks of the optional package, whose licences are partly non-commercial."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_hrsr import load_model, upscale

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid", "ignore::DeprecationWarning")

IMAGE = np.random.default_rng(0).random((70, 75), np.float32)


@pytest.mark.parametrize(
    ("architecture", "arguments", "scale"),
    [
        ("SRFormer", {"img_size": 16, "embed_dim": 8, "depths": [2], "num_heads": [2],
                      "window_size": 8, "mlp_ratio": 2, "upscale": 2,
                      "upsampler": "pixelshuffledirect"}, 2),
        ("Restormer", {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1,
                       "heads": [1, 1, 1, 1]}, 1),
    ],
)  # fmt: skip
def test_they_are_loaded_and_tiled(
    architecture: str, arguments: dict[str, Any], scale: int, tmp_path: Path
) -> None:
    pytest.importorskip("spandrel_extra_arches", reason="the extra 'extra-networks' is missing")
    torch.manual_seed(0)
    module = importlib.import_module(f"spandrel_extra_arches.architectures.{architecture}")
    network: nn.Module = getattr(module, architecture)(**arguments)
    torch.save(network.state_dict(), tmp_path / "network.pth")
    model = load_model(tmp_path / "network.pth")
    assert model.spec.scale == (scale, scale)
    assert architecture in model.spec.title
    assert "non-commercial" in model.spec.citation
    whole = upscale(IMAGE, model, tile=100)
    assert whole.shape == (70 * scale, 75 * scale)
    tiled = upscale(IMAGE, model, tile=32)
    if model.spec.halo is not None:
        np.testing.assert_allclose(tiled, whole, atol=1e-4)
    assert np.isfinite(tiled).all()
