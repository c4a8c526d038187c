import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.lazy.enlarging import enlarge, source_box
from napari_hrsr.models.nets.interpolation import Interpolation


@given(st.data())
def test_a_part_is_interpolated_as_the_whole_image_would_be(data):
    factor = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = Interpolation(3, factor, "linear")(torch.from_numpy(image)[None, None])[0, 0].numpy()
    box = tuple(
        data.draw(
            st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda ab: ab[0] < ab[1])
        )
        for n in whole.shape
    )
    more = data.draw(st.integers(0, 2))
    needed = tuple(
        (max(0, a - more), min(n, b + more))
        for (a, b), n in zip(source_box(box, factor, shape), shape, strict=True)
    )
    part = image[tuple(slice(*ab) for ab in needed)]
    made = enlarge(part, [a for a, _ in needed], box, factor, np.float32)
    np.testing.assert_allclose(made, whole[tuple(slice(*ab) for ab in box)], atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_ramp_stays_where_it_is(factor):
    ramp = np.arange(10, dtype=np.float32)[None]
    made = enlarge(ramp, (0, 0), ((0, 1), (0, 10 * factor)), (1, factor), np.float32)
    centres = (np.arange(10 * factor) + 0.5) / factor - 0.5
    np.testing.assert_allclose(made[0], np.clip(centres, 0, 9), atol=1e-6)


def test_integers_are_rounded_and_stay_in_their_range():
    image = np.array([[0, 255]], np.uint8)
    made = enlarge(image, (0, 0), ((0, 1), (0, 4)), (1, 2), np.uint8)
    assert made.dtype == np.uint8
    assert made.tolist() == [[0, 64, 191, 255]]
