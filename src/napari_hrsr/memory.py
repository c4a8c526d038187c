"""Memory: how much is free, keeping it during a run, giving it back after."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import ClassVar

import psutil
import torch


def free_memory() -> int:
    """Bytes of main memory that can be used without swapping."""
    return int(psutil.virtual_memory().available)


class _Allocator:
    """Keep glibc from returning every activation to the kernel during runs.

    At useful tile sizes each activation lies above malloc's threshold, so it
    is mapped, page-faulted in and unmapped again: a third to two thirds of
    the time of a network on a CPU. Counted, because runs may overlap.
    """

    # Options of mallopt: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD. Setting them ends
    # their adaptation, so afterwards they stay where it would have led.
    _KEEP: ClassVar = {-1: 2**31 - 1, -3: 2**31 - 1}
    _USUAL: ClassVar = {-1: 64 * 2**20, -3: 32 * 2**20}

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._libc: ctypes.CDLL | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                libc = ctypes.CDLL("libc.so.6")
                if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
                    self._libc = libc

    def _set(self, options: Mapping[int, int]) -> None:
        if self._libc is not None:
            for option, value in options.items():
                self._libc.mallopt(option, value)

    @contextlib.contextmanager
    def keeping_memory(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._set(self._KEEP)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._set(self._USUAL)
                    if self._libc is not None:
                        self._libc.malloc_trim(0)


_allocator = _Allocator()
keep_memory = _allocator.keeping_memory


def release_memory(device: torch.device) -> None:
    """Give a GPU's cached memory back to the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or "out of memory" in text or "not enough memory" in text
    )
