"""Models that the user trained or added: files in a folder of theirs, listed by their headers.

The folder is ``models`` in the user's data folder of napari-hrsr, or what the
environment variable NAPARI_HRSR_MODELS names.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import platformdirs

from napari_hrsr.errors import ModelFileError, OutputError
from napari_hrsr.models.header import parse_spec, read_header
from napari_hrsr.models.spec import ModelSpec, Weights
from napari_hrsr.models.writing import write_whole

_DEFAULTS = "defaults.json"


def user_folder() -> Path:
    """Return the folder of the user's models; it need not exist."""
    chosen = os.environ.get("NAPARI_HRSR_MODELS")
    return Path(chosen) if chosen else platformdirs.user_data_path("napari-hrsr") / "models"


def user_models() -> list[ModelSpec]:
    """List the user's models, the newest first; files that are none are passed over."""
    folder = user_folder()
    if not folder.is_dir():
        return []
    found = []
    for path in folder.glob("*.safetensors"):
        status = path.stat()
        try:
            spec = _spec(path, status.st_mtime_ns, status.st_size)
        except ModelFileError:
            continue
        found.append((status.st_mtime_ns, spec))
    return [spec for _, spec in sorted(found, key=lambda item: (-item[0], item[1].name))]


@functools.lru_cache(maxsize=256)
def _spec(path: Path, modified: int, size: int) -> ModelSpec:
    spec = parse_spec(path.name, read_header(path))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # The name of the file is the one that is unique.
    return replace(spec, name=path.stem, weights=Weights(str(path), digest, size))


def install_model(path: str | Path) -> ModelSpec:
    """Copy a model of ours to the user's models, replacing one of the same name.

    Parameters
    ----------
    path : str or Path
        A safetensors file that napari-hrsr wrote.

    Returns
    -------
    ModelSpec
        As it is listed from now on.

    Raises
    ------
    ModelFileError
        If the file is not one of ours.
    OutputError
        If the folder cannot be written to.
    """
    path = Path(path)
    name = parse_spec(path.name, read_header(path)).name
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path.name}: {error.strerror or error}"
        raise ModelFileError(msg) from None
    return install_content(name, content)


def install_content(name: str, content: bytes) -> ModelSpec:
    """Write a model to the user's models, replacing one of the same name.

    Parameters
    ----------
    name : str
        Of the model.
    content : bytes
        A safetensors file with our facts in its header.

    Returns
    -------
    ModelSpec
        As it is listed from now on.

    Raises
    ------
    ModelFileError
        If the name is none for a file.
    OutputError
        If the folder cannot be written to.
    """
    folder = user_folder()
    target = folder / f"{name}.safetensors"
    if target.parent != folder:
        msg = f"the model has the name {name!r}, which is none for a file"
        raise ModelFileError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
    except OSError as error:
        msg = f"cannot install {name} in {folder}: {error.strerror or error}"
        raise OutputError(msg) from error
    status = target.stat()
    return _spec(target, status.st_mtime_ns, status.st_size)


def set_default(spec: ModelSpec) -> None:
    """Make a model the one that is used when none is named.

    Parameters
    ----------
    spec : ModelSpec
        For images of its number of spatial axes.

    Raises
    ------
    OutputError
        If the choice cannot be kept.
    """
    _keep_defaults(_defaults() | {str(spec.ndim): spec.name})


def forget_default(name: str) -> None:
    """Go back to the shipped default where a model was chosen instead of it.

    Raises
    ------
    OutputError
        If that cannot be kept.
    """
    chosen = _defaults()
    if name in chosen.values():
        _keep_defaults({ndim: other for ndim, other in chosen.items() if other != name})


def chosen_default(ndim: int) -> str | None:
    """Return the name that the user chose for images of some spatial axes, if one was."""
    return _defaults().get(str(ndim))


def _defaults() -> dict[str, str]:
    try:
        found = json.loads((user_folder() / _DEFAULTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _keep_defaults(chosen: dict[str, str]) -> None:
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _DEFAULTS, json.dumps(chosen).encode())
    except OSError as error:
        msg = f"cannot keep the choice in {folder}: {error.strerror or error}"
        raise OutputError(msg) from error
