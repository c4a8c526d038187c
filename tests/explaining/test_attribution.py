from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import ShuffleNet
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.explaining import attribution, receptive_field
from napari_hrsr.models.load import load_model

IMAGE = data.camera()[60:240, 140:330]
VOLUME = gaussian_filter(np.random.default_rng(0).normal(size=(20, 32, 34)), 1.2)
REGION = [(80, 92), (90, 104)]


@pytest.mark.parametrize("model", ["general-2d-x2", "cubic-2x2"])
def test_attributions_add_up_to_what_the_blur_took_away(model):
    found = attribution(model, IMAGE, REGION)
    assert found.sharp > 1.2 * found.blurred
    assert found.data.sum() == pytest.approx(found.sharp - found.blurred, rel=0.02)
    assert found.missing < 0.01


def test_in_a_volume_too():
    found = attribution("general-3d-x2", VOLUME, steps=12)
    assert found.missing < 0.02
    assert found.data.ndim == 3
    assert found.diffusion_index > 0


def test_more_steps_add_up_better():
    few, many = (attribution("general-2d-x2", IMAGE, REGION, steps=n) for n in (2, 32))
    assert many.missing < few.missing


def test_what_is_computed_is_what_the_region_depends_on():
    found = attribution("general-2d-x2", IMAGE, REGION, steps=4)
    elsewhere = IMAGE.copy()
    inside = tuple(slice(s, s + n) for s, n in zip(found.start, found.data.shape, strict=True))
    elsewhere[:40] = 255 - elsewhere[:40]
    assert found.start[0] > 40
    assert IMAGE[inside].shape == found.data.shape
    # The same range for both images: only what lies far away differs.
    again = attribution("general-2d-x2", elsewhere, REGION, steps=4, intensity=levels())
    first = attribution("general-2d-x2", IMAGE, REGION, steps=4, intensity=levels())
    np.testing.assert_allclose(again.data, first.data, atol=1e-6)


def levels():
    from napari_hrsr.intensity import Intensity

    return Intensity(np.array(0.0), np.array(255.0), np.array(1.0))


def test_attribution_lies_where_the_structure_is():
    image = np.zeros((60, 60), np.float32)
    image[:, 33:] = 1
    found = attribution("general-2d-x2", image, [(24, 36), (24, 36)])
    columns = np.abs(found.data).sum(0)
    assert abs(int(columns.argmax()) + found.start[1] - 33) <= 1
    assert found.reach <= 3


def test_a_network_that_looks_farther_has_a_larger_diffusion_index():
    near = attribution("cubic-2x2", IMAGE, REGION)
    far = attribution("lanczos-2x2", IMAGE, REGION)
    assert far.data.size > near.data.size
    assert far.diffusion_index > near.diffusion_index > 0


@pytest.mark.parametrize(
    "model", ["cubic-2x2", "lanczos-2x2", "general-2d-x2", "general-2d-x4", "colour-2d-x2"]
)
def test_the_measured_field_is_the_stated_halo(model):
    image = data.astronaut()[:120, :130] if "colour" in model else IMAGE
    axes = "YXS" if "colour" in model else None
    region = [(60, 64), (70, 75), None][: image.ndim]
    found = receptive_field(model, image, region, axes=axes)
    assert found.bounds == found.stated
    for (a, b), (c, d), (e, f) in zip(found.bounds, found.core, found.region, strict=True):
        assert a <= c <= e < f <= d <= b


def test_a_field_ends_at_the_border_and_counts_per_axis():
    found = receptive_field("general-2d-x2", IMAGE, [(0, 1), (2, 3)])
    halo = load_model("general-2d-x2").spec.halo
    assert found.bounds == ((0, 1 + halo[0]), (0, 3 + halo[1]))
    volume = receptive_field("cubic-4x1x1", VOLUME, [(10, 11), (8, 9), (8, 9)])
    assert volume.bounds == ((8, 13), (8, 9), (8, 9))


def test_a_halo_that_is_stated_too_small_is_found_out():
    network = ShuffleNet((2, 2), halo=(1, 1))
    found = receptive_field(network, IMAGE, [(60, 62), (60, 62)])
    assert found.stated == ((59, 63), (59, 63))
    assert found.bounds == ((58, 64), (58, 64))


def test_the_model_is_left_as_it_was():
    model = load_model("general-2d-x2")
    before = [p.clone() for p in model.parameters()]
    attribution(model, IMAGE, REGION, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_progress_cancel_and_refusals():
    told = []
    attribution("cubic-2x2", IMAGE, steps=5, progress=lambda *at: told.append(at))
    assert told == [(2, 5), (4, 5), (5, 5)]
    for explain in (attribution, receptive_field):
        with pytest.raises(CancelledError):
            explain("cubic-2x2", IMAGE, cancelled=lambda: True)
        with pytest.raises(InputError, match="smaller region"):
            explain("cubic-2x2", np.zeros((500, 500)), [(0, 500), (0, 500)])
    with pytest.raises(InputError, match="above 0"):
        attribution("cubic-2x2", IMAGE, blur=0)
    constant = attribution("general-2d-x2", np.full((40, 40), 7.0))
    assert np.isfinite(constant.data).all()
