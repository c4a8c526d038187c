from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation import evaluate
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.forward import ForwardModel

TRUTH = data.camera()[:240, :300].astype(float)
MODEL = ForwardModel((2, 2), psf_sigma=(1.0, 1.0))


def recording(seed):
    clean = MODEL.apply(torch.from_numpy(TRUTH)).numpy()
    return clean + np.random.default_rng(seed).normal(0, 3, clean.shape)


SOURCE, SECOND = recording(0), recording(1)
RESULT, SECOND_RESULT = (cubic_baseline(s, (2, 2), TRUTH.shape) for s in (SOURCE, SECOND))


@pytest.fixture(scope="module")
def everything():
    return evaluate(
        RESULT, source=SOURCE, reference=TRUTH, second_result=SECOND_RESULT, forward=MODEL,
        noise=3.0, voxel_size=0.1, unit="µm", data_range=255.0,
    )  # fmt: skip


def test_all_that_the_images_allow_is_measured(everything):
    assert everything.notes == ()
    assert everything.factor == (2, 2)
    assert everything.reference.result == everything.reference.cubic
    assert everything.consistency.chi_square > 0
    assert everything.scaled.pearson > 0.99
    # The true resolution of the recording: nothing beyond a pixel of the source is right.
    assert everything.agreement.crossing("0.5").resolution > 0.2
    # What interpolation leaves beyond them is wrong, but the same both times.
    assert everything.repeat.crossing().resolution < everything.agreement.crossing().resolution
    assert everything.structure.nyquist == pytest.approx(5)
    assert everything.source_structure.nyquist == pytest.approx(2.5)
    assert everything.source_resolution.complete_to == pytest.approx(2.5)


def test_it_prints_as_an_aligned_table(everything):
    text = str(everything)
    for part in ("PSNR", "cubic", "chi-square", "resolution-scaled Pearson", "µm", "repeats"):
        assert part in text
    lines = text.split("\n\n")[1].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(text.splitlines()) < 40


def test_json_can_hold_it(everything):
    written = json.loads(json.dumps(everything.to_dict(), allow_nan=False))
    assert written["consistency"]["chi_square"] == everything.consistency.chi_square
    assert written["reference"]["result"]["psnr"] == everything.reference.result.psnr
    assert written["agreement"]["crossings"]["0.5"]["resolution"] > 0
    assert len(json.dumps(written)) < 200_000


def test_a_result_alone_has_only_its_structure():
    found = evaluate(RESULT)
    assert found.reference is found.consistency is found.agreement is found.factor is None
    assert found.structure is not None
    assert "true or not" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be_measured_is_named_and_the_rest_goes_on():
    # No noise at all, and a factor that is not whole.
    ramp = np.add.outer(np.arange(40.0), np.arange(40.0)) % 13
    source = gaussian_filter(ramp, 3)
    found = evaluate(cubic_baseline(source, (1.5, 1.5), (60, 60)), source=source, factor=1.5)
    assert found.consistency is None
    assert any(note.startswith("consistency: ") for note in found.notes)
    assert any("whole factors" in note for note in found.notes)
    assert found.structure is not None
    assert "Left out: consistency" in str(found)


def test_a_result_that_equals_its_reference_is_not_called_resolved():
    found = evaluate(TRUTH, reference=TRUTH.copy())
    assert found.agreement is None
    assert any("same" in note for note in found.notes)


def test_volumes_are_evaluated():
    truth = gaussian_filter(np.random.default_rng(0).random((16, 48, 50)), 1) * 1000
    model = ForwardModel((2, 2, 2))
    source = model.apply(torch.from_numpy(truth)).numpy()
    source += np.random.default_rng(1).normal(0, 5, source.shape)
    result = cubic_baseline(source, (2, 2, 2), truth.shape)
    found = evaluate(
        result, source=source, reference=truth, voxel_size=(0.3, 0.1, 0.1), noise=5.0,
        forward=model,
    )  # fmt: skip
    assert found.reference.sliced
    assert "mean of slices" in str(found)
    assert found.consistency.deviation.shape == (8, 24, 25)
    assert found.agreement.nyquist == pytest.approx((0.5 / 0.3, 5, 5))


def test_colours_are_evaluated_by_their_luminance():
    truth = data.astronaut()[:128, :140]
    source = truth.reshape(64, 2, 70, 2, 3).mean((1, 3)).round().astype(np.uint8)
    found = evaluate(
        np.repeat(np.repeat(source, 2, 0), 2, 1), source=source, reference=truth, rgb=True
    )
    assert found.shape == (128, 140)
    assert found.factor == (2, 2)
    assert found.consistency is not None
    with pytest.raises(InputError, match="last axis should hold"):
        evaluate(truth, source=source[:, :, 0], reference=truth, rgb=True)


def test_integers_are_evaluated_as_they_are():
    source = SOURCE.clip(0, 255).round().astype(np.uint8)
    result = RESULT.clip(0, 255).round().astype(np.uint8)
    found = evaluate(result, source=source, reference=TRUTH.astype(np.uint8), data_range="dtype")
    assert found.reference.span == 255
    assert found.consistency.chi_square < 3


@pytest.mark.parametrize(
    ("result", "options", "message"),
    [
        (RESULT, {"reference": TRUTH[:-2]}, "reference has shape"),
        (RESULT, {"second_result": TRUTH[:-2]}, "second result has shape"),
        (np.zeros((64, 64)), {}, "result is 0 everywhere"),
        (np.where(TRUTH > 200, np.nan, TRUTH), {}, "not finite"),
        (RESULT, {"source": SOURCE[:-1]}, "no multiple of the source"),
        (RESULT, {"source": SOURCE, "factor": 3}, "factor 3 gives"),
        (RESULT, {"source": SOURCE, "forward": ForwardModel((4, 4))}, "factor"),
        (RESULT, {"source": SOURCE, "noise": -2.0}, "noise must be above 0"),
        (RESULT, {"source": np.full((120, 150), np.inf)}, "source has .* not finite"),
        (RESULT, {"voxel_size": (1, 2, 3)}, "voxel_size"),
        (np.array([["a"]]), {}, "no real number"),
    ],
)
def test_images_that_are_wrong_are_refused_with_the_reason(result, options, message):
    with pytest.raises(InputError, match=message):
        evaluate(result, **options)


def test_it_stops_between_parts_when_cancelled():
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        evaluate(RESULT, cancelled=stop)
    asked = []

    def after_a_while():
        asked.append(True)
        return len(asked) > 5

    with pytest.raises(CancelledError):
        evaluate(RESULT, source=SOURCE, reference=TRUTH, cancelled=after_a_while)
    assert len(asked) == 6
