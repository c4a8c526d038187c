"""A driver of the graphics with an LLVM of its own must not meet torch's compiler."""

import sys

import pytest

from napari_hrsr._napari.graphics import keep_second_llvm_out


@pytest.mark.parametrize("library", ["/usr/lib/libLLVM-15.so.1", "/usr/lib/libGL.so.1"])
def test_triton_stays_out_where_importing_it_would_be_a_crash(tmp_path, monkeypatch, library):
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r-xp 00000000 08:01 42 {library}\n")
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    keep_second_llvm_out(maps)
    hidden = "triton" in sys.modules
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    assert hidden == ("libLLVM" in library)


def test_a_triton_that_is_in_use_stays(tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 08:01 42 /usr/lib/libLLVM-15.so.1\n")
    monkeypatch.setitem(sys.modules, "triton", sys)
    keep_second_llvm_out(maps)
    assert sys.modules["triton"] is sys
    keep_second_llvm_out(tmp_path / "no such file")
