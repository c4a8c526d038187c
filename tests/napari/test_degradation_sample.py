"""What the low-resolution side looks like, before a training."""

import numpy as np
import pytest
from napari.layers import Image
from skimage import data

from napari_hrsr._napari.degradation_sample import Sample, draw_sample, drawn
from napari_hrsr._napari.training_images import layer_image
from napari_hrsr.errors import InputError

PLAIN = {"area": 1.0, "bicubic": 0.0, "point_spread_share": 0.0, "noisy_share": 0.0}


def sample(layer, scale, settings=PLAIN, seed=0, centre=()):
    return Sample(layer_image(layer, len(scale)), scale, 1, settings, seed, centre)


def test_the_shown_part_is_where_the_view_is():
    layer = Image(data.camera())
    result = draw_sample(sample(layer, (2, 2), centre=(400, 100)))
    assert result.sharp.shape == (256, 256)
    assert result.coarse.shape == (128, 128)
    assert result.start == (256, 0)
    assert result.factor == (2, 2)
    # A mean over pixel areas keeps means.
    means = result.sharp.reshape(128, 2, 128, 2).mean((1, 3))
    np.testing.assert_allclose(result.coarse, means, atol=1e-5)


def test_a_plane_of_a_stack_keeps_its_place():
    layer = Image(np.stack([data.camera()[:100, :90]] * 4))
    result = draw_sample(sample(layer, (2, 2), centre=(2, 50, 45)))
    assert result.sharp.shape == (1, 100, 90)
    assert result.coarse.shape == (1, 50, 45)
    assert result.start == (2, 0, 0)
    assert result.factor == (1, 2, 2)


def test_slices_become_fewer_along_one_axis():
    rng = np.random.default_rng(0)
    layer = Image(rng.random((24, 40, 40), np.float32))
    result = draw_sample(sample(layer, (4, 1, 1), centre=(12, 20, 20)))
    assert result.sharp.shape == (24, 40, 40)
    assert result.coarse.shape == (6, 40, 40)


def test_each_seed_draws_another_degradation_and_says_which():
    layer = Image(data.camera()[:64, :64])
    settings = {"noisy_share": 1.0}
    first, again, other = (
        draw_sample(sample(layer, (2, 2), settings, seed, (32, 32))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.coarse, again.coarse)
    assert np.abs(first.coarse - other.coarse).max() > 0
    assert "photons" in first.text or "noise" in first.text
    assert "no noise" not in first.text


def test_files_are_tried_until_one_can_be_used(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\x00 and no more")
    with pytest.raises(InputError, match="no image can be shown"):
        draw_sample(Sample((tmp_path,), (2, 2), 1, PLAIN, 0))


@pytest.mark.parametrize(
    ("layer", "scale", "settings", "reason"),
    [
        (Image(data.camera()[:3, :50]), (2, 2), PLAIN, "too small"),
        (Image(np.zeros((50, 50))), (2, 2, 2), PLAIN, "no third axis"),
        (Image(data.camera()), (2, 2), {"noisy_share": 7.0}, "noisy_share"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(layer, scale, settings, reason):
    (result,) = drawn(sample(layer, scale, settings, centre=(0.0,) * layer.ndim))
    assert reason in result
