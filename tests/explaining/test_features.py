from __future__ import annotations

import numpy as np
import pytest
from skimage import data

import napari_hrsr
from napari_hrsr.axes import resolve_axes
from napari_hrsr.errors import CancelledError, InputError, ModelError
from napari_hrsr.explaining import feature_maps, list_layers
from napari_hrsr.explaining.features import RESULT
from napari_hrsr.intensity import Intensity, measure_intensity

IMAGE = data.camera()[:90, :110]
VOLUME = np.stack([np.roll(IMAGE[:24, :30], shift, axis=1) for shift in range(12)])


def test_the_layers_are_listed_in_order_with_their_grids():
    layers = list_layers("general-2d-x2")
    assert [layers[0].name, layers[-1].name] == ["head", RESULT]
    assert layers[0].channels == 32
    assert layers[0].factor == (1.0, 1.0)
    assert layers[-1].factor == (2.0, 2.0)
    assert list_layers("slices-3d-4x1x1")[-1].factor == (4.0, 1.0, 1.0)
    assert [layer.name for layer in list_layers("cubic-2x2")] == [RESULT]


def test_the_last_layer_is_the_result_of_a_run():
    found = feature_maps("general-2d-x2", IMAGE, RESULT)
    upscaled = napari_hrsr.upscale(IMAGE, "general-2d-x2", dtype="float32")
    intensity = measure_intensity(IMAGE, resolve_axes("YX", 2))
    low, high, _ = intensity.at(())
    np.testing.assert_allclose(found.data[0] * (high - low) + low, upscaled, atol=0.01)
    assert found.start == (0.0, 0.0)


@pytest.mark.parametrize("name", ["head", "body.3", RESULT])
def test_a_region_shows_what_the_whole_image_does(name):
    whole = feature_maps("general-2d-x2", IMAGE, name)
    part = feature_maps("general-2d-x2", IMAGE, name, region=[(11, 40), (90, 110)])
    k = int(whole.layer.factor[0])
    assert part.start == (11, 90)
    np.testing.assert_allclose(
        part.data, whole.data[:, 11 * k : 40 * k, 90 * k : 110 * k], atol=1e-5
    )


def test_maps_of_volumes_stacks_and_colours():
    found = feature_maps("general-3d-x2", VOLUME)
    assert found.data.shape[1:] == VOLUME.shape
    assert found.data.shape[0] == found.layer.channels > 8
    third = feature_maps("general-2d-x2", VOLUME, "head", axes="TYX", region=[(2, 3), None, None])
    measured = measure_intensity(VOLUME, resolve_axes("TYX", 2)).at((2,))
    alone = feature_maps(
        "general-2d-x2", VOLUME[2], "head", intensity=Intensity(*map(np.array, measured))
    )
    np.testing.assert_array_equal(third.data, alone.data)
    assert third.data.shape == alone.data.shape == (32, 24, 30)
    colours = data.astronaut()[:40, :50]
    assert feature_maps("colour-2d-x2", colours, axes="YXS").data.shape[1:] == (40, 50)
    # A model for one channel is shown the mean of the colours.
    assert feature_maps("general-2d-x2", colours, axes="YXS").data.shape == (32, 40, 50)


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match="no layer 'tails'"):
        feature_maps("general-2d-x2", IMAGE, "tails")
    with pytest.raises(InputError, match="does not lie"):
        feature_maps("general-2d-x2", IMAGE, region=[(0, 200), None])
    with pytest.raises(InputError, match="choose a smaller region"):
        feature_maps("general-2d-x2", np.zeros((1100, 1100)))
    with pytest.raises(InputError, match="one entry per axis"):
        feature_maps("general-2d-x2", IMAGE, region=[(0, 20)])
    with pytest.raises(ModelError):
        feature_maps("no-model", IMAGE)
    with pytest.raises(CancelledError):
        feature_maps("general-2d-x2", IMAGE, cancelled=lambda: True)
