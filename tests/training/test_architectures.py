from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from napari_hrsr.errors import ModelError
from napari_hrsr.models.nets import build_network
from napari_hrsr.training.architectures import (
    choices,
    count_parameters,
    find_choice,
    make_network,
    measure_step_seconds,
)

KEYS = [choice.key for choice in choices(2)]


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_choice_is_offered_and_says_what_it_is(ndim: int) -> None:
    offered = choices(ndim)
    assert [choice.key for choice in offered] == KEYS
    assert {"small", "plain", "srcnn", "fsrcnn", "edsr", "wide", "attention", "large"} == set(KEYS)
    assert all(choice.title and choice.citation for choice in offered)
    assert len({choice.title for choice in offered}) == len(offered)


@pytest.mark.parametrize("scale", [(2, 2), (4, 1, 1)])
@pytest.mark.parametrize("key", KEYS)
def test_a_choice_becomes_a_network_that_tiles(key: str, scale: tuple[int, ...]) -> None:
    ndim = len(scale)
    network, arguments = make_network(key, ndim=ndim, scale=scale, channels=3)
    assert network.halo is not None
    again = build_network(find_choice(key).architecture, arguments)
    again.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, *(5,) * ndim)
    with torch.no_grad():
        result = network(x, torch.tensor(0.1))
        assert torch.equal(again(x, torch.tensor(0.1)), result)
    assert result.shape == (1, 3, *(5 * k for k in scale))
    expected = sum(p.numel() for p in network.parameters())
    assert count_parameters(key, ndim=ndim, scale=scale, channels=3) == expected


def test_the_default_is_the_network_that_ships() -> None:
    _, arguments = make_network(choices(2)[0].key, ndim=2, scale=(2, 2))
    assert (arguments["features"], arguments["blocks"], arguments["block"]) == (32, 7, "plain")


def test_the_noise_level_can_be_left_out() -> None:
    heard = count_parameters("small", ndim=2, scale=(2, 2))
    deaf = count_parameters("small", ndim=2, scale=(2, 2), noise_input=False)
    assert heard - deaf == 32 * 9


def test_measuring_a_step_leaves_the_network_alone() -> None:
    network, _ = make_network("fsrcnn", ndim=2, scale=(2, 2))
    network.eval()
    before = copy.deepcopy(network.state_dict())
    random = torch.random.get_rng_state()
    seconds = measure_step_seconds(network, ndim=2, batch=2, size=8, steps=2)
    assert seconds > 0
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    volume, _ = make_network("plain", ndim=3, scale=(2, 1, 1), channels=2)
    assert measure_step_seconds(volume, ndim=3, channels=2, batch=1, size=4, steps=1) > 0


def test_counting_does_not_load_a_library_for_symbols() -> None:
    # torch loads one for random numbers without values: a window would hang for seconds.
    code = (
        "import sys\n"
        "from napari_hrsr.training.architectures import choices, count_parameters\n"
        "counts = [count_parameters(c.key, ndim=2, scale=(2, 2)) for c in choices(2)]\n"
        "print(min(counts) > 1000, 'sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    with pytest.raises(ModelError, match=r"'transformer'.*small"):
        make_network("transformer", ndim=2, scale=(2, 2))
    with pytest.raises(ModelError, match="not 4"):
        make_network("small", ndim=4, scale=(2, 2, 2, 2))
    with pytest.raises(ModelError, match="scale must"):
        make_network("small", ndim=2, scale=(2, 2, 2))
