"""Layers as images to learn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from napari_hrsr._napari.training_images import (
    PREVIEW_KEY,
    LayerImage,
    file_names,
    is_learnable,
    layer_image,
    write_layer,
)
from napari_hrsr.errors import CancelledError
from napari_hrsr.files import read_image
from napari_hrsr.layers import RECORD_KEY


def written(image, folder, name="layer", cancelled=False):
    return write_layer(
        image, folder, name, progress=lambda done, total: None, cancelled=lambda: cancelled
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int64])
def test_a_layer_becomes_a_file_with_its_pixels_and_their_size(tmp_path, dtype):
    pixels = (np.arange(60 * 70).reshape(60, 70) % 100 > 40).astype(dtype)
    layer = Image(pixels, name="cells", scale=(0.5, 0.25), units=("um", "um"))
    path = written(layer_image(layer, 2), tmp_path / "images")
    stored = read_image(path)
    np.testing.assert_array_equal(np.asarray(stored.data[...]), pixels)
    np.testing.assert_allclose(stored.metadata.scale, (0.5, 0.25))


def test_the_last_axes_of_a_layer_without_labels_are_space():
    stack = Image(np.zeros((5, 40, 50)), name="stack")
    assert layer_image(stack, 2).metadata.axes == "QYX"
    assert layer_image(stack, 3).metadata.axes == "ZYX"


def test_a_copy_can_be_cancelled(tmp_path):
    layer = layer_image(Image(np.zeros((60, 70), np.uint8), name="cells"), 2)
    with pytest.raises(CancelledError):
        written(layer, tmp_path, cancelled=True)
    assert not list(tmp_path.iterdir())


@given(st.lists(st.text(max_size=100), min_size=1, max_size=6))
def test_layers_of_any_name_get_files_of_their_own(names):
    files = file_names([LayerImage(name, None, None) for name in names])
    assert len({name.lower() for name in files}) == len(names)
    for name in files:
        assert name.strip(" .") == name != ""
        assert not set(name) & set('/\\:*?"<>|\n')
        # Two underscores would divide the name of a source from that of an image.
        assert "__" not in name


def test_only_what_was_measured_is_learned_from():
    pixels = np.zeros((9, 9))
    assert is_learnable(Image(pixels))
    assert not is_learnable(Image(pixels, metadata={RECORD_KEY: {}}))
    assert not is_learnable(Image(pixels, metadata={PREVIEW_KEY: "model"}))
