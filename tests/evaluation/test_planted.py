from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation.planted import planted_doublets, planted_lesions
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.spec import ModelSpec

PLAIN = ForwardModel((1, 1))


class Wrong:
    """A model of factor 1 that does one thing wrong."""

    def __init__(self, change, halo=2):
        self._change = change
        self.spec = ModelSpec(
            "wrong", "Wrong", "enhance", "none", {}, 2, (1, 1), halo=(halo, halo),
            normalisation="none",
        )  # fmt: skip

    def __call__(self, batch, *, noise=None):
        return self._change(batch)


def texture(shape, seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return 100 + 20 * gaussian_filter(noise, 4) / 0.07


def test_a_model_that_changes_nothing_keeps_everything():
    points = planted_doublets("nearest-1x1", distances=(2, 4), levels=(math.inf,), forward=PLAIN)
    for found in points.doublets:
        assert found.model == pytest.approx(found.truth, abs=1e-4)
        assert found.truth > 0.1
        assert found.count == 40
    assert points.doublets[1].apart == 1
    assert points.singles[0].split == 0
    lesions = planted_lesions("nearest-1x1", levels=(math.inf,), forward=PLAIN)
    for found in lesions.lesions:
        assert found.kept == pytest.approx(1, abs=1e-4)
        assert found.lost == found.created == 0


def test_a_model_that_blurs_merges_points_and_loses_lesions():
    def blur(batch):
        blurred = gaussian_filter(batch.numpy(), (0, 0, 4, 4), mode="nearest", truncate=3)
        return torch.from_numpy(blurred)

    model = Wrong(blur, halo=12)
    points = planted_doublets(model, distances=(3,), levels=(math.inf,), forward=PLAIN)
    assert points.doublets[0].apart == 0
    assert points.doublets[0].truth > 0.8
    lesions = planted_lesions(model, widths=(2,), levels=(math.inf,), forward=PLAIN)
    assert lesions.lesions[0].lost == 1
    assert lesions.lesions[0].kept < 0.3


def test_a_model_that_doubles_is_caught():
    double = Wrong(lambda batch: batch.roll(-1, -1) + batch.roll(1, -1))
    points = planted_doublets(double, distances=(4,), levels=(math.inf,), forward=PLAIN)
    assert points.singles[0].split > 0.7
    assert points.singles[0].cubic_split == 0


def test_a_model_that_invents_lesions_is_caught():
    def invent(batch):
        batch = batch.clone()
        batch[..., 6:11, 6:11] += 1
        batch[..., 6:11, 22:27] += 1
        return batch

    # The second cell is left empty.
    found = planted_lesions(
        Wrong(invent), widths=(3,), count=2, levels=(math.inf,), forward=PLAIN
    ).lesions[0]
    assert found.created == 0.5
    assert found.cubic_created == 0


def test_interpolation_is_its_own_measure_and_never_splits():
    points = planted_doublets("cubic-2x2", count=20)
    for found in points.doublets:
        assert (found.model, found.apart) == (found.cubic, found.cubic_apart)
    assert [d.distance for d in points.doublets] == sorted(d.distance for d in points.doublets)
    clean = [d.model for d in points.doublets if math.isinf(d.level)]
    assert clean == sorted(clean)
    assert all(s.split == 0 for s in points.singles)
    assert "one (share split)" in str(points)


def test_the_shipped_model_keeps_points_apart_better_and_splits_none():
    points = planted_doublets("general-2d-x2", distances=(2, 3), levels=(math.inf,))
    for found in points.doublets:
        assert found.model > found.cubic + 0.05
        assert found.apart == 1
    assert points.singles[0].split == 0
    lesions = planted_lesions("general-2d-x2", levels=(math.inf,), count=8)
    assert all(x.lost == x.created == 0 for x in lesions.lesions)


def test_on_texture_in_units_of_the_image():
    background = texture((150, 170))
    model = "general-2d-x2"
    points = planted_doublets(
        model, distances=(4,), levels=(50.0,), count=12, background=background
    )
    assert points.doublets[0].apart > 0.8
    assert points.singles[0].split == 0
    lesions = planted_lesions(model, widths=(6,), levels=(5.0,), count=8, background=background)
    assert lesions.lesions[0].kept == pytest.approx(1, abs=0.15)
    assert lesions.lesions[0].created == 0


def test_in_3d_along_the_refined_axis():
    forward = ForwardModel((4, 1, 1), slice_axis=0, slice_fwhm=4)
    points = planted_doublets(
        "cubic-4x1x1", distances=(1, 4), levels=(math.inf,), count=4, forward=forward
    )
    near, far = points.doublets
    assert near.truth > 0.5
    assert near.model == 0
    assert far.apart == 1
    lesions = planted_lesions("linear-2x2x2", widths=(4,), levels=(math.inf,), count=4)
    assert lesions.lesions[0].kept > 0.7


def test_colours_are_treated_as_one():
    points = planted_doublets("colour-2d-x2", distances=(3,), levels=(math.inf,), count=6)
    assert points.doublets[0].apart == 1


def test_it_repeats_itself_and_can_be_written_down():
    first, again = (
        planted_lesions("cubic-2x2", widths=(3,), levels=(math.inf, 3), count=4) for _ in range(2)
    )
    assert first == again
    written = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert written["lesions"][0]["level"] == "infinity"


def test_it_can_be_cancelled():
    stop = threading.Event()
    stop.set()
    for test in (planted_doublets, planted_lesions):
        with pytest.raises(CancelledError):
            test("cubic-2x2", cancelled=stop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distances": (0,)}, "distances"),
        ({"distances": ()}, "distances"),
        ({"levels": (0,)}, "levels"),
        ({"count": 1}, "count"),
        ({"height": -1}, "height"),
        ({"forward": ForwardModel((3, 3))}, "factor"),
        ({"background": np.ones((40, 40))}, "constant"),
        ({"background": texture((4, 40, 40))}, "axes"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        planted_doublets("cubic-2x2", **options)
    if "distances" not in options and "height" not in options:
        with pytest.raises(InputError, match=message):
            planted_lesions("cubic-2x2", **options)
