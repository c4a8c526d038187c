"""Source and result fill the same piece of the world, judged by napari's own transforms."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image
from numpy.testing import assert_allclose

from napari_hrsr.api import upscale_layer
from napari_hrsr.geometry import (
    linear_matrix,
    scaled_point,
    upscaled_affine,
    upscaled_scale_translate,
)

# napari says so of every volume that is rotated or sheared.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")


def random_transform(ndim: int, seed: int, *, affine: bool) -> dict[str, Any]:
    """A rotation, a shear and anisotropic voxels, as keywords of a napari layer."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0]
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    transform: dict[str, Any] = {
        "scale": rng.uniform(0.2, 5, ndim),
        "translate": rng.uniform(-50, 50, ndim),
        "rotate": rotation,
        "shear": rng.uniform(-0.4, 0.4, ndim * (ndim - 1) // 2),
    }
    if affine:
        matrix = np.eye(ndim + 1)
        matrix[:ndim] += rng.uniform(-0.3, 0.3, (ndim, ndim + 1))
        transform["affine"] = matrix
    return transform


def corners(bounds: list[tuple[int, int]]) -> np.ndarray:
    """Outer corners of a block of voxels, in voxels."""
    return np.array(list(itertools.product(*((a - 0.5, b - 0.5) for a, b in bounds))))


def to_world(layer: Any, points: np.ndarray) -> np.ndarray:
    return np.array([layer.data_to_world(point) for point in points])


@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("shape", "model", "axes", "region"),
    [
        ((6, 7), "nearest-2x2", "YX", None),
        ((6, 7), "nearest-3x2", "YX", [(1, 4), (2, 7)]),
        ((4, 5, 6), "nearest-2x3x3", "ZYX", None),
        ((4, 5, 6), "nearest-4x1x1", "ZYX", [(1, 3), None, (2, 5)]),
        ((4, 5, 6), "nearest-2x2", "ZYX", [(2, 3), None, (1, 6)]),
        ((2, 4, 5, 6), "nearest-2x3x1", "TZYX", [None, (1, 4), (1, 4), (3, 6)]),
        ((4, 5, 2, 6), "nearest-2x2", "ZYCX", None),
    ],
)
def test_every_corner_of_the_result_lies_on_its_source(
    shape: tuple[int, ...], model: str, axes: str, region: Any, seed: int, affine: bool
) -> None:
    layer = Image(np.zeros(shape, np.uint8), **random_transform(len(shape), seed, affine=affine))
    data, attributes, _ = upscale_layer(layer, model, axes=axes, region=region)
    result = Image(data, **attributes)
    bounds = [b or (0, n) for b, n in zip(region or [None] * len(shape), shape, strict=True)]
    expected = to_world(layer, corners(bounds))
    found = to_world(result, corners([(0, n) for n in result.data.shape]))
    voxel = np.abs(np.linalg.det(to_matrix(layer))) ** (1 / len(shape))
    assert_allclose(found, expected, atol=1e-6 * voxel)


def to_matrix(layer: Any) -> np.ndarray:
    n = layer.ndim
    origin = np.array(layer.data_to_world(np.zeros(n)))
    return np.stack([np.array(layer.data_to_world(e)) - origin for e in np.eye(n)], axis=1)


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_the_linear_part_is_that_of_napari(ndim: int) -> None:
    transform = random_transform(ndim, 3, affine=False)
    layer = Image(np.zeros((2,) * ndim), **transform)
    matrix = linear_matrix(layer.scale, layer.rotate, layer.shear)
    assert_allclose(matrix, to_matrix(layer), atol=1e-9)


def test_an_angle_and_a_full_shear_matrix_mean_what_they_mean_in_napari() -> None:
    layer = Image(np.zeros((2, 2)), scale=[2, 3], rotate=30, shear=[0.2])
    assert_allclose(linear_matrix([2, 3], 30, [[1, 0.2], [0, 1]]), to_matrix(layer), atol=1e-9)


def test_rotations_that_are_not_understood_are_refused() -> None:
    with pytest.raises(ValueError, match="one angle"):
        linear_matrix([1, 1, 1], [10, 20, 30], None)


numbers = st.floats(-100, 100)
sizes = st.floats(0.01, 100)
factors = st.integers(1, 16)
starts = st.integers(0, 1000)


@given(
    st.lists(
        st.tuples(sizes, numbers, factors, starts, st.integers(0, 100)), min_size=1, max_size=4
    )
)
def test_a_source_pixel_is_filled_by_its_pixels(axes: list[tuple[Any, ...]]) -> None:
    scale, translate, factor, start, pixel = (np.array(v, float) for v in zip(*axes, strict=True))
    fine, origin = upscaled_scale_translate(scale, translate, factor=factor, start=start)
    for side in (-0.5, 0.5):
        source = translate + (start + pixel + side) * scale
        first = (pixel if side < 0 else pixel + 1) * factor - 0.5
        assert_allclose(origin + first * fine, source, rtol=1e-9, atol=1e-9 * scale.max())


@given(st.integers(1, 4), st.integers(0, 2**31), st.data())
def test_the_affine_and_the_scale_say_the_same(ndim: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    factor = data.draw(st.lists(factors, min_size=ndim, max_size=ndim))
    start = data.draw(st.lists(starts, min_size=ndim, max_size=ndim))
    scale, translate = rng.uniform(0.1, 9, ndim), rng.uniform(-9, 9, ndim)
    rotate, shear = rng.normal(size=(ndim, ndim)), rng.normal(size=ndim * (ndim - 1) // 2)
    fine, origin = upscaled_scale_translate(scale, translate, rotate, shear, factor, start)
    matrix = np.eye(ndim + 1)
    matrix[:-1, :-1] = linear_matrix(scale, rotate, shear)
    matrix[:-1, -1] = translate
    result = upscaled_affine(matrix, factor, start)
    assert_allclose(result[:-1, :-1], linear_matrix(fine, rotate, shear), atol=1e-9)
    assert_allclose(result[:-1, -1], origin, rtol=1e-9, atol=1e-9)
    # A point of the source, in pixels of the result, is the same point of the world.
    point = rng.uniform(0, 50, ndim)
    moved = scaled_point(point.tolist(), factor, start)
    assert_allclose(result @ [*moved, 1], matrix @ [*point, 1], rtol=1e-9, atol=1e-6)
