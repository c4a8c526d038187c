"""A generator against a discriminator: what it learns, what it says of itself, and resuming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets.convolutional import ConvolutionalUpscaler
from napari_hrsr.training import watching
from napari_hrsr.training.adversarial_losses import measurement_loss
from napari_hrsr.training.adversary import CAUTION, AdversarialTraining, adversarial_step_seconds
from napari_hrsr.training.architectures import make_network
from napari_hrsr.training.batches import DegradedPairs, StepBatches
from napari_hrsr.training.collection import open_collection
from napari_hrsr.training.config import (
    AdversarySettings,
    DataSettings,
    ModelSettings,
    OptimiserSettings,
    TrainingConfig,
)
from napari_hrsr.training.config_file import config_from_dict, config_to_dict
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.events import Measured
from napari_hrsr.training.fit import EPOCH_STEPS, resume_training, run_training
from napari_hrsr.training.patches import black_and_white
from napari_hrsr.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharp")
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(size=(144, 144))
        texture = gaussian_filter(noise, 0.8) / 0.35 + gaussian_filter(noise, 6) * 20
        tifffile.imwrite(folder / f"{seed}.tif", texture.astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def config(images):
    return TrainingConfig(
        steps=2 * EPOCH_STEPS,
        batch=2,
        patch=12,
        pairs=4,
        largest=96,
        validate_every=EPOCH_STEPS,
        device="cpu",
        threads=1,
        data=DataSettings(images=(str(images),), validation_share=0.3, binned=False),
        model=ModelSettings(name="tiny", arguments={"features": 8, "blocks": 1}),
        optimiser=OptimiserSettings(learning_rate=4e-3, average=0.9),
        degradation=Degradations(bicubic=0, point_spread_share=0, noisy_share=0),
        adversary=AdversarySettings(
            arguments={"width": 4, "halvings": 1},
            spectrum=0.02,
            generator_rate=2e-3,
            discriminator_rate=2e-3,
            ramp=10,
        ),
    )


@pytest.fixture(scope="module")
def start(tmp_path_factory, config):
    """A model that was trained towards the truth."""
    supervised = replace(config, adversary=None, steps=3 * EPOCH_STEPS)
    return run_training(supervised, tmp_path_factory.mktemp("start") / "run")


def from_start(config, start):
    return replace(config, model=replace(config.model, start_from=str(start)))


def test_detail_grows_towards_that_of_the_truth_and_the_run_says_at_what_price(
    tmp_path, config, start
):
    events = []
    run_training(from_start(config, start), tmp_path / "gan", report=events.append)
    first, last = (e.values for e in events if isinstance(e, Measured))
    assert last["spectrum_distance"] < 0.75 * last["start_spectrum_distance"]
    assert last["ring_correlation"] > last["start_ring_correlation"] - 0.05
    assert last["psnr"] > last["start_psnr"] - 1
    assert last["inconsistency"] < 0.1
    assert 0 < last["discriminator_loss"] < 2
    assert last["generator_loss"] > 0
    # What it started from stays what it was.
    started = {k for k in first if k.startswith("start_")}
    assert {k: first[k] for k in started} == {k: last[k] for k in started}
    alone = [float(row["psnr"]) for row in RunFolder(start.parent).rows()]
    assert last["start_psnr"] == pytest.approx(alone[-1], abs=0.02)


def test_the_model_says_that_it_is_not_for_measurement(tmp_path, config, start):
    config = from_start(replace(config, steps=EPOCH_STEPS), start)
    model = run_training(config, tmp_path / "gan")
    assert load_model(model).spec.caution == CAUTION
    assert "Not for measurement" in CAUTION
    assert CAUTION in RunFolder(tmp_path / "gan").card.read_text()
    # Nor is one that was trained on from it.
    further = replace(config, adversary=None, model=replace(config.model, start_from=str(model)))
    assert load_model(run_training(further, tmp_path / "further")).spec.caution == CAUTION


def test_images_of_other_fields_are_learned_from_without_leaving_what_was_measured(
    tmp_path, config, start
):
    others = tmp_path / "others"
    others.mkdir()
    noise = np.random.default_rng(9).normal(size=(96, 96))
    coarse = (gaussian_filter(noise, 1.5) * 4).astype(np.float32)
    tifffile.imwrite(others / "other.tif", coarse)
    strict = replace(config.adversary, consistency=10.0)
    config = from_start(replace(config, steps=EPOCH_STEPS, adversary=strict), start)
    with_others = replace(config, data=replace(config.data, unpaired=(str(others),)))
    alone = load_model(run_training(config, tmp_path / "alone")).network
    both = load_model(run_training(with_others, tmp_path / "both")).network
    black, white = black_and_white(coarse)
    batch = torch.from_numpy((coarse - black) / (white - black))[None, None].float()
    none = torch.zeros(1, 1, 1, 1)
    instrument = ForwardModel((2, 2))
    with torch.no_grad():
        results = [network(batch, none) for network in (alone, both)]
    departures = [float(measurement_loss(r, batch, none, instrument)) for r in results]
    assert departures[1] < departures[0]
    assert float((results[0] - results[1]).abs().max()) > 1e-3


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, config, monkeypatch):
    run_training(config, tmp_path / "whole")
    monkeypatch.setattr(watching, "_CHECKPOINT_SECONDS", 0.0)
    steps = iter(range(10**6))
    run_training(config, tmp_path / "run", cancelled=lambda: next(steps) > EPOCH_STEPS + 5)
    resume_training(tmp_path / "run")
    whole, resumed = (load_file(RunFolder(tmp_path / n).checkpoint) for n in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


@pytest.mark.parametrize("discriminator", ["unet", "encoder"])
@pytest.mark.parametrize("objective", ["relativistic", "cross-entropy", "hinge"])
@pytest.mark.parametrize("scale", [(2, 2), (3, 1, 2)])
def test_every_choice_moves_both_networks(discriminator, objective, scale):
    config = TrainingConfig(
        scale=scale,
        channels=3,
        steps=10,
        adversary=AdversarySettings(
            discriminator=discriminator,
            arguments={"width": 4, "halvings": 1},
            objective=objective,
        ),
    )
    torch.manual_seed(0)
    network, _ = make_network("small", ndim=len(scale), scale=scale, channels=3)
    module = AdversarialTraining(network, config)
    before = {name: value.clone() for name, value in module.named_parameters()}
    coarse = torch.rand(2, 3, *(8,) * len(scale))
    fine = torch.rand(2, 3, *(8 * k for k in scale))
    batch = {
        "coarse": coarse,
        "fine": fine,
        "noise": torch.zeros(2, 1, *(1,) * len(scale)),
        "instruments": (None, None),
    }
    module.play(batch, module.configure_optimizers(), torch.Tensor.backward)
    moved = {n.split(".")[0] for n, v in module.named_parameters() if not torch.equal(v, before[n])}
    assert moved == {"network", "discriminator"}


def test_a_discriminator_that_wins_too_easily_is_reported(config):
    torch.manual_seed(0)
    collection = open_collection([config.data.images[0]], ndim=2, channels=1, minimum=48)
    batches = StepBatches(DegradedPairs(collection.images, config), config)
    network = ConvolutionalUpscaler(2, (2, 2), features=4, blocks=1)
    # A generator that can hardly move, and a discriminator that hurries.
    settings = replace(
        config.adversary,
        arguments={"width": 8, "halvings": 1, "spectral": False},
        generator_rate=1e-9,
        discriminator_rate=4e-3,
    )
    module = AdversarialTraining(network, replace(config, adversary=settings))
    optimisers = module.configure_optimizers()
    drawn = [batches[step] for step in range(4)]
    said = []
    for step in range(300):
        module.play(drawn[step % 4], optimisers, torch.Tensor.backward)
        said.append(module.warning())
        if said[-1]:
            break
    assert said[0] == ""
    assert "every result" in said[-1]


def test_measuring_the_speed_leaves_the_network_as_it_is(config):
    torch.manual_seed(0)
    network, _ = make_network("small", ndim=2, scale=(2, 2))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    batch = {
        "coarse": torch.rand(2, 1, 8, 8),
        "fine": torch.rand(2, 1, 16, 16),
        "noise": torch.zeros(2, 1, 1, 1),
        "instruments": (None, None),
    }
    assert adversarial_step_seconds(network, config, batch, torch.device("cpu")) > 0
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_settings_of_an_adversary_survive_toml(config):
    assert config_from_dict(config_to_dict(config)) == config


def test_settings_that_make_no_sense_are_refused(config):
    network, _ = make_network("small", ndim=2, scale=(2, 2))
    with pytest.raises(InputError, match="adversary"):
        AdversarialTraining(network, replace(config, adversary=None))
    with pytest.raises(InputError, match="patience"):
        AdversarialTraining(network, replace(config, patience=3))
    with pytest.raises(ModelError, match="oracle"):
        AdversarialTraining(
            network, replace(config, adversary=AdversarySettings(discriminator="oracle"))
        )
    for wrong in ({"feature": -1.0}, {"generator_rate": 0.0}, {"betas": (0.5,)}, {"ramp": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            AdversarySettings(**wrong)
