"""Run a trusted network for another process: arrays in, arrays out. A script of its own."""

from __future__ import annotations

import importlib
import io
import json
import os
import struct
import sys
import threading
import time
import types
from typing import Any, BinaryIO


def main() -> None:
    """Take the limit of memory; read the network, then arrays until the pipe is closed."""
    memory, threads = (int(text) for text in sys.argv[1:3])
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    # What the author prints must not end up among the results.
    os.dup2(2, 1)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    header, content = _read(incoming)
    _limit(memory)
    try:
        network = _network(header, content).eval()
        _write(outgoing, {"ok": True}, b"")
    except Exception as error:
        _write(outgoing, {"error": f"{type(error).__name__}: {error}"[:1000]}, b"")
        return
    while True:
        try:
            header, content = _read(incoming)
        except EOFError:
            return
        try:
            given = np.frombuffer(content, np.float32).reshape(header["shape"])
            with torch.inference_mode():
                made = network(torch.from_numpy(given.copy()))
            if isinstance(made, (list, tuple)):
                made = made[0]
            result = np.ascontiguousarray(made.float().numpy())
            _write(outgoing, {"shape": result.shape}, result.tobytes())
        except Exception as error:
            _write(outgoing, {"error": " ".join(str(error).split())[:1000]}, b"")


def _network(facts: dict[str, Any], content: bytes) -> Any:
    """Build the author's network: this is where code of theirs begins to run."""
    import torch

    if facts["kind"] == "torchscript":
        return torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    from safetensors.torch import load

    if "module" in facts:
        module = importlib.import_module(facts["module"])
    else:
        module = types.ModuleType("network_of_the_package")
        # Dataclasses and others look their own module up.
        sys.modules[module.__name__] = module
        exec(compile(facts["source"], "network.py", "exec"), module.__dict__)
    network = getattr(module, facts["callable"])(**facts["arguments"])
    network.load_state_dict(load(content))
    return network


def _watch(parent: int) -> None:
    """End with the process that started this one, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has none.
        return
    import psutil

    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(pipe: BinaryIO) -> tuple[dict[str, Any], bytes]:
    start = pipe.read(12)
    if len(start) < 12:
        raise EOFError
    first, second = struct.unpack("<IQ", start)
    return json.loads(pipe.read(first)), pipe.read(second)


def _write(pipe: BinaryIO, header: dict[str, Any], content: bytes) -> None:
    text = json.dumps(header).encode()
    pipe.write(struct.pack("<IQ", len(text), len(content)) + text + content)
    pipe.flush()


if __name__ == "__main__":
    main()
