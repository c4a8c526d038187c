"""Batches are a function of seed and step, whoever makes them and in what order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.training.batches import (
    FIRST_PAIRS,
    DegradedPairs,
    StepBatches,
    StepSampler,
    alive_pairs,
)
from napari_hrsr.training.collection import ArrayItem, open_collection
from napari_hrsr.training.config import DataSettings, TrainingConfig


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    texture = rng.random((120, 130)).cumsum(0).cumsum(1) % 7
    items = [ArrayItem("a", texture, "YX"), ArrayItem("b", texture[::-1], "YX")]
    return open_collection(items, ndim=2).images


def batches(images, seed=0):
    config = TrainingConfig(steps=40, seed=seed, batch=2, patch=8, pairs=6, refresh=2, largest=64)
    return StepBatches(DegradedPairs(images, config), config)


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in ("coarse", "fine", "noise"))


def test_a_batch_does_not_depend_on_what_was_drawn_before(images):
    in_order = batches(images)
    seen = [in_order[step] for step in range(40)]
    assert equal(batches(images)[37], seen[37])
    backwards = batches(images)
    assert all(equal(backwards[step], seen[step]) for step in (39, 12, 0, 39))
    assert not equal(seen[0], seen[1])
    assert not equal(batches(images, seed=1)[5], seen[5])


def test_batches_can_be_made_by_another_process(images):
    there = pickle.loads(pickle.dumps(batches(images)))  # noqa: S301
    assert equal(there[11], batches(images)[11])


@given(step=st.integers(0, 5000), refresh=st.integers(1, 20), pairs=st.integers(1, 300))
def test_pairs_come_one_by_one_and_the_oldest_go(step, refresh, pairs):
    first, stop = alive_pairs(step, refresh, pairs)
    assert 1 <= stop - first <= pairs
    assert stop - first >= min(pairs, FIRST_PAIRS)
    later = alive_pairs(step + refresh, refresh, pairs)
    assert later[1] == stop + 1
    assert later[0] in (first, first + 1)


@given(steps=st.integers(1, 500), epoch_steps=st.integers(1, 60))
def test_epochs_cover_every_step_once(steps, epoch_steps):
    seen = []
    sampler = StepSampler(steps, epoch_steps, lambda: len(seen))
    for _ in range(-(-steps // epoch_steps)):
        length, drawn = len(sampler), list(sampler)
        assert len(drawn) == length
        seen += drawn
    assert seen == list(range(steps))


def test_a_share_of_the_truths_is_made_softer(images):
    def detail(blurred):
        config = TrainingConfig(
            batch=2, patch=8, largest=64, data=DataSettings(blurred=blurred, binned=False)
        )
        make = DegradedPairs(images, config)
        pairs = [make(np.random.default_rng(seed)) for seed in range(30)]
        return np.array([np.abs(np.diff(pair.fine)).mean() for pair in pairs])

    # Blur takes most of the detail of this texture, and nothing else does.
    limit = 0.5 * detail(0.0).min()
    assert (detail(1.0) < limit).all()
    assert 2 <= (detail(0.3) < limit).sum() <= 18
