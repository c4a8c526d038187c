"""The plan of tiles: no gap, no overlap, and every read large enough and in place."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.tiling import TilePlan, plan_tiles


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `plan_tiles` for one to three axes."""
    ndim = draw(st.integers(1, 3))

    def per_axis(least: int, most: int) -> list[int]:
        return draw(st.lists(st.integers(least, most), min_size=ndim, max_size=ndim))

    shape = per_axis(1, 40)
    request: dict[str, Any] = {"shape": shape, "tile": per_axis(1, 50), "halo": per_axis(0, 9)}
    if draw(st.booleans()):
        request["multiple"] = per_axis(1, 5)
    if draw(st.booleans()):
        request["minimum"] = per_axis(1, 30)
    if draw(st.booleans()):
        request["unit"] = per_axis(1, 50)
    if draw(st.booleans()):
        starts = [draw(st.integers(0, n - 1)) for n in shape]
        request["region"] = [
            (start, draw(st.integers(start + 1, n))) for start, n in zip(starts, shape, strict=True)
        ]
    return request


def region_of(request: dict[str, Any]) -> list[tuple[int, int]]:
    return request.get("region") or [(0, n) for n in request["shape"]]


def plan_of(request: dict[str, Any]) -> TilePlan:
    options = dict(request)
    return plan_tiles(options.pop("shape"), options.pop("tile"), **options)


@given(requests())
def test_bodies_fill_the_region_without_gap_or_overlap(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    for spans, (start, stop) in zip(plan.axes, region_of(request_), strict=True):
        edges = [start, *(span.body_stop for span in spans)]
        assert edges[-1] == stop
        assert [span.body_start for span in spans] == edges[:-1]
        assert all(a < b for a, b in itertools.pairwise(edges))
    assert plan.region == tuple(region_of(request_))


@given(requests())
def test_every_read_fits_the_network_and_the_padded_image(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    ndim = len(plan.shape)
    multiples = request_.get("multiple", [1] * ndim)
    minima = request_.get("minimum", [1] * ndim)
    for axis, spans in enumerate(plan.axes):
        lengths = {span.read_stop - span.read_start for span in spans}
        assert lengths == {plan.read[axis]}
        assert plan.read[axis] >= minima[axis]
        assert plan.padded[axis] % multiples[axis] == 0
        assert plan.padded[axis] >= max(plan.shape[axis], minima[axis])
        for span in spans:
            assert 0 <= span.read_start < span.read_stop <= plan.padded[axis]
            assert span.read_start % multiples[axis] == span.read_stop % multiples[axis] == 0


@given(requests())
def test_reads_hold_the_halo_or_end_at_the_border(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    for spans, halo, length in zip(plan.axes, request_["halo"], plan.padded, strict=True):
        for span in spans:
            assert span.read_start == 0 or span.read_start <= span.body_start - halo
            assert span.read_stop == length or span.read_stop >= span.body_stop + halo


@given(requests())
def test_the_image_is_padded_no_further_than_needed(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    for axis, (n, padded) in enumerate(zip(plan.shape, plan.padded, strict=True)):
        multiple = request_.get("multiple", [1] * len(plan.shape))[axis]
        minimum = request_.get("minimum", [1] * len(plan.shape))[axis]
        assert padded - max(n, minimum) < multiple


@given(requests())
def test_no_body_is_longer_than_asked_for_or_crosses_a_unit(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    ndim = len(plan.shape)
    for axis, spans in enumerate(plan.axes):
        multiple = request_.get("multiple", [1] * ndim)[axis]
        start, stop = region_of(request_)[axis]
        unit = request_["unit"][axis] if "unit" in request_ else stop - start
        longest = -(-request_["tile"][axis] // multiple) * multiple
        for span in spans:
            assert span.body_stop - span.body_start <= longest
            assert (span.body_start - start) // unit == (span.body_stop - 1 - start) // unit
        assert plan.tile[axis] == max(s.body_stop - s.body_start for s in spans)


@given(requests())
def test_length_indexing_and_iteration_agree(request_: dict[str, Any]) -> None:
    plan = plan_of(request_)
    tiles = list(itertools.product(*plan.axes))
    assert len(plan) == len(tiles)
    assert list(plan) == tiles
    assert plan[len(plan) - 1] == tiles[-1]
    for outside in (len(plan), -1):
        with pytest.raises(IndexError):
            plan[outside]


def test_bodies_are_even() -> None:
    plan = plan_tiles([100], [60], halo=[3])
    assert [s.body_stop - s.body_start for s in plan.axes[0]] == [50, 50]


def test_a_unit_longer_than_the_region_changes_nothing() -> None:
    assert plan_tiles([60], [30], halo=[2], unit=[100]) == plan_tiles([60], [30], halo=[2])


def test_a_tile_larger_than_the_image_is_the_image() -> None:
    plan = plan_tiles([7, 1], [64, 64], halo=[5, 5])
    assert len(plan) == 1
    assert plan.read == plan.tile == (7, 1)


def test_a_read_is_never_shorter_than_the_network_accepts() -> None:
    plan = plan_tiles([100], [4], halo=[1], minimum=[16])
    assert plan.read == (16,)


@pytest.mark.parametrize(
    ("shape", "tile", "region", "words"),
    [
        ([0, 5], [4, 4], None, "empty"),
        ([5, 5], [4, 0], None, "at least 1 pixel"),
        ([5, 5], [4, 4], [(0, 5), (2, 6)], "region 2:6"),
        ([5, 5], [4, 4], [(3, 3), (0, 5)], "region 3:3"),
        ([5, 5], [4, 4], [(-1, 3), (0, 5)], "region -1:3"),
    ],
)
def test_impossible_requests_are_refused(
    shape: list[int], tile: list[int], region: list[tuple[int, int]] | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        plan_tiles(shape, tile, halo=[1, 1], region=region)
