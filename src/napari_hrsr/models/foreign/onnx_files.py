"""ONNX files, run by onnxruntime on the processor.

A graph of standard operators only: nothing of the file's is loaded as a
library, and it may not read other files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.containers import MOST_TENSORS
from napari_hrsr.models.foreign.inferring import infer_network
from napari_hrsr.models.foreign.wrapped import WrappedNetwork

_LARGEST_CONSTANT = 2**27
_GROWING = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Resize", "Pad"})
"""Operators that make something large of a few numbers."""

_REFUSED = frozenset(
    {
        "Loop",
        "Scan",
        "SequenceMap",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    }
)
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


class OnnxRun:
    """Runs a checked graph, in the thread that calls it.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        The file.

    Raises
    ------
    ModelFileError
        If it is refused.
    """

    def __init__(self, name: str, content: bytes) -> None:
        onnx, runtime = _libraries(name)
        check_onnx(name, content, onnx)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            # The content, never the path: beside a path it would look for further files.
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            msg = f"{name} cannot be read by onnxruntime: {' '.join(str(error).split())[:300]}"
            raise ModelFileError(msg) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            msg = (
                f"{name} takes {len(inputs)} inputs and gives {len(outputs)} results: "
                "only networks from one image to one image can be used"
            )
            raise ModelFileError(msg)
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        if inputs[0].type not in kinds or outputs[0].type not in kinds:
            msg = f"{name} takes {inputs[0].type} and gives {outputs[0].type}, expected floats"
            raise ModelFileError(msg)
        self._input, self._dtype = inputs[0].name, kinds[inputs[0].type]
        self.shape: list[Any] = list(inputs[0].shape)

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Run the graph on an array of its own axes."""
        (result,) = self._session.run(None, {self._input: image.astype(self._dtype, copy=False)})
        return np.asarray(result, np.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxRun:
        """Return the same: a session keeps nothing between runs."""
        return self


def load_onnx(name: str, content: bytes, given: Mapping[str, Any]) -> WrappedNetwork:
    """Load a graph and find out what it does.

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
        With the reason, if it is refused.
    """
    run = OnnxRun(name, content)
    fixed = [n for n in run.shape[2:] if isinstance(n, int)]
    if fixed:
        sizes = " x ".join(map(str, run.shape[2:]))
        msg = f"{name} takes images of {sizes} pixels only: export it with free axes"
        raise ModelFileError(msg)
    facts = dict(given)
    if len(run.shape) > 1 and isinstance(run.shape[1], int):
        if facts.get("channels", run.shape[1]) != run.shape[1]:
            msg = f"{name} takes {run.shape[1]} channels, stated are {facts['channels']}"
            raise ModelFileError(msg)
        facts["channels"] = run.shape[1]
    return infer_network(name, run, facts, runs="onnx", rank=len(run.shape) or None)


def check_onnx(name: str, content: bytes, onnx: Any) -> None:
    """Refuse a graph that reads files, never ends, grows without bound, or is damaged.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        The file, whole.
    onnx : module
        The library.

    Raises
    ------
    ModelFileError
        With the reason.
    """
    try:
        model = onnx.load_model_from_string(content)
        graph = model.graph
        nodes = list(_nodes(graph))
        for function in model.functions:
            nodes += [node for n in function.node for node in (n, *_below(n))]
    except Exception as error:
        msg = f"{name} is no ONNX file, or it is damaged: {' '.join(str(error).split())[:200]}"
        raise ModelFileError(msg) from None
    if not nodes or len(nodes) > MOST_TENSORS:
        msg = f"{name} is a graph of {len(nodes)} operators: no network is"
        raise ModelFileError(msg)
    known: dict[str, Any] = {}
    for key, tensor in _tensors(graph, nodes):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            msg = f"{name} keeps its weights in another file: save it as one file"
            raise ModelFileError(msg)
        values = _values(name, tensor, onnx)
        if values.dtype.kind == "f" and not np.isfinite(values).all() and values.size > 16:
            msg = f"{name}: tensor {key!r} holds NaN or infinite values"
            raise ModelFileError(msg)
        known[key] = values
    for node in nodes:
        if node.domain not in _DOMAINS and not model.functions:
            msg = f"{name} needs operators of its own: {node.domain}.{node.op_type}"
            raise ModelFileError(msg)
        if node.op_type in _REFUSED:
            msg = f"{name} has an operator that may not end, or is random: {node.op_type}"
            raise ModelFileError(msg)
        if node.op_type in _GROWING:
            _check_growth(name, node, known)


def _check_growth(name: str, node: Any, known: Mapping[str, Any]) -> None:
    for key in node.input:
        values = known.get(key)
        if values is None or values.size > 32 or values.dtype.kind not in "iuf":
            continue
        sizes = [max(1.0, abs(float(v))) for v in values.ravel() if math.isfinite(v)]
        if math.prod(sizes) > _LARGEST_CONSTANT:
            msg = f"{name} asks for something much larger than the file: {node.op_type}"
            raise ModelFileError(msg)


def _values(name: str, tensor: Any, onnx: Any) -> Any:
    if math.prod(tensor.dims) > 8 * tensor.ByteSize() + 8 or any(n < 0 for n in tensor.dims):
        msg = f"{name}: tensor {tensor.name!r} is larger than its numbers in the file"
        raise ModelFileError(msg)
    try:
        return onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        msg = f"{name}: tensor {tensor.name!r} is damaged: {error}"
        raise ModelFileError(msg) from None


def _tensors(graph: Any, nodes: list[Any]) -> Iterator[tuple[str, Any]]:
    graphs = [graph, *(a.g for n in nodes for a in n.attribute if a.HasField("g"))]
    for each in graphs:
        for tensor in each.initializer:
            yield tensor.name, tensor
        for sparse in each.sparse_initializer:
            yield sparse.values.name, sparse.values
            yield sparse.indices.name, sparse.indices
    for node in nodes:
        for attribute in node.attribute:
            found = [attribute.t] if attribute.HasField("t") else []
            for tensor in (*found, *attribute.tensors):
                yield node.output[0] if node.output else tensor.name, tensor


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        yield from _below(node)


def _below(node: Any) -> Iterator[Any]:
    """Operators of the graphs that an operator holds."""
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from _nodes(graph)


def _libraries(name: str) -> tuple[Any, Any]:
    try:
        import onnx
        import onnx.numpy_helper
        import onnxruntime
    except ImportError:
        msg = f'{name} needs onnxruntime: pip install "napari-hrsr[onnx]"'
        raise ModelFileError(msg) from None
    return onnx, onnxruntime
