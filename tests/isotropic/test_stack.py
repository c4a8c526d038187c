"""The grids of a stack and of its result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.isotropic.stack import describe_stack


def test_the_target_is_the_finest_pixel_of_a_slice() -> None:
    stack = describe_stack((20, 50, 60), (3.0, 0.7, 0.8))
    assert stack.target == (0.7, 0.7, 0.7)
    assert stack.levels == 5
    assert stack.result_shape == (86, 50, 69)
    assert stack.factor == pytest.approx((3 / 0.7, 1.0, 0.8 / 0.7))


def test_whole_ratios_stay_whole_in_floating_point() -> None:
    stack = describe_stack((20, 50, 60), (0.3, 0.1, 0.1))
    assert stack.levels == 3
    assert stack.result_shape == (60, 50, 60)


@given(st.floats(1.2, 15), st.integers(4, 40))
def test_the_result_covers_the_stack_and_not_a_voxel_more(ratio: float, slices: int) -> None:
    stack = describe_stack((slices, 30, 30), (ratio, 1.0, 1.0))
    covered, wanted = stack.result_shape[0], slices * ratio
    assert wanted - 1e-4 <= covered < wanted + 1
    assert stack.result_shape[1:] == (30, 30)
    assert stack.levels >= stack.ratio - 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_may_be_the_coarse_one(axis: int) -> None:
    spacing, shape = [1.0, 1.0, 1.0], [40, 40, 40]
    spacing[axis], shape[axis] = 2.6, 10
    stack = describe_stack(shape, spacing, axis=axis)
    assert stack.result_shape[axis] == 26
    assert stack.lateral == tuple(a for a in range(3) if a != axis)


@pytest.mark.parametrize(
    ("shape", "spacing", "options", "word"),
    [
        ((20, 50, 50), (1.0, 1.0, 1.0), {}, "nothing to refine"),
        ((20, 50, 50), (0.2, 1.0, 1.0), {}, "nothing to refine"),
        ((20, 50, 50), (20.0, 1.0, 1.0), {}, "up to 16"),
        ((3, 50, 50), (3.0, 1.0, 1.0), {}, "too small"),
        ((20, 50, 20), (3.0, 1.0, 1.0), {}, "too small"),
        ((20, 50, 50), (3.0, 1.0), {}, "three spatial axes"),
        ((20, 50, 50), (3.0, 0.0, 1.0), {}, "above 0"),
        ((20, 50, 50), (3.0, 1.0, 1.0), {"target": 3.0}, "not finer"),
        ((20, 50, 50), (3.0, 1.0, 1.0), {"target": 0.01}, "16 times finer"),
        ((20, 50, 50), (3.0, 1.0, 1.0), {"axis": 3}, "axis is 0, 1 or 2"),
        ((20, 50, 50), (3.0, 1.0, 1.0), {"target": (1.0, 1.0)}, "target"),
    ],
)
def test_what_cannot_be_refined_is_refused(shape, spacing, options, word):
    with pytest.raises(InputError, match=word):
        describe_stack(shape, spacing, **options)
