"""Spread over views, intervals by split conformal prediction, and what ships for the models."""

import json
import math
import threading

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from networks import Repeat, ShuffleNet
from scipy.ndimage import gaussian_filter1d
from torch import nn

from napari_hrsr import upscale
from napari_hrsr.errors import CancelledError, HrsrError, InputError, ModelError
from napari_hrsr.evaluation import Calibration, calibrate, measure_uncertainty
from napari_hrsr.evaluation.calibration import ASSUMPTION, UNCALIBRATED, shipped_calibrations
from napari_hrsr.evaluation.conformal import (
    blocks_of,
    conformal_factor,
    grouped_factor,
    normaliser,
)
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.catalog import list_models
from napari_hrsr.models.compose import mirrored_views
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spread import average_models, view_spread
from napari_hrsr.training.collection import open_collection
from napari_hrsr.training.degrade import Degradation, degrade

MODELS = ("general-2d-x2", "general-2d-x4", "colour-2d-x2", "lowlight-2d-x2", "general-3d-x2",
          "slices-3d-4x1x1")  # fmt: skip


def image_of(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1000, shape).astype(np.float32)


def run(model, image):
    with torch.inference_mode():
        return model(torch.from_numpy(image)[None, None])[0, 0].numpy()


def expected_spread(models, image):
    results = []
    for model in models:
        for flips, swap in mirrored_views(model.spec):
            axes = [axis - 2 for axis in flips]
            view = np.flip(image.swapaxes(-1, -2) if swap else image, axes)
            result = np.flip(run(model, np.ascontiguousarray(view)), axes)
            results.append(result.swapaxes(-1, -2) if swap else result)
    variance = np.var(results, axis=0, ddof=1)
    for axis in range(image.ndim):
        variance = gaussian_filter1d(variance, 1.5, axis=axis, mode="nearest", radius=5)
    return np.sqrt(variance)


@pytest.mark.parametrize(
    ("scale", "shape"), [((2, 2), (21, 34)), ((4, 1), (15, 26)), ((2, 1, 1), (9, 14, 12))]
)
def test_the_spread_is_that_over_mirrored_views_for_every_tile(scale, shape):
    model, image = ShuffleNet(scale), image_of(shape)
    expected = expected_spread([model], image)
    for tile in (None, 7):
        found = measure_uncertainty(image, model, tile=tile, noise=0)
        np.testing.assert_allclose(found.spread, expected, rtol=2e-4, atol=1e-3)
    region = tuple((2, n - 3) for n in shape)
    part = measure_uncertainty(image, model, region=region, tile=5, noise=0).spread
    crop = tuple(slice(2 * k, (n - 3) * k) for n, k in zip(shape, scale, strict=True))
    np.testing.assert_allclose(part, expected[crop], rtol=2e-4, atol=1e-3)


def test_several_models_add_what_they_differ_by():
    models = [ShuffleNet((2, 2)), ShuffleNet((2, 2), kernel=5)]
    image = image_of((16, 18))
    found = measure_uncertainty(image, models, noise=0)
    assert found.views == 16
    np.testing.assert_allclose(found.spread, expected_spread(models, image), rtol=1e-3, atol=1e-2)
    mean = run(average_models(models), image)
    np.testing.assert_allclose(mean, (run(models[0], image) + run(models[1], image)) / 2, rtol=1e-4)
    with pytest.raises(ModelError, match="differ in their scale"):
        view_spread([ShuffleNet((2, 2)), ShuffleNet((3, 3))])


def test_the_spread_follows_the_gain_of_an_image_and_not_its_offset():
    model = load_model("general-2d-x2")
    image = image_of((24, 24))
    spread = measure_uncertainty(image, model).spread
    moved = measure_uncertainty(3 * image - 5000, model).spread
    np.testing.assert_allclose(moved, 3 * spread, rtol=1e-2, atol=0.05)
    stack = np.stack([image, 3 * image - 5000])
    both = measure_uncertainty(stack, model, axes="CYX", region=((1, 2), None, None)).spread
    np.testing.assert_allclose(both[0], moved, rtol=1e-4)


def test_opacity_is_not_uncertain():
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 4), np.uint8)
    found = measure_uncertainty(image, "colour-2d-x2", axes="YXS")
    assert not found.spread[..., 3].any()
    assert not found.half_width[..., 3].any()
    assert found.spread[..., :3].min() > 0
    assert 0 <= found.doubtful <= 1


@given(st.lists(st.floats(0, 100), min_size=9, max_size=60), st.floats(0.1, 0.9))
def test_units_of_one_pixel_give_the_quantile_of_split_conformal_prediction(scores, coverage):
    place = math.ceil((len(scores) + 1) * coverage - 1e-9)
    expected = sorted(scores)[min(place, len(scores)) - 1]
    assert conformal_factor([np.array([s]) for s in scores], coverage) == expected


@given(st.integers(0, 10_000), st.integers(10, 30), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_factor_is_the_least_whose_risk_is_controlled(seed, n, coverage):
    rng = np.random.default_rng(seed)
    units = [rng.exponential(size=rng.integers(1, 12)) for _ in range(n)]

    def risk(factor):
        return (sum(np.mean(unit > factor) for unit in units) + 1) / (n + 1)

    found = conformal_factor(units, coverage)
    assert risk(found) <= 1 - coverage + 1e-9
    smaller = [s for unit in units for s in unit if s < found]
    assert not smaller or risk(max(smaller)) > 1 - coverage - 1e-9


def test_intervals_hold_the_stated_share_of_exchangeable_images():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        # Images differ in how large their errors are, beyond what the normaliser tells.
        units = [rng.gamma(4) * np.abs(rng.normal(size=50)) for _ in range(41)]
        factor = conformal_factor(units[:-1], 0.9)
        held.append(np.mean(units[-1] <= factor))
    assert 0.9 - 3 * np.std(held) / math.sqrt(200) <= np.mean(held) <= 0.96


def test_every_group_reaches_the_coverage():
    rng = np.random.default_rng(0)
    groups = {name: [size * rng.exponential(size=40) for _ in range(20)] for name, size in
              (("calm", 1), ("wild", 5))}  # fmt: skip
    factor, factors = grouped_factor(groups, 0.9)
    assert factor == factors["wild"] > factors["calm"]


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 20))
def test_blocks_hold_every_pixel_once(shape, side):
    image = np.arange(math.prod(shape), dtype=float).reshape(1, *shape)
    found = np.concatenate([b.ravel() for b in blocks_of(image, (side, side))])
    assert sorted(found) == list(image.ravel())


def test_the_normaliser_grows_with_the_spread_and_is_never_nothing():
    units = normaliser(np.array([0.0, 1.0, 4.0, 100.0]), 1000.0)
    assert units[0] > 0
    assert (np.diff(units) > 0).all()
    np.testing.assert_allclose(normaliser(np.array([3.0]), 30.0), 30 * normaliser([0.1], 1.0))


def test_a_calibrated_model_covers_images_that_were_not_used():
    truths = [image_of((96, 96), seed) for seed in range(4)]
    truths = [gaussian_filter1d(gaussian_filter1d(t, 1.5, 0), 1.5, 1) for t in truths]
    pairs = [(t.reshape(48, 2, 48, 2).mean((1, 3)), t) for t in truths]
    model = load_model("general-2d-x2")
    found = calibrate(pairs[:3], model, coverage=0.8, calibrated_on="blurred noise")
    assert (found.images, found.blocks, found.model) == (3, 27, "general-2d-x2")
    source, truth = pairs[3]
    uncertain = measure_uncertainty(source, model, calibration=found)
    held = np.abs(upscale(source, model) - truth) <= uncertain.half_width
    assert 0.75 <= held.mean() <= 0.9
    assert uncertain.coverage == 0.8
    assert uncertain.assumption == ASSUMPTION
    assert "to be doubted" in str(uncertain)
    assert "exchangeable" in str(uncertain)
    again = Calibration.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert json.loads(json.dumps(uncertain.to_dict()))["calibration"] == found.to_dict()


def test_a_model_that_knows_no_direction_has_no_spread_and_claims_nothing():
    image = image_of((60, 60))
    found = measure_uncertainty(image, "cubic-2x2")
    assert found.spread.max() < 1e-3
    assert found.half_width is found.coverage is found.doubtful is None
    assert found.assumption == str(found) == UNCALIBRATED
    # Calibrated, it has the constant band that it deserves.
    truth = np.repeat(np.repeat(image, 2, 0), 2, 1)
    calibration = calibrate([(image, truth)], "cubic-2x2", coverage=0.5)
    band = measure_uncertainty(image, "cubic-2x2", calibration=calibration).half_width
    assert band.max() < 1.05 * band.min()


def test_every_shipped_model_has_calibrations_of_its_very_weights():
    weights = {spec.name: spec.weights.sha256 for spec in list_models() if spec.name in MODELS}
    assert sorted(weights) == sorted(MODELS)
    for name in MODELS:
        own = [c for c in shipped_calibrations() if c.model == name]
        assert [c.coverage for c in own] == [0.5, 0.68, 0.8, 0.9, 0.95]
        assert all(c.weights_sha256 == (weights[name],) for c in own)
        factors = [c.factor for c in own]
        assert factors == sorted(factors)
        assert factors[0] > 0
        assert all(c.factor == max(c.groups.values()) and c.blocks >= 19 for c in own)


def test_a_shipped_interval_holds_a_real_image(data_folder):
    images = open_collection([data_folder / "2d"], ndim=2).images
    image = next(i for i in images if "nuclei_PLK1_control" in i.name)
    truth = image.read([slice(100, 260), slice(100, 260)])
    recorded = Degradation(ForwardModel((2, 2), (0.8, 0.8)), photons=200, read_noise=0.01)
    source = degrade(truth, recorded, np.random.default_rng(0)).astype(np.float32)
    found = measure_uncertainty(source, "general-2d-x2")
    held = np.abs(upscale(source, "general-2d-x2") - truth) <= found.half_width
    assert 0.8 <= held.mean() <= 1.0
    assert found.half_width.std() > 0.1 * found.half_width.mean()


def test_on_disk_it_is_the_same(tmp_path):
    image = image_of((40, 30))
    memory = measure_uncertainty(image, "general-2d-x2")
    disk = measure_uncertainty(image, "general-2d-x2", tile=16, out=tmp_path / "maps")
    for name in ("spread", "half_width"):
        stored = zarr.open_group(tmp_path / "maps" / f"{name}.ome.zarr", mode="r")["0"]
        np.testing.assert_allclose(stored[:], getattr(memory, name), rtol=1e-3, atol=1e-2)
        np.testing.assert_array_equal(stored[:], getattr(disk, name)[:])
    assert disk.doubtful == pytest.approx(memory.doubtful, abs=0.01)


def test_a_cancelled_run_leaves_nothing(tmp_path):
    stop = threading.Event()
    image = image_of((64, 64))
    with pytest.raises(CancelledError):
        measure_uncertainty(
            image, "general-2d-x2", tile=8, out=tmp_path / "maps",
            progress=lambda done, total: stop.set(), cancelled=stop,
        )  # fmt: skip
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    with pytest.raises(CancelledError):
        calibrate([(image, image)], "cubic-1x1", cancelled=lambda: True)


class Slow(nn.Module):
    """Cancels its own run the first time that it is asked for anything."""

    def __init__(self, stop):
        super().__init__()
        self.spec, self.stop, self.calls = Repeat().spec, stop, 0

    def __deepcopy__(self, memo):
        return self

    def forward(self, batch, *, noise=None):
        self.calls += 1
        self.stop.set()
        return batch.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_run_stops_between_two_views():
    stop = threading.Event()
    model = Slow(stop)
    with pytest.raises(CancelledError):
        measure_uncertainty(image_of((16, 16)), model, cancelled=stop)
    assert model.calls == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: measure_uncertainty(i, "general-2d-x2", coverage=90), "between 0 and 1"),
        (lambda i: measure_uncertainty(i, "general-2d-x2", coverage=0.7), "0.68, 0.8, 0.9"),
        (lambda i: measure_uncertainty(i, "no-such-model"), "no model"),
        (lambda i: measure_uncertainty(i, []), "give a model"),
        (lambda i: measure_uncertainty(i * np.nan, "general-2d-x2"), "NaN"),
        (lambda i: measure_uncertainty(i, "general-2d-x2", noise=-1), "from 0 up"),
        (lambda i: calibrate([(i, i)], "general-2d-x2"), "the truth has shape"),
        (lambda i: calibrate([(i, np.full((48, 48), np.nan))], "cubic-2x2"), "not finite"),
        (lambda i: calibrate([(i, np.ones((48, 48)))], "cubic-2x2"), "at least 9 blocks"),
        (lambda i: calibrate([], "cubic-2x2"), "nothing to calibrate on"),
        (lambda i: calibrate([(i, i)], "cubic-2x2", groups=["a", "b"]), "one group for each"),
        (lambda i: Calibration.from_dict({"factor": 1.0}), "no calibration"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(call, message):
    with pytest.raises(HrsrError, match=message):
        call(image_of((24, 24)))


def test_a_known_group_has_intervals_of_its_own():
    pairs = [(image_of((48, 48), k), image_of((96, 96), 10 + k)) for k in range(2)]
    pairs[0] = (pairs[0][0], np.repeat(np.repeat(pairs[0][0], 2, 0), 2, 1))
    found = calibrate(pairs, "cubic-2x2", coverage=0.5, groups=["like", "unlike"])
    assert found.factor == found.groups["unlike"] > found.groups["like"]
    assert found.for_group("like").factor == found.groups["like"]
    with pytest.raises(InputError, match="like, unlike"):
        found.for_group("other")


def test_a_calibration_of_another_model_is_refused():
    other = next(c for c in shipped_calibrations() if c.model == "lowlight-2d-x2")
    with pytest.raises(InputError, match=r"lowlight-2d-x2.*calibrate again"):
        measure_uncertainty(image_of((24, 24)), "general-2d-x2", calibration=other)
