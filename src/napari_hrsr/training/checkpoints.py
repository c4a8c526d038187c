"""Checkpoints without pickle: one safetensors file, tensors and JSON, replaced at once.

Lightning's own checkpoints are pickles, which run code when they are opened.
Here every tensor of the nested state is stored under a number, and the state
itself, with numbers in place of tensors, as JSON in the file's header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_hrsr.errors import ModelFileError
from napari_hrsr.files.partial import partial_file

_KEY = "napari_hrsr_checkpoint"
_VERSION = 1


class SafeCheckpointIO(CheckpointIO):
    """Reads and writes the state of a training as safetensors and JSON."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the state; an existing file is replaced at the end.

        Parameters
        ----------
        checkpoint : dict
            Nested dicts, lists and tuples of tensors and plain values.
        path : str or Path
            Of the file.
        storage_options : optional
            Not used.
        """
        write_state(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a state that `save_checkpoint` wrote; nothing in it can run code.

        Parameters
        ----------
        path : str or Path
            Of the file.
        map_location, weights_only : optional
            Not used: tensors come to the CPU, and nothing is ever unpickled.
        """
        state: dict[str, Any] = read_state(Path(path))
        return state

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file."""
        Path(path).unlink(missing_ok=True)


def write_state(state: Any, path: Path) -> None:
    """Write nested plain values and tensors into one safetensors file.

    Parameters
    ----------
    state : dict, list, tuple, Tensor, str, int, float, bool or None
        Nested as deep as wanted.
    path : Path
        Replaced when everything is written, so that it is always a whole file.

    Raises
    ------
    TypeError
        If the state holds anything else.
    OutputError
        If the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    outline = json.dumps({"version": _VERSION, "state": _encode(state, tensors)})
    content = save(tensors, metadata={_KEY: outline})
    with partial_file(path, len(content)) as file:
        file.write(content)


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            outline = json.loads((file.metadata() or {})[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if outline["version"] != _VERSION:
            msg = f"{path.name} is of another version of napari-hrsr: start the training anew"
            raise ModelFileError(msg)
        return _decode(outline["state"], tensors)
    except OSError as error:
        msg = f"cannot read {path.name}: {error.strerror or error}"
        raise ModelFileError(msg) from None
    except (SafetensorError, KeyError, ValueError, TypeError, IndexError, RecursionError):
        msg = f"{path.name} is no checkpoint of napari-hrsr, or it is damaged"
        raise ModelFileError(msg) from None


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        number = str(len(tensors))
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[number] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": number}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, tensors) for v in value]}
    if isinstance(value, list):
        return {"list": [_encode(v, tensors) for v in value]}
    msg = f"a checkpoint cannot hold {type(value).__name__}"
    raise TypeError(msg)


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in content}
    if kind in ("list", "tuple"):
        items = [_decode(v, tensors) for v in content]
        return items if kind == "list" else tuple(items)
    if kind != "plain":
        raise ValueError(kind)
    return content


def checkpoint_step(path: Path) -> int:
    """Return the step at which a checkpoint was written, without its tensors.

    Raises
    ------
    ModelFileError
        If it is no checkpoint.
    """
    state = read_state(path)
    step = state["state_dict"]["steps_done"] if isinstance(state, dict) else None
    if not isinstance(step, Tensor):
        msg = f"{path.name} is no checkpoint of a training"
        raise ModelFileError(msg)
    return int(torch.as_tensor(step))
