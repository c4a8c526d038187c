"""Black and white are measured in flat memory, and every value of a float image is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hrsr.errors import InputError
from napari_hrsr.training import levels
from napari_hrsr.training.levels import measure_levels
from napari_hrsr.training.views import whole_view


class Counting:
    """An array that says how much of it was read, and how much at a time."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.largest = self.total = 0
        if chunks:
            self.chunks = chunks

    def __getitem__(self, key):
        block = self.array[key]
        self.largest, self.total = max(self.largest, block.size), self.total + block.size
        return block


@pytest.fixture
def small_boxes(monkeypatch):
    monkeypatch.setattr(levels, "_BOX", 20_000)
    monkeypatch.setattr(levels, "_ROWS", 16)


def test_small_images_are_measured_exactly():
    image = np.random.default_rng(0).normal(100, 20, (200, 190))
    assert measure_levels(whole_view(image)) == tuple(np.percentile(image, (0.1, 99.9)))
    assert measure_levels(whole_view(image), (10, 60)) == tuple(np.percentile(image, (10, 60)))


def test_large_images_of_whole_numbers_are_sampled(small_boxes):
    image = np.random.default_rng(0).integers(0, 1000, (40, 300, 300)).astype(np.uint16)
    counting = Counting(image, (4, 50, 50))
    black, white = measure_levels(whole_view(counting))
    assert (black, white) == pytest.approx((1, 999), abs=3)
    assert counting.total < 0.5 * image.size
    assert counting.largest <= 80_000


def test_every_value_of_a_floating_point_image_is_looked_at(small_boxes):
    image = np.random.default_rng(0).random((30, 200, 200)).astype(np.float32)
    counting = Counting(image)
    measure_levels(whole_view(counting))
    assert counting.total == image.size
    assert counting.largest <= 40_000
    image[17, 123, 45] = np.nan
    with pytest.raises(InputError, match="NaN"):
        measure_levels(whole_view(counting))


def test_a_flat_image_is_refused():
    with pytest.raises(InputError, match="flat: every pixel that was looked at is 3"):
        measure_levels(whole_view(np.full((50, 50), 3)))


def test_numbers_too_large_for_float32_are_refused():
    image = np.arange(2500, dtype=np.uint32).reshape(50, 50)
    image[3, 4] = 2**30
    with pytest.raises(InputError, match="exactly"):
        measure_levels(whole_view(image))
