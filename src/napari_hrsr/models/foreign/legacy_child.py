"""Read a bare pickle of weights, with limits, and write safetensors. A script of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def main() -> None:
    """Take the limits of memory, seconds and written bytes, the source and the target."""
    memory, seconds, written = (int(text) for text in sys.argv[1:4])
    source, target = sys.argv[4:6]
    import torch
    from safetensors.torch import save_file

    _limit(memory, seconds, written)
    with open(source, "rb") as file:
        found = torch.load(file, map_location="cpu", weights_only=True)
    tensors = _weights(found)
    if not tensors:
        raise SystemExit("it holds no weights of a network")
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, target)


def _limit(memory: int, seconds: int, written: int) -> None:
    import psutil

    try:
        import resource
    except ImportError:  # Windows has none.
        return
    # Libraries for graphics cards reserve addresses that they never use.
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _weights(found: Any) -> dict[str, Any]:
    """Return the first group of tensors in what programs put around them."""
    import torch

    for _ in range(3):
        if not isinstance(found, Mapping):
            return {}
        tensors = {
            k: v for k, v in found.items() if isinstance(v, torch.Tensor) and isinstance(k, str)
        }
        if tensors:
            return tensors
        named = ("params_ema", "params", "state_dict", "model", "net")
        inner = [found[k] for k in named if isinstance(found.get(k), Mapping)]
        inner += [v for v in found.values() if isinstance(v, Mapping)]
        if not inner:
            return {}
        found = inner[0]
    return {}


if __name__ == "__main__":
    main()
