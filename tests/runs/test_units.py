from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrsr.errors import InputError
from napari_hrsr.runs.units import MOST_UNITS, Part, group_tiles, parse_part


@given(tiles=st.integers(1, 10**6), batch=st.integers(1, 16))
def test_units_hold_every_tile_once_in_whole_batches(tiles: int, batch: int) -> None:
    units = group_tiles(tiles, batch)
    assert len(units) <= MOST_UNITS
    assert units.size % batch == 0
    assert units[0].start == 0
    assert units[len(units) - 1].stop == tiles
    for unit in {0, len(units) // 2, max(0, len(units) - 2)}:
        assert all(units.of_tile(tile) == unit for tile in units[unit])
        if unit + 1 < len(units):
            assert units[unit].stop == units[unit + 1].start


@given(count=st.integers(1, 50), units=st.integers(0, 300))
def test_parts_hold_every_unit_once(count: int, units: int) -> None:
    parts = [Part(number, count) for number in range(1, count + 1)]
    for unit in range(units):
        assert sum(part.holds(unit) for part in parts) == 1


def test_a_part_is_read_from_text() -> None:
    assert parse_part("2/8") == Part(2, 8)
    assert str(parse_part(" 8/8 ")) == "8/8"


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "a/b", "1/0", "-1/4", ""])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 1/8"):
        parse_part(text)
