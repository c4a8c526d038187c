"""Which weights of a package are used, and what runs them: without code of others if possible."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.containers import read_tensors
from napari_hrsr.models.foreign.onnx_files import OnnxRun
from napari_hrsr.models.foreign.packages import Reader
from napari_hrsr.models.foreign.programs import KINDS, PYTHON, TORCHSCRIPT, Program, pack_python
from napari_hrsr.models.foreign.published import PublishedNetwork, build_published
from napari_hrsr.models.foreign.trusted import ChildRun
from napari_hrsr.models.foreign.wrapped import Run


class NetworkRun:
    """Runs a network of torch on an array (1, C, *spatial)."""

    def __init__(self, network: PublishedNetwork) -> None:
        self._network = network

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Run it."""
        with torch.inference_mode():
            result: NDArray[Any] = self._network(torch.from_numpy(image)).numpy()
        return result


def make_run(name: str, runs: str, content: bytes) -> Run:
    """Return what runs a file of weights.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    runs : str
        ``"onnx"``, ``"published"``, or a kind of `programs.Program`.
    content : bytes
        The file.

    Raises
    ------
    UntrustedError
        If it is a program that the user does not trust.
    ModelFileError
        If `runs` is not known, or the file is refused.
    """
    if runs == "onnx":
        return OnnxRun(name, content)
    if runs == "published":
        return NetworkRun(build_published(name, read_tensors(name, content), len(content)))
    if runs in KINDS:
        return ChildRun(name, content, kind=runs)
    msg = f"{name} names no way to run its network that is known here: {runs!r}"
    raise ModelFileError(msg)


def choose_weights(name: str, weights: Any, read: Reader) -> tuple[str, bytes]:
    """Choose among the formats in which a package has its weights; nothing is run.

    Parameters
    ----------
    name : str
        Of the package, for messages.
    weights : object
        From its description.
    read : callable
        Reads its files.

    Returns
    -------
    runs : str
        For `make_run`; a program only if nothing else can be used.
    content : bytes
        For `make_run`.

    Raises
    ------
    ModelFileError
        If there is none that can be used.
    """
    if weights.onnx is not None:
        if weights.onnx.external_data is not None:
            msg = f"{name} keeps its weights in another file than its graph: save it as one file"
            raise ModelFileError(msg)
        return "onnx", _checked(name, weights.onnx, read)
    if weights.pytorch_state_dict is not None:
        content = _checked(name, weights.pytorch_state_dict, read)
        if _is_published(name, content):
            return "published", content
    program = _program(name, weights, read)
    if program is None:
        msg = f"{name} cannot be used: it has weights in no format that can be used here"
        raise ModelFileError(msg)
    return program.kind, program.content


def find_program(name: str, weights: Any, read: Reader) -> Program | None:
    """Return the code that a package needs; None where it can be used without.

    Parameters
    ----------
    name, weights, read
        As for `choose_weights`.

    Raises
    ------
    ModelFileError
        If its files are damaged.
    """
    if weights.onnx is not None:
        return None
    state = weights.pytorch_state_dict
    if state is not None and _is_published(name, _checked(name, state, read)):
        return None
    return _program(name, weights, read)


def _is_published(name: str, content: bytes) -> bool:
    """Tell whether spandrel knows the network that some weights belong to."""
    tensors = read_tensors(name, content)
    try:
        build_published(name, tensors, len(content))
    except ModelFileError:
        return False
    return True


def _program(name: str, weights: Any, read: Reader) -> Program | None:
    if weights.torchscript is not None:
        # Whole: it needs no other files or libraries, unlike what is written in Python.
        content = _checked(name, weights.torchscript, read)
        return Program(TORCHSCRIPT, f"{weights.torchscript.source} of {name}", content)
    if weights.pytorch_state_dict is None:
        return None
    entry, architecture = weights.pytorch_state_dict, weights.pytorch_state_dict.architecture
    content = _checked(name, entry, read)
    facts = {
        "callable": str(architecture.callable),
        "arguments": dict(architecture.kwargs),
    }
    parts = [(str(entry.source), hashlib.sha256(content).hexdigest())]
    if hasattr(architecture, "import_from"):
        module = str(architecture.import_from)
        shown = f"{module}.{architecture.callable}, named by {name}"
        return Program(PYTHON, shown, pack_python(facts | {"module": module}, content), (*parts,))
    source = _checked(name, architecture, read)
    parts.insert(0, (str(architecture.source), hashlib.sha256(source).hexdigest()))
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        msg = f"{name}: {architecture.source} is no text: {error}"
        raise ModelFileError(msg) from None
    packed = pack_python(facts | {"source": text}, content)
    return Program(PYTHON, f"{architecture.source} of {name}", packed, (*parts,))


def _checked(name: str, entry: Any, read: Reader) -> bytes:
    source = str(entry.source)
    if "://" in source:
        msg = f"{name} refers to {source[:80]}: download the whole package first"
        raise ModelFileError(msg)
    content = read(source)
    if entry.sha256 is not None and hashlib.sha256(content).hexdigest() != str(entry.sha256):
        msg = f"{name}: its file {source!r} is not the one that is described, or it is damaged"
        raise ModelFileError(msg)
    return content
