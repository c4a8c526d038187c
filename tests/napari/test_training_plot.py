"""Lines of a plot that grows for hours."""

import math

from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr._napari.training_plot import Curve, value_limits


def test_a_curve_stays_short_and_keeps_its_span():
    curve = Curve(most=100)
    for step in range(100_000):
        curve.add(step, -step)
    assert 25 <= len(curve.points) <= 100
    assert curve.points[0] == (0, 0)
    assert curve.points[-1][0] > 99_000
    steps = [x for x, _ in curve.points]
    assert steps == sorted(steps)


def test_a_resumed_training_draws_over_what_is_done_again():
    curve = Curve()
    for step in (0, 50, 100, 150):
        curve.add(step, 1.0)
    curve.add(100, 2.0)
    assert curve.points == [(0, 1.0), (50, 1.0), (100, 2.0)]


def test_what_is_no_number_is_not_drawn():
    curve = Curve()
    curve.add(1, math.nan)
    curve.add(2, math.inf)
    assert curve.points == []


@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_all_values_lie_within_the_axis(values):
    low, high = value_limits(values)
    assert low < high
    assert all(low <= value <= high for value in values)
