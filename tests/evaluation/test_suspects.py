"""Places where a result contradicts its source."""

import numpy as np
import pytest

from napari_hrsr.evaluation import large_images
from napari_hrsr.evaluation.suspects import find_suspects


def test_planted_structures_are_named_strongest_first():
    noise = np.random.default_rng(0).normal(size=(150, 170))
    assert find_suspects(noise).places == ()
    noise[40:43, 60:63] += 4
    noise[100:103, 20:23] -= 6
    found = find_suspects(noise)
    np.testing.assert_allclose(found.places, [(101, 21), (41, 61)], atol=1)
    assert found.scores[0] == found.strongest > found.scores[1] > 5


@pytest.mark.parametrize("shape", [(130, 140), (6, 60, 70), (2, 60, 70)])
def test_read_in_parts_the_same_places_are_found(monkeypatch, shape):
    deviation = np.random.default_rng(1).normal(size=shape)
    deviation[..., 29:33, 30:34] += 5
    deviation[..., 50:53, 3:6] += 5
    whole = find_suspects(deviation)
    monkeypatch.setattr(large_images, "TILE", 500)
    parts = find_suspects(deviation)
    assert len(whole.places) >= 2
    assert parts.places == whole.places
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-6)
