"""Slices of a fine line, at any distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.forward import AxialProfile, ForwardModel, slice_matrix

PROFILES = st.one_of(
    st.builds(AxialProfile, st.sampled_from(["gaussian", "box"]), st.floats(0.2, 2.5)),
    st.just(AxialProfile("measured", 1.0, (0.2, 1.0, 0.4), 0.5)),
)


@pytest.mark.parametrize("kind", ["gaussian", "box"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("fwhm", [0.5, 0.85, 1.0, 1.4])
def test_whole_ratios_are_the_forward_model(kind: str, factor: int, fwhm: float) -> None:
    fine = np.random.default_rng(0).random(factor * 9)
    model = ForwardModel(
        (factor,),
        slice_axis=0,
        slice_fwhm=fwhm * factor,
        slice_profile=kind,  # type: ignore[arg-type]
    )
    matrix = slice_matrix(AxialProfile(kind, fwhm), factor, 9, len(fine))  # type: ignore[arg-type]
    assert np.allclose(matrix @ fine, model.apply(torch.from_numpy(fine)).numpy(), atol=1e-12)


@given(PROFILES, st.floats(1, 8), st.integers(1, 20))
def test_a_constant_stays_what_it_is(profile: AxialProfile, ratio: float, slices: int) -> None:
    matrix = slice_matrix(profile, ratio, slices, int(np.ceil(slices * ratio)))
    assert np.allclose(matrix.sum(1), 1)
    assert matrix.min() >= 0


@given(PROFILES, st.floats(1, 8))
def test_a_slice_is_centred_where_the_grids_say(profile: AxialProfile, ratio: float) -> None:
    slices = 21
    voxels = int(np.ceil(slices * ratio))
    symmetric = AxialProfile("gaussian", max(2 / ratio, profile.fwhm))
    row = slice_matrix(symmetric, ratio, slices, voxels)[10]
    # A Gaussian of two voxels or more has its centre of mass in its centre.
    centre = float(row @ np.arange(voxels))
    assert centre == pytest.approx(10.5 * ratio - 0.5, abs=0.01)


@given(PROFILES, st.floats(1, 6), st.integers(0, 10))
def test_a_part_of_the_operator_is_that_part(
    profile: AxialProfile, ratio: float, first: int
) -> None:
    slices = 30
    whole = slice_matrix(profile, ratio, slices, int(np.ceil(slices * ratio)))
    start = int(first * ratio)
    part = slice_matrix(
        profile, ratio, slices - first, whole.shape[1] - start, first_slice=first,
        first_voxel=start,
    )  # fmt: skip
    inner = int(np.ceil(profile.reach)) + 2
    assert np.allclose(part[inner:], whole[first + inner :, start:], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "values", "word"),
    [
        ("gaussian", {"fwhm": 0.0}, "width"),
        ("round", {}, "one of"),
        ("measured", {"samples": (1.0, 2.0), "step": 1.0}, "odd"),
        ("measured", {"samples": (0.0, -1.0, 0.0), "step": 1.0}, "from 0 up"),
        ("measured", {"samples": (0.0, 1.0, 0.0)}, "distance"),
    ],
)
def test_profiles_that_are_none_are_refused(kind, values, word):
    with pytest.raises(InputError, match=word):
        AxialProfile(kind, **values)
