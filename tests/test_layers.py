"""What a result layer takes over from its source, and how axes are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer, Shapes
from numpy.testing import assert_allclose, assert_array_equal

from napari_hrsr.api import upscale, upscale_layer
from napari_hrsr.errors import InputError
from napari_hrsr.layers import RECORD_KEY, is_layer, labelled_axes, layer_axes, layer_metadata


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)


def result_of(layer: Image, model: str = "nearest-2x2", **options: Any) -> Image:
    result = Layer.create(*upscale_layer(layer, model, **options))
    assert isinstance(result, Image)
    return result


def test_the_look_of_the_layer_is_carried_over() -> None:
    layer = Image(
        image(8, 9),
        name="cells",
        colormap="magma",
        contrast_limits=(10, 150),
        gamma=0.7,
        opacity=0.4,
        blending="additive",
        interpolation2d="linear",
        units=("um", "um"),
        axis_labels=("y", "x"),
        metadata={"secret": "/home/somebody"},
    )
    result = result_of(layer)
    assert tuple(result.contrast_limits) == (10, 150)
    assert result.colormap.name == "magma"
    assert (result.gamma, result.opacity, result.blending) == (0.7, 0.4, "additive")
    assert result.interpolation2d == "linear"
    assert result.units == layer.units
    assert result.axis_labels == ("y", "x")
    assert result.name == "cells x2"
    assert set(result.metadata) == {RECORD_KEY}


def test_the_source_layer_is_not_changed() -> None:
    pixels = image(8, 9)
    layer = Image(pixels.copy(), name="cells", scale=(2, 3))
    result_of(layer)
    assert_array_equal(layer.data, pixels)
    assert layer.name == "cells"
    assert tuple(layer.scale) == (2, 3)


@pytest.mark.parametrize(
    ("model", "name"), [("nearest-4x1x1", "stack x4x1x1"), ("nearest-3x3x3", "stack x3")]
)
def test_the_name_says_the_factor(model: str, name: str) -> None:
    layer = Image(image(3, 4, 5), name="stack")
    assert upscale_layer(layer, model)[1]["name"] == name


def test_colour_layers_stay_colour_layers() -> None:
    layer = Image(image(8, 9, 3), rgb=True)
    result = result_of(layer)
    assert result.rgb
    assert result.data.shape == (16, 18, 3)
    assert_array_equal(result.data[::2, 1::2], layer.data)


def test_three_slices_are_not_a_colour_image() -> None:
    layer = Image(image(8, 9, 3), rgb=False)
    assert upscale_layer(layer, "nearest-2x2x2")[0].shape == (16, 18, 6)


def test_a_plane_of_a_volume_stays_on_the_same_voxels_and_tilts_with_them() -> None:
    plane = {"position": (2, 4, 3), "normal": (1, 1, 0), "thickness": 2}
    layer = Image(
        image(6, 8, 7),
        depiction="plane",
        plane=plane,
        experimental_clipping_planes=[
            {"position": (2, 4, 3), "normal": (1, 1, 0), "enabled": True}
        ],
        rendering="mip",
    )
    result = result_of(layer, "nearest-4x1x1")
    assert result.depiction == "plane"
    for source, scaled in (
        (layer.plane, result.plane),
        (layer.experimental_clipping_planes[0], result.experimental_clipping_planes[0]),
    ):
        # Three points of the source's plane lie in the result's plane.
        for step in ((0, 0, 0), (1, -1, 0), (0, 0, 1)):
            point = np.add(source.position, step)
            moved = (point + 0.5) * (4, 1, 1) - 0.5
            distance = np.dot(scaled.normal, moved - np.array(scaled.position))
            assert_allclose(distance, 0, atol=1e-9)
        assert np.linalg.norm(scaled.normal) == pytest.approx(1)
    # The same slab: a point on the source's upper face lies on the result's.
    face = np.add(layer.plane.position, np.array(layer.plane.normal) * layer.plane.thickness / 2)
    moved = (face + 0.5) * (4, 1, 1) - 0.5
    distance = np.dot(result.plane.normal, moved - np.array(result.plane.position))
    assert distance == pytest.approx(result.plane.thickness / 2)
    assert result.experimental_clipping_planes[0].enabled


def test_the_finest_level_of_a_multiscale_layer_is_taken() -> None:
    levels = [image(16, 18), image(8, 9)]
    layer = Image(levels, multiscale=True)
    result = result_of(layer)
    assert not result.multiscale
    assert_array_equal(result.data[::2, ::2], levels[0])


@pytest.mark.parametrize("layer", [Labels(np.zeros((4, 5), int)), Shapes([[[0, 0], [1, 1]]])])
def test_other_layers_are_refused(layer: Layer) -> None:
    with pytest.raises(InputError, match="needs an Image layer"):
        upscale_layer(layer, "nearest-2x2")
    with pytest.raises(InputError, match="needs an Image layer"):
        upscale(layer, "nearest-2x2")


def test_an_array_is_no_layer() -> None:
    assert not is_layer(np.zeros((4, 5)))
    with pytest.raises(InputError, match="use upscale for arrays"):
        upscale_layer(np.zeros((4, 5)), "nearest-2x2")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("t", "c", "z", "y", "x"), "TCZYX"),
        (("Time", "Channel", "depth", "Height", "Width"), "TCZYX"),
        (("frame", "y", "x"), "TYX"),
        (("plane", "row", "column"), "ZYX"),
        (("y", "c", "x"), "YCX"),
        (("x", "y"), None),
        (("y", "y"), None),
        (("a", "y", "x"), None),
        (None, None),
    ],
)
def test_labels_name_the_axes_where_they_are_real_names(
    labels: tuple[str, ...] | None, names: str | None
) -> None:
    layer = Image(np.zeros((2,) * len(labels or "yx")), axis_labels=labels)
    assert labelled_axes(layer) == names


@pytest.mark.parametrize(
    ("ndim", "model", "names"),
    [
        (2, None, "YX"),
        (3, None, "ZYX"),
        (4, None, "QZYX"),
        (3, "nearest-2x2", "QYX"),
        (4, "nearest-2x2", "QQYX"),
        (4, "nearest-2x2x2", "QZYX"),
    ],
)
def test_unlabelled_layers_end_in_space(ndim: int, model: str | None, names: str) -> None:
    assert layer_axes(Image(np.zeros((2,) * ndim), rgb=False), None, model) == names


def test_given_axes_win_over_labels_and_may_leave_out_the_colours() -> None:
    layer = Image(np.zeros((2, 3, 4)), axis_labels=("t", "y", "x"), rgb=False)
    assert layer_axes(layer, "ZYX") == "ZYX"
    colour = Image(np.zeros((2, 3, 4), np.uint8), rgb=True)
    assert layer_axes(colour, "yx") == layer_axes(colour, "YXS") == "YXS"
    with pytest.raises(InputError, match="the image has 3"):
        layer_axes(layer, "TZYX")


def test_labels_decide_what_is_upscaled() -> None:
    layer = Image(image(4, 5, 6), axis_labels=("t", "y", "x"), rgb=False)
    assert upscale_layer(layer, "nearest-2x2")[0].shape == (4, 10, 12)
    with pytest.raises(InputError, match="needs a Z axis"):
        upscale_layer(layer, "nearest-2x2x2")


def test_what_a_file_is_told_of_a_layer() -> None:
    layer = Image(
        image(3, 4, 5),
        scale=(2, 0.5, 0.25),
        translate=(1, 2, 3),
        units=("um", "um", "um"),
        rgb=False,
    )
    metadata = layer_metadata(layer, "ZYX")
    assert (metadata.axes, metadata.scale, metadata.translate) == (
        "ZYX",
        (2, 0.5, 0.25),
        (1, 2, 3),
    )
    assert set(metadata.units) == {"micrometer"}
    assert metadata.affine is not None
    zyx = np.array([2, 1, 4])
    x, y, z, _ = metadata.affine @ [*zyx, 1]
    assert_allclose([z, y, x], layer.data_to_world(zyx))
