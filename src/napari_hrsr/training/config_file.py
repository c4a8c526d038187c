"""Settings of a training run as TOML and as plain values."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from napari_hrsr.errors import InputError
from napari_hrsr.training.config import TrainingConfig, require
from napari_hrsr.training.tasks import TASK_DEGRADATIONS


def read_config(path: str | Path) -> TrainingConfig:
    """Read the settings of a run.

    Parameters
    ----------
    path : str or Path
        TOML. Files and folders in it are relative to its own folder.

    Raises
    ------
    InputError
        If the file cannot be read, or a setting is unknown or makes no sense.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise InputError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path.name} is no TOML: {error}"
        raise InputError(msg) from None
    # Absolute: the settings are written again into the folder of the run.
    here = path.absolute().parent
    data = values.get("data", {})
    if isinstance(data, dict):
        for name in ("images", "coarse", "unpaired", "validation", "validation_coarse"):
            if isinstance(data.get(name), list):
                data[name] = [str(here / str(item)) for item in data[name]]
    degradation = values.get("degradation", {})
    if isinstance(degradation, dict) and degradation.get("point_spread_file"):
        degradation["point_spread_file"] = str(here / str(degradation["point_spread_file"]))
    for section, name in (("model", "start_from"), ("teacher", "model")):
        settings = values.get(section, {})
        if isinstance(settings, dict) and str(settings.get(name, "")).endswith(".safetensors"):
            settings[name] = str(here / str(settings[name]))
    return config_from_dict(values)


def write_config(config: TrainingConfig, path: Path) -> None:
    """Write the settings of a run as TOML that `read_config` reads."""
    path.write_text(tomli_w.dumps(config_to_dict(config), multiline_strings=True), "utf-8")


def config_to_dict(config: Any) -> dict[str, Any]:
    """Return settings as plain values that TOML can hold; what is absent is left out."""
    values: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if value is None:
            continue
        if is_dataclass(value):
            value = config_to_dict(value)
        elif isinstance(value, tuple):
            value = [list(v) if isinstance(v, tuple) else v for v in value]
        elif isinstance(value, Mapping):
            value = dict(value)
        values[f.name] = value
    return values


def config_from_dict(values: Mapping[str, Any]) -> TrainingConfig:
    """Rebuild settings from `config_to_dict`'s plain values.

    A task that restores images has degradations of its own, where none are given.

    Raises
    ------
    InputError
        If a setting is unknown or makes no sense.
    """
    degradations = TASK_DEGRADATIONS.get(str(values.get("task")))
    if degradations is not None and "degradation" not in values:
        values = {**values, "degradation": degradations.to_dict()}
    return _build(TrainingConfig, values, "")  # type: ignore[no-any-return]


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    for name in values:
        if name not in known:
            msg = f"unknown setting {where + name!r}; known are {', '.join(known)}"
            raise InputError(msg)
    hints = typing.get_type_hints(kind)
    arguments = {n: _value(v, hints[n], where + n) for n, v in values.items()}
    return kind(**arguments)


def _value(value: Any, hint: Any, where: str) -> Any:
    choices = [a for a in get_args(hint) if a is not type(None)]
    if type(None) in get_args(hint):
        hint = choices[0]
    if is_dataclass(hint):
        require(isinstance(value, Mapping), where, "a table", value)
        return _build(hint, value, f"{where}.")
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        require(isinstance(value, list | tuple), where, "a list", value)
        inner = get_args(hint)[0]
        return tuple(_value(v, inner, where) for v in value)
    if origin is Literal:
        require(value in get_args(hint), where, " or ".join(map(str, get_args(hint))), value)
    elif origin is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number, where, "a number", value)
        return float(value)
    elif origin is int:
        require(isinstance(value, int) and not isinstance(value, bool), where,
                 "a whole number", value)  # fmt: skip
    elif origin in (str, bool):
        require(isinstance(value, origin), where,
                 "a text in quotes" if origin is str else "true or false", value)  # fmt: skip
    return value
