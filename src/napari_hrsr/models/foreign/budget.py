"""A limit to what building a network may allocate.

The names and shapes of a few tensors decide how large a network is built, so a
file of a few kilobytes could ask for terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from napari_hrsr.errors import ModelFileError

_WIDEST_NUMBER = 8
_FACTORIES = frozenset({"empty", "zeros", "ones", "full", "rand", "randn", "empty_strided"})
_RANGES = frozenset({"arange", "linspace"})


class AllocationBudget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuse, within its context, to make tensors of more bytes than allowed.

    Parameters
    ----------
    name : str
        Of the file, for the message.
    numbers : int
        Most numbers that may be allocated, over all new tensors.
    """

    def __init__(self, name: str, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._name, self._left = name, numbers

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count what is made before it is made."""
        kind = func.overloadpacket.__name__
        if kind in _FACTORIES and args and isinstance(args[0], (list, tuple)):
            self._left -= math.prod(int(n) for n in args[0])
        elif kind in _RANGES:
            self._left -= int(max((abs(a) for a in args if isinstance(a, (int, float))), default=0))
        if self._left < 0:
            msg = f"{self._name} asks for a network that is much larger than the file"
            raise ModelFileError(msg)
        return func(*args, **(kwargs or {}))
