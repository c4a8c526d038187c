"""What a run takes over from a model of another factor or other channels."""

from __future__ import annotations

import pytest
import torch

from napari_hrsr.errors import ModelError
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.architectures import make_network
from napari_hrsr.training.config import ModelSettings, TrainingConfig
from napari_hrsr.training.model_file import save_model
from napari_hrsr.training.warm_start import start_from_model


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network, arguments = make_network("plain", ndim=2, scale=(2, 2), channels=1, noise_input=True)
    spec = ModelSpec(
        name="two", title="two", task="upscale", architecture="convolutional",
        arguments=arguments, ndim=2, scale=(2, 2), halo=network.halo, noise_input=True,
    )  # fmt: skip
    save_model(network, spec, tmp_path / "two.safetensors", dtype=torch.float32)
    return tmp_path / "two.safetensors", network.state_dict()


def started(path, **changes):
    config = TrainingConfig(model=ModelSettings(start_from=str(path)), **changes)
    network, spec = start_from_model(config)
    return network, spec


@pytest.mark.parametrize(
    ("changes", "fresh"),
    [
        ({}, set()),
        ({"scale": (4, 4)}, {"tail.weight", "tail.bias"}),
        ({"channels": 3}, {"head.weight", "tail.weight", "tail.bias"}),
    ],
)
def test_all_layers_that_fit_are_taken_over(model, changes, fresh):
    path, weights = model
    network, spec = started(path, **changes)
    for name, value in network.state_dict().items():
        if name not in fresh:
            torch.testing.assert_close(value, weights[name], msg=name)
    assert all(p.requires_grad for p in network.parameters())
    scale, channels = changes.get("scale", (2, 2)), changes.get("channels", 1)
    assert (spec.scale, spec.channels) == (scale, channels)
    result = network(torch.rand(1, channels, 9, 8), torch.tensor(0.1))
    assert result.shape == (1, channels, 9 * scale[0], 8 * scale[1])


def test_a_model_with_another_number_of_axes_is_refused(model):
    with pytest.raises(ModelError, match="2D model and the run is 3D"):
        started(model[0], scale=(2, 2, 2))


def test_a_model_without_weights_is_refused():
    with pytest.raises(ModelError, match="no weights"):
        started("cubic-2x2")
