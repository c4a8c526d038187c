"""What the driver of the graphics does to everything else in the process."""

from __future__ import annotations

import sys
from pathlib import Path

_MAPS = Path("/proc/self/maps")
"""What is loaded into this process, on Linux."""


def keep_second_llvm_out(maps: Path = _MAPS) -> None:
    """Make triton look as if it were not installed, where importing it would be a crash.

    The window of napari has loaded Mesa's driver, and with it a libLLVM.
    Triton, the compiler of torch for CUDA, brings an LLVM of its own, whose
    names clash: the process ends with a segmentation fault. torchvision, and
    so spandrel and lightning, import triton only to see whether it is there,
    and do without. Nothing is changed where triton was imported before.

    Parameters
    ----------
    maps : Path
        The libraries of this process, one a line; a file that is not there
        means that nothing need be done.
    """
    if "triton" in sys.modules:
        return
    try:
        loaded = maps.read_text("utf-8", "replace")
    except OSError:
        return
    if "libLLVM" in loaded:
        sys.modules["triton"] = None  # type: ignore[assignment]
