import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.lazy.windows import LazyArray


class Recorded(LazyArray):
    """An array in memory that notes what is read of it."""

    def __init__(self, pixels):
        super().__init__(pixels.shape, pixels.dtype)
        self.pixels, self.boxes = pixels, []

    def read(self, box):
        self.boxes.append(box)
        return self.pixels[tuple(slice(a, b) for a, b in box)]


PIXELS = np.arange(5 * 6 * 7).reshape(5, 6, 7)

keys = st.one_of(
    st.integers(-5, 4),
    st.builds(
        slice,
        st.none() | st.integers(-8, 8),
        st.none() | st.integers(-8, 8),
        st.sampled_from([None, 1, 2, -1, -3]),
    ),
)


@given(st.lists(keys, max_size=3), st.booleans())
def test_slicing_gives_what_numpy_gives(picked, dots):
    array = Recorded(PIXELS)
    key = (*picked, ...) if dots else tuple(picked)
    expected = PIXELS[key]
    window = array[key]
    assert window.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(window), expected)


def test_only_what_is_asked_for_is_read_and_only_then():
    array = Recorded(PIXELS)
    window = array[:, 2:4, 3:6][1]
    assert array.boxes == []
    np.testing.assert_array_equal(np.asarray(window), PIXELS[1, 2:4, 3:6])
    assert array.boxes == [((1, 2), (2, 4), (3, 6))]


@pytest.mark.parametrize("key", [9, ([0, 1],), (0, 0, 0, 0), np.ones((5, 6, 7), bool)])
def test_other_keys_are_refused(key):
    with pytest.raises(IndexError):
        Recorded(PIXELS)[key]
