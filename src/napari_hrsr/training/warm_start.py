"""Take over from a trained model what fits a network of another factor or other colours."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from napari_hrsr.errors import ModelError
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.config import TrainingConfig


def start_from_model(config: TrainingConfig) -> tuple[nn.Module, ModelSpec]:
    """Build the network of the model that a run starts from, with its weights.

    Where the run has another factor or other channels than the model, the
    network is built for those of the run, and the layers whose weights have
    the same shape take them over: all but the last for another factor (Lim et
    al., EDSR, 2017), all but the first and the last for other channels.

    Parameters
    ----------
    config : TrainingConfig
        With the name or file of the model, factor and channels.

    Returns
    -------
    network : Module
        Ready to be trained.
    spec : ModelSpec
        Facts of the model; architecture, arguments, factor and channels are
        those of the network.

    Raises
    ------
    ModelError
        If the model has no weights, has another number of axes, or nothing of it fits.
    """
    name = config.model.start_from
    model = load_model(name)
    spec = model.spec
    if not isinstance(model, NetworkUpscaler) or spec.weights is None:
        msg = f"{name} has no weights to start from"
        raise ModelError(msg)
    if spec.ndim != config.ndim:
        msg = f"{name} is a {spec.ndim}D model and the run is {config.ndim}D: they must agree"
        raise ModelError(msg)
    if spec.scale == config.scale and spec.channels == config.channels:
        return model.network.train().requires_grad_(True), spec
    arguments = {**spec.arguments, "scale": config.scale, "channels": config.channels}
    network = build_network(spec.architecture, arguments)
    known, state = model.network.state_dict(), network.state_dict()
    fitting = {k: v for k, v in known.items() if k in state and state[k].shape == v.shape}
    if not fitting:
        msg = f"no layer of {name} fits a network of factor {config.scale}: start from another"
        raise ModelError(msg)
    network.load_state_dict(state | fitting)
    spec = replace(spec, arguments=arguments, scale=config.scale, channels=config.channels)
    return network, spec
