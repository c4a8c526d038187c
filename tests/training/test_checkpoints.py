"""Checkpoints hold what training needs, exactly, and open nothing that could run code."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import ModelFileError
from napari_hrsr.training.checkpoints import read_state, write_state

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
states = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(state=states)
def test_plain_values_come_back_as_they_were(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    write_state(state, path)
    back = read_state(path)
    assert back == state
    assert repr(back) == repr(state)


def test_the_state_of_an_optimiser_comes_back_bit_for_bit(tmp_path):
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    path = tmp_path / "state.safetensors"
    state = {"optimizer_states": [optimiser.state_dict()], "state_dict": network.state_dict()}
    write_state(state, path)
    back = read_state(path)
    other = torch.optim.AdamW(torch.nn.Linear(3, 2).parameters())
    other.load_state_dict(back["optimizer_states"][0])
    for before, after in zip(optimiser.state.values(), other.state.values(), strict=True):
        assert all(torch.equal(before[k], after[k]) for k in before)


def test_tensors_that_share_memory_are_kept_apart(tmp_path):
    tensor = torch.arange(6.0)
    write_state([tensor, tensor[::2], tensor.view(2, 3).T], tmp_path / "s.safetensors")
    back = read_state(tmp_path / "s.safetensors")
    assert torch.equal(back[1], tensor[::2])
    assert torch.equal(back[2], tensor.view(2, 3).T)


def test_what_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(TypeError, match="set"):
        write_state({"a": {1, 2}}, tmp_path / "s.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no", b"\x10" + bytes(40)])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="checkpoint"):
        read_state(path)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def test_a_pickle_in_the_place_of_a_checkpoint_does_not_run(tmp_path):
    trace, path = tmp_path / "it ran", tmp_path / "checkpoint.safetensors"
    path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(ModelFileError, match="checkpoint"):
        read_state(path)
    assert not trace.exists()


def test_a_checkpoint_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    write_state({"weights": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        read_state(path)
