"""Grey images that serve as stained tissue."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from skimage.io import imsave

from napari_hrsr.training.batches import StepBatches
from napari_hrsr.training.config import DataSettings, TrainingConfig
from napari_hrsr.training.preparing import open_data
from napari_hrsr.training.staining import stained


@pytest.mark.parametrize("seed", range(8))
def test_light_is_absorbed_in_three_colours(seed):
    grey = data.camera()[:96, :128] / 255
    image = stained(grey, np.random.default_rng(seed))
    assert image.shape == (3, 96, 128)
    assert image.dtype == np.float32
    assert image.min() > 0
    assert image.max() < 1.7
    # Two stains make the colours: one would make them equal but for a factor.
    density = -np.log(image.astype(float)).reshape(3, -1)
    first, second, third = np.linalg.eigvalsh(np.cov(density))[::-1]
    assert second > 1e-4 * first
    assert third < 1e-6 * first


def test_colours_are_learned_from_grey_images_too(tmp_path):
    imsave(tmp_path / "grey__camera.png", data.camera()[:200, :200])
    settings = DataSettings(images=(str(tmp_path),), validation_share=0.3, stained=True)
    config = TrainingConfig(channels=3, steps=1, batch=3, patch=12, data=settings)
    batch = StepBatches(open_data(config).make_pair, config)[0]
    assert batch["coarse"].shape == (3, 3, 12, 12)
    assert batch["fine"].shape == (3, 3, 24, 24)


def test_an_image_with_colours_keeps_them(tmp_path):
    imsave(tmp_path / "grey__camera.png", data.camera()[:200, :200])
    imsave(tmp_path / "colour__cat.png", data.chelsea()[:200, :200])
    settings = DataSettings(images=(str(tmp_path),), validation_share=0.3, stained=True)
    opened = open_data(TrainingConfig(channels=3, data=settings))
    images = [*opened.make_pair.images]
    assert {(i.source, i.channels) for i in images} == {("grey", 1), ("colour", 3)}
    assert set(opened.names) == {"colour__cat.png", "grey__camera.png"}
