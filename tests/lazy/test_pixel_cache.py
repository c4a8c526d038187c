import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.lazy.pixel_cache import PixelCache


def block(size):
    return np.zeros(size, np.uint8)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60))))
def test_what_is_held_never_exceeds_the_bound(steps):
    cache = PixelCache(100)
    for key, size in steps:
        cache.put(key, block(size))
        held = [cache.get(k) for k in range(10)]
        assert cache.nbytes == sum(a.nbytes for a in held if a is not None) <= 100
        assert cache.get(key) is not None
    assert cache.most <= 100


def test_the_least_recently_used_go_first():
    cache = PixelCache(30)
    for key in "abc":
        cache.put(key, block(10))
    cache.get("a")
    cache.put("d", block(10))
    assert ["a" in cache, "b" in cache, "c" in cache, "d" in cache] == [True, False, True, True]


def test_what_is_too_large_is_not_kept_and_drives_nothing_out():
    cache = PixelCache(30)
    cache.put("a", block(10))
    cache.put("b", block(31))
    assert "a" in cache
    assert "b" not in cache
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
