"""Add models to those that are listed, whoever made them, and take them out again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from napari_hrsr.errors import (
    CancelledError,
    ModelError,
    ModelFileError,
    OutputError,
    UntrustedError,
)
from napari_hrsr.models.catalog import find_spec, list_models
from napari_hrsr.models.foreign.asking import ask_trust
from napari_hrsr.models.foreign.loading import SUFFIXES, build_from
from napari_hrsr.models.foreign.opening import (
    attached_model,
    is_wrapped,
    keep_wrapped,
    open_trusted,
    open_wrapped,
)
from napari_hrsr.models.foreign.packages import is_package
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.foreign.trust import (
    TrustRequest,
    forget,
    is_trusted,
    refusal,
    remember,
    trust,
    withdraw,
)
from napari_hrsr.models.foreign.wrapped import WrappedNetwork
from napari_hrsr.models.header import METADATA_KEY, is_ours, parse_spec
from napari_hrsr.models.spec import ModelSpec, spec_to_dict
from napari_hrsr.models.user_models import (
    forget_default,
    install_content,
    user_folder,
    user_models,
)

_NAME = re.compile(r"[^A-Za-z0-9._+-]+")


def add_models(
    path: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    ask: Callable[[TrustRequest], bool] = lambda request: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[ModelSpec]:
    """Add a file, or all that a folder holds, to the installed models.

    A network of somebody else's is checked, measured and copied as safetensors
    with the facts that were found.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt`` or ``.onnx`` file, a
        package of the BioImage Model Zoo, or a folder of such files.
    given : mapping, optional
        What an ONNX file or TorchScript does not say, see
        `foreign.inferring.read_sidecar`.
    ask : callable
        Called with what is known of a file that holds code; returns whether the
        user trusts it, which is remembered until the model is removed. By
        default nobody does.
    progress : callable
        Called with the number of files done and in total.
    cancelled : callable
        Polled between files, and while a network is measured.

    Returns
    -------
    list of ModelSpec
        As they are listed from now on.

    Raises
    ------
    UntrustedError
        If a file holds code that the user does not trust.
    ModelFileError
        If a file cannot be used; those of a folder before it are installed.
    OutputError
        If the user's folder cannot be written to.
    CancelledError
        If `cancelled` said so; files before the current one are installed.
    """
    path = Path(path)
    if not path.is_dir() or is_package(path):
        return [_add(path, cancelled, given, ask)]
    kinds = (*SUFFIXES, ".onnx", ".zip")
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in kinds)
    if not files:
        msg = f"{path.name} holds no file that ends in {', '.join(kinds)}"
        raise ModelFileError(msg)
    added = []
    for number, file in enumerate(files):
        progress(number, len(files))
        added.append(_add(file, cancelled, given, ask))
    return added


def _add(
    path: Path,
    cancelled: Callable[[], bool],
    given: Mapping[str, Any] | None,
    ask: Callable[[TrustRequest], bool],
) -> ModelSpec:
    if cancelled():
        msg = f"cancelled before {path.name} was read"
        raise CancelledError(msg)
    request = ask_trust(path)
    if request is not None:
        return _add_program(path, cancelled, given, ask, request)
    if is_wrapped(path):
        attached = attached_model(path)
        if attached is not None:
            spec = parse_spec(path.name, attached)
            return _install(_free_name(spec.name), attached)
        return _keep(path, *open_wrapped(path, given, cancelled))
    content = read_file(path)
    if is_ours(path.name, content):
        return _install(parse_spec(path.name, content).name, content)
    model, tensors = build_from(path.name, content, cancelled)
    name = _free_name(path.stem)
    arguments = dict(model.spec.arguments) | {"file": path.name}
    spec = replace(model.spec, name=name, arguments=arguments, weights=None)
    dense = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    return _install(name, save(dense, {METADATA_KEY: json.dumps(spec_to_dict(spec))}))


def _add_program(
    path: Path,
    cancelled: Callable[[], bool],
    given: Mapping[str, Any] | None,
    ask: Callable[[TrustRequest], bool],
    request: TrustRequest,
) -> ModelSpec:
    """Add a network that is a program of its author's, if the user trusts it."""
    before = is_trusted(request.sha256)
    if not before and not ask(request):
        raise UntrustedError(refusal(request.file, request.kind))
    trust(request.sha256)
    try:
        if is_wrapped(path):
            spec = _keep(path, *open_wrapped(path, given, cancelled))
        elif is_ours(path.name, content := read_file(path)):
            spec = _install(parse_spec(path.name, content).name, content)
        else:
            spec = _keep(path, *open_trusted(path, content, given, cancelled))
        remember(spec.name, request.sha256)
    except BaseException:
        if not before:
            withdraw(request.sha256)
        raise
    return spec


def _keep(path: Path, model: WrappedNetwork, content: bytes) -> ModelSpec:
    spec = replace(model.spec, name=_free_name(path.stem))
    return _install(spec.name, keep_wrapped(spec, content))


def _install(name: str, content: bytes) -> ModelSpec:
    """Install a model; what one of the same name was trusted to run is so no longer."""
    forget(name)
    return install_content(name, content)


def _free_name(stem: str) -> str:
    """Return a name for a model that no shipped one has; one of the user's is replaced."""
    name = _NAME.sub("-", stem).strip("-.") or "model"
    own = {spec.name for spec in user_models()}
    taken = {spec.name for spec in list_models()} - own
    while name in taken:
        name += "-added"
    return name


def remove_model(name: str) -> None:
    """Delete one of the user's models; if it is a program, it is trusted no longer.

    Parameters
    ----------
    name : str
        As it is listed.

    Raises
    ------
    ModelError
        If there is none of that name, or it came with a package.
    OutputError
        If its file cannot be deleted.
    """
    spec = find_spec(name)
    path = user_folder() / f"{name}.safetensors"
    if name not in {own.name for own in user_models()} or path.parent != user_folder():
        msg = f"{spec.name} came with a package and cannot be removed"
        raise ModelError(msg)
    try:
        path.unlink()
    except OSError as error:
        msg = f"cannot delete {path.name}: {error.strerror or error}"
        raise OutputError(msg) from error
    forget(name)
    forget_default(name)
