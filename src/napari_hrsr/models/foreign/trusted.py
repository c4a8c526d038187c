"""Programs that the user trusts, run in a child process that ends with the run."""

from __future__ import annotations

import json
import os
import queue
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from napari_hrsr.errors import CancelledError, ModelFileError
from napari_hrsr.models.foreign.containers import read_tensors
from napari_hrsr.models.foreign.inferring import infer_network
from napari_hrsr.models.foreign.programs import KINDS, TORCHSCRIPT, unpack_python
from napari_hrsr.models.foreign.trust import check_trusted
from napari_hrsr.models.foreign.wrapped import WrappedNetwork

_CHILD = Path(__file__).with_name("trusted_child.py")
_MEMORY = 16 * 2**30
_SECONDS = 600
_SECONDS_TO_START = 120
_POLL = 0.1
_LARGEST_RESULT = 2**33


class ChildRun:
    """Runs a trusted network in a process of its own, which is started when it is needed.

    A copy starts another process; each ends when its object is no longer held,
    when a run is cancelled, and with this program.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        TorchScript, or what `programs.pack_python` made; the user must trust it.
    kind : str
        Which of them.
    seconds : float
        Longest time for one array.

    Raises
    ------
    UntrustedError
        If the user does not trust it.
    """

    def __init__(
        self, name: str, content: bytes, *, kind: str = TORCHSCRIPT, seconds: float = _SECONDS
    ) -> None:
        check_trusted(name, content, KINDS[kind])
        self._name, self._content, self._kind, self._seconds = name, content, kind, seconds
        self.cancelled: Callable[[], bool] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()

    def __deepcopy__(self, memo: dict[int, Any]) -> ChildRun:
        """Return one with a process of its own."""
        return ChildRun(self._name, self._content, kind=self._kind, seconds=self._seconds)

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The child, if it runs."""
        return self._process

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Send an array; return what comes back.

        Raises
        ------
        CancelledError
            If `cancelled` said so; the process is then ended.
        ModelFileError
            If it fails, ends, or takes too long.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        header, content = self._ask(
            {"shape": image.shape}, np.ascontiguousarray(image).tobytes(), self._seconds
        )
        if "error" in header:
            raise ValueError(str(header["error"]))
        return np.frombuffer(content, np.float32).reshape(header["shape"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _start(self) -> None:
        # Again: it may have been withdrawn since.
        check_trusted(self._name, self._content, KINDS[self._kind])
        start, content = _prepared(self._name, self._kind, self._content)
        allowed = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP")
        environment = {key: value for key, value in os.environ.items() if key in allowed}
        threads = str(torch.get_num_threads())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(_CHILD), str(_MEMORY), threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"OMP_NUM_THREADS": threads},
        )
        weakref.finalize(self, _end, self._process)
        self._answers = queue.Queue()
        reader = threading.Thread(
            target=_listen, args=(self._process.stdout, self._answers), daemon=True
        )
        reader.start()
        header, _ = self._ask(start, content, _SECONDS_TO_START)
        if "error" in header:
            self.close()
            msg = f"{self._name} cannot be loaded: {str(header['error'])[:300]}"
            raise ModelFileError(msg)

    def _ask(
        self, header: Mapping[str, Any], content: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        assert self._process is not None
        assert self._process.stdin is not None
        text = json.dumps(header).encode()
        waited = 0.0
        try:
            self._process.stdin.write(struct.pack("<IQ", len(text), len(content)) + text + content)
            self._process.stdin.flush()
        except OSError:
            self.close()
            msg = f"{self._name} ended its process"
            raise ModelFileError(msg) from None
        while True:
            try:
                answer = self._answers.get(timeout=_POLL)
                break
            except queue.Empty:
                waited += _POLL
            if self.cancelled is not None and self.cancelled():
                self.close()
                msg = "cancelled within a tile"
                raise CancelledError(msg)
            if waited > seconds:
                self.close()
                msg = f"{self._name} takes longer than {seconds:g} s"
                raise ModelFileError(msg)
        if answer is None:
            self.close()
            msg = f"{self._name} ended its process, or asked for more memory than it may have"
            raise ModelFileError(msg)
        return answer


def load_trusted(name: str, content: bytes, given: Mapping[str, Any]) -> WrappedNetwork:
    """Load TorchScript that the user trusts, and find out what it does.

    Parameters
    ----------
    name : str
        Of the file.
    content : bytes
        The file, whole.
    given : mapping
        Facts from `inferring.check_given`.

    Returns
    -------
    WrappedNetwork
        Its receptive field is not measured yet.

    Raises
    ------
    ModelFileError
        If it is not trusted, or cannot be used.
    """
    return infer_network(name, ChildRun(name, content), given, runs=TORCHSCRIPT)


def _prepared(name: str, kind: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what a child is told of a program, and what it loads."""
    if kind == TORCHSCRIPT:
        return {"kind": kind}, content
    facts, weights = unpack_python(name, content)
    tensors = read_tensors(name, weights)
    dense = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    return facts | {"kind": kind}, save(dense)


def _listen(pipe: IO[bytes], answers: queue.Queue[tuple[dict[str, Any], bytes] | None]) -> None:
    """Pass on what a child writes; None once it ends."""
    try:
        while True:
            start = pipe.read(12)
            if len(start) < 12:
                break
            first, second = struct.unpack("<IQ", start)
            if first > 2**20 or second > _LARGEST_RESULT:
                break
            header, content = json.loads(pipe.read(first)), pipe.read(second)
            answers.put((header, content))
    except (OSError, ValueError):
        pass
    answers.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
