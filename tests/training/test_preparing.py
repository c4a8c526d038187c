"""From settings to images, network and number of steps."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_hrsr.errors import InputError
from napari_hrsr.training.config import DataSettings, TrainingConfig
from napari_hrsr.training.config_file import read_config, write_config
from napari_hrsr.training.preparing import open_data
from napari_hrsr.training.start import train


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).normal(size=(200, 240)).astype(np.float32)
    # Bright beyond the part that is kept: nothing of it must be learned.
    pixels[:, 160:] += 1000
    tifffile.imwrite(images / "one.tif", pixels)
    return images


def test_a_part_is_cropped_and_made_smaller_and_the_levels_are_those_of_the_whole(folder, tmp_path):
    settings = DataSettings(
        images=(str(folder),), validation=(str(folder),), crop=((8, -8), (0, 160)), resize=0.5,
        percentiles=(5.0, 95.0), binned=False,
    )  # fmt: skip
    config = TrainingConfig(steps=1, data=settings)
    write_config(config, tmp_path / "run.toml")
    assert read_config(tmp_path / "run.toml") == config
    (image,) = open_data(config).make_pair.images
    assert image.shape == (92, 80)
    part = image.read([slice(None)] * 2)
    assert part.shape == image.shape
    # In use, too, black and white are those of the whole image.
    assert image.white > 1000
    assert part.max() < 0.1


@pytest.mark.parametrize("crop", [((0, 50),), ((0, 10), (0, 10))])
def test_a_crop_that_leaves_nothing_to_learn_from_is_refused(folder, crop):
    settings = DataSettings(images=(str(folder),), crop=crop)
    with pytest.raises(InputError, match=r"crop|small"):
        open_data(TrainingConfig(steps=1, data=settings))


@pytest.mark.parametrize(
    "setting", [{"crop": ((0, 90), (0, 90))}, {"resize": 0.5}, {"leave_out": ("one",)}]
)
def test_what_would_change_one_side_of_a_pair_is_refused(folder, setting):
    settings = DataSettings(images=(str(folder),), coarse=(str(folder),), **setting)
    with pytest.raises(InputError, match=next(iter(setting))):
        open_data(TrainingConfig(steps=1, data=settings))


@pytest.mark.parametrize("name", ["coarse", "unpaired", "validation"])
def test_arrays_are_not_dropped_in_silence(folder, name):
    with pytest.raises(InputError, match=f"{name} must be files"):
        train(folder, steps=1, **{name: np.zeros((64, 64))})
