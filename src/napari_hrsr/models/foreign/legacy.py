"""Safe copies of files from before torch 1.6, made by a process that may do little.

Such a file is a bare pickle, which cannot be checked before it is read. It is
read with ``weights_only`` in a child process with limits to its memory, time
and files; what comes out is checked like any other file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load, save

from napari_hrsr.errors import ModelFileError, OutputError
from napari_hrsr.models.foreign.containers import check_tensors, is_legacy_pickle, read_tensors
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.writing import write_whole

_CHILD = Path(__file__).with_name("legacy_child.py")
_SECONDS = 120
_MEMORY = 8 * 2**30


def convert(source: Path, target: Path, *, overwrite: bool = False) -> int:
    """Write the weights in a file as safetensors.

    Parameters
    ----------
    source : Path
        ``.pth``, ``.pt`` or ``.ckpt`` of any version of torch.
    target : Path
        ``.safetensors``.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    int
        Number of tensors.

    Raises
    ------
    ModelFileError
        If the file holds anything else than weights, or cannot be read.
    OutputError
        If the target cannot be written.
    """
    if target.suffix.lower() != ".safetensors":
        msg = f"{target.name} must end in .safetensors"
        raise OutputError(msg)
    if target.exists() and not overwrite:
        msg = f"{target.name} exists: choose another name, or allow it to be overwritten"
        raise OutputError(msg)
    content = read_file(source)
    if is_legacy_pickle(content):
        tensors = load(_in_child(source))
        check_tensors(source.name, tensors, len(content))
    else:
        tensors = read_tensors(source.name, content)
    dense = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    try:
        write_whole(target, save(dense))
    except OSError as error:
        msg = f"cannot write {target.name}: {error.strerror or error}"
        raise OutputError(msg) from error
    return len(dense)


def _in_child(source: Path) -> bytes:
    """Read a bare pickle in a process with limits; return what it holds as safetensors."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.safetensors"
        command = [
            sys.executable,
            "-I",
            "-W",
            "ignore",
            str(_CHILD),
        ]
        limits = [str(_MEMORY), str(_SECONDS), str(max(2**20, 2 * source.stat().st_size))]
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP")
        }
        try:
            done = subprocess.run(
                [*command, *limits, str(source.absolute()), str(out)],
                capture_output=True,
                text=True,
                timeout=2 * _SECONDS,
                env=environment | {"OMP_NUM_THREADS": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            msg = f"{source.name} takes too long to read"
            raise ModelFileError(msg) from None
        if done.returncode != 0 or not out.exists():
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            msg = f"{source.name} cannot be converted: {reason[0][:300]}"
            raise ModelFileError(msg)
        return out.read_bytes()
