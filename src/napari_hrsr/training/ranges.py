"""Ranges of settings: checking them, and drawing from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from napari_hrsr.errors import InputError

Name = TypeVar("Name", bound=str)


def plain(value: Any) -> Any:
    """Return lists as tuples, nested ones too, and everything else as it is.

    Parameters
    ----------
    value : object
        As read from TOML or JSON.

    Returns
    -------
    object
    """
    return tuple(plain(entry) for entry in value) if isinstance(value, list | tuple) else value


def within(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse what is no number between two limits.

    Parameters
    ----------
    name : str
        Of the setting.
    value : object
        To be checked.
    low, high : float
        Limits, both allowed.
    whole : bool
        Whether the number must be whole.

    Raises
    ------
    InputError
        With name, limits and value.
    """
    kinds = int if whole else int | float
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not (number and low <= value <= high):
        kind = "a whole number" if whole else "a number"
        msg = f"{name} must be {kind} from {low:g} to {high:g}, got {value!r}"
        raise InputError(msg)


def within_range(name: str, value: Any, low: float, high: float) -> None:
    """Refuse what is no range between two limits.

    Parameters
    ----------
    name : str
        Of the setting.
    value : object
        To be checked.
    low, high : float
        Limits, both allowed.

    Raises
    ------
    InputError
        With name, limits and value.
    """
    fits = isinstance(value, tuple) and len(value) == 2
    if fits:
        for end in value:
            within(name, end, low, high)
    # An infinite end could only be drawn always or never.
    if not fits or value[0] > value[1] or (math.isinf(value[1]) and value[0] != value[1]):
        msg = f"{name} must be two numbers, the lower one first, got {value!r}"
        raise InputError(msg)


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse what is not among the choices.

    Parameters
    ----------
    name : str
        Of the setting.
    value : object
        To be checked.
    choices : sequence of str
        What is allowed.

    Raises
    ------
    InputError
        With name, choices and value.
    """
    if value not in choices:
        msg = f"{name} must be one of {', '.join(choices)}, got {value!r}"
        raise InputError(msg)


def some_of(name: str, values: Any, choices: Sequence[str]) -> None:
    """Refuse what is no tuple of some of the choices.

    Parameters
    ----------
    name : str
        Of the setting.
    values : object
        To be checked.
    choices : sequence of str
        What is allowed.

    Raises
    ------
    InputError
        With name, choices and value.
    """
    if not isinstance(values, tuple):
        msg = f"{name} must be a list of some of {', '.join(choices)}, got {values!r}"
        raise InputError(msg)
    for value in values:
        one_of(name, value, choices)


def chosen(rng: np.random.Generator, weights: Mapping[Name, float]) -> Name:
    """Choose a name with a chance that is proportional to its weight.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    weights : Mapping of str to float
        From 0 up, one of them above 0.

    Returns
    -------
    str
    """
    names = list(weights)
    chances = np.array([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def drawn(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number, all between the limits being equally likely.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    limits : tuple of float
        The lower one first.

    Returns
    -------
    float
    """
    return float(rng.uniform(*limits))


def drawn_log(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Draw a number whose logarithm is equally likely everywhere between the limits.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    limits : tuple of float
        The lower one first, above 0; two equal ones may be 0 or infinite.

    Returns
    -------
    float
    """
    low, high = limits
    if low == high:
        return float(low)
    return float(min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high))))))
