"""Pixels that are kept, within a bound in bytes; the least recently used ones go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray


class PixelCache:
    """Arrays by key; may be used from any thread.

    Parameters
    ----------
    limit : int
        Most bytes that are held. What is larger by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most = 0
        self._held = 0
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are held now; `most` is what was ever held at once."""
        return self._held

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._arrays

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return an array and keep it from going first; None where it is not there."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Hashable, array: NDArray[Any]) -> None:
        """Keep an array, after room has been made for it."""
        with self._lock:
            self._drop(key)
            if array.nbytes > self.limit:
                return
            while self._held + array.nbytes > self.limit:
                self._drop(next(iter(self._arrays)))
            self._arrays[key] = array
            self._held += array.nbytes
            self.most = max(self.most, self._held)

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._arrays.clear()
            self._held = 0

    def _drop(self, key: Hashable) -> None:
        old = self._arrays.pop(key, None)
        if old is not None:
            self._held -= old.nbytes
