"""The recorded model of a result, run again."""

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image

import napari_hrsr
from napari_hrsr.errors import CancelledError, InputError, ModelError
from napari_hrsr.evaluation import rerun
from napari_hrsr.evaluation.rerun import uncertainty_of
from napari_hrsr.evaluation.subject import Given, choose_subject
from napari_hrsr.metadata import plain_metadata


def subject_of(shape, axes, model="general-2d-x2", at=None, region=None):
    rng = np.random.default_rng(0)
    source = (500 + 200 * rng.random(shape)).astype(np.uint16)
    layer = Image(source, name="cells", rgb="S" in axes)
    data, attributes, _ = napari_hrsr.upscale_layer(layer, model, axes=axes, region=region)
    record = attributes["metadata"]["napari_hrsr"]
    return choose_subject(
        Given(data, plain_metadata(axes), record, "cells x2"),
        source=Given(source, plain_metadata(axes), None, "cells"),
        at=at,
    )


@pytest.fixture(scope="module")
def plane():
    return subject_of((24, 30), "YX")


def test_the_maps_lie_on_the_result(plane):
    found = uncertainty_of(plane)
    assert found.model == "general-2d-x2"
    assert found.spread.shape == plane.result.shape == (48, 60)
    assert np.asarray(found.half_width).min() > 0


def test_of_a_movie_the_time_point_and_the_region_of_the_result_are_taken():
    region = [(1, 4), (2, 22), None]
    subject = subject_of((5, 24, 30), "TYX", at={0: 2}, region=region)
    found = uncertainty_of(subject)
    assert found.spread.shape == subject.result.shape == (40, 60)
    # The whole movie, at the same place: regions are exact.
    whole = subject_of((5, 24, 30), "TYX", at={0: 3})
    expected = np.asarray(uncertainty_of(whole).spread)[4:44]
    # Only the border of the smoothing of the spread differs.
    inner = slice(12, -12)
    np.testing.assert_allclose(np.asarray(found.spread)[inner], expected[inner], rtol=1e-3)


def test_maps_of_large_results_are_on_disk_as_long_as_they_are_used(plane, monkeypatch, tmp_path):
    in_memory = np.asarray(uncertainty_of(plane).half_width)
    monkeypatch.setattr(rerun, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = uncertainty_of(plane)
    half_width = found.half_width
    del found
    gc.collect()
    np.testing.assert_allclose(np.asarray(half_width), in_memory, rtol=1e-5)
    assert list(tmp_path.iterdir())
    del half_width
    gc.collect()
    assert not list(Path(tmp_path).iterdir())


def test_cancelled_nothing_is_left(plane, monkeypatch, tmp_path):
    monkeypatch.setattr(rerun, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(CancelledError):
        uncertainty_of(plane, cancelled=lambda: True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (None, ModelError, "no record of a model"),
        ({"task": "isotropic"}, ModelError, "another task"),
        ({"model": "no such model"}, ModelError, "no such model"),
        ({"weights_sha256": "0" * 64}, ModelError, "not those that made"),
        ({"intensity": {}}, InputError, "not complete"),
    ],
)
def test_what_cannot_be_run_again_is_said(plane, change, error, message):
    record = None if change is None else plane.record | change
    with pytest.raises(error, match=message):
        uncertainty_of(replace(plane, record=record))


def test_without_a_source_nothing_is_run(plane):
    with pytest.raises(InputError, match="name the source"):
        uncertainty_of(replace(plane, origin=None))
