"""What is known of a model before it is loaded: frozen facts, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Normalisation = Literal["none", "percentile", "photo", "range", "standard"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of trained numbers.

    Attributes
    ----------
    file : str
        A file name inside the package's ``models/weights`` folder, or an
        absolute path.
    sha256 : str
        Hexadecimal digest of the file; checked when it is loaded.
    size : int
        Bytes.
    """

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything the engine and a user need to know about a model.

    Attributes
    ----------
    name : str
        Unique name, as given to ``load_model`` and on the command line.
    title : str
        One line for people.
    task : str
        ``"upscale"``, ``"denoise"``, ``"deblur"`` or ``"enhance"``.
    architecture : str
        A key of the installed table of networks. A file never names a module
        to import.
    arguments : Mapping
        Keyword arguments of the network.
    ndim : int
        Number of spatial axes, 2 or 3.
    scale : tuple of int
        Factor per spatial axis, in array order (z, y, x).
    channels : int
        Channels that the network reads and writes together.
    halo : tuple of int or None
        Source pixels on each side of an output pixel that can influence it,
        per spatial axis; ``None`` where the whole image can.
    multiple : tuple of int
        The length of each axis of an input must be a multiple of this.
    minimum : tuple of int
        The least length of each axis of an input.
    value_range : tuple of float
        The range in which the network expects black and white.
    normalisation : str
        ``"percentile"``: low and high percentiles of the image are mapped to
        `value_range`; ``"range"``: the range of the data type is; ``"photo"``:
        the range of the data type for 8 bits, else the percentiles;
        ``"standard"``: the image's mean and its mean plus one standard
        deviation are; ``"none"``: values are passed as they are.
    percentiles : tuple of float
        Which percentiles of the image, low and high.
    restored : bool
        Whether the result is in `value_range` and is taken back to the image's
        units; False where the network gives final values of its own.
    dtypes : tuple of str
        Precisions in which the network may run, ``"float32"`` first.
    precision : str
        What ``"auto"`` computes in, on devices that are faster in it than in
        ``"float32"``; chosen when a model is exported.
    noise_input : bool
        Whether the network takes a noise level beside the image.
    weights : Weights or None
        Trained numbers, ``None`` for a model that has none.
    licence : str
        Licence of the weights.
    citation : str
        The paper or source of the method.
    trained_on : str
        What the model has seen.
    gains : Mapping of str to float
        Measured gain over cubic interpolation (where the size is kept, over
        the image as it is) in decibels, by kind of
        low-resolution image, on sources that were not trained on.
    caution : str
        What must be said of every result, for example that it is not for
        measurement; empty for nothing.
    parts : tuple of ModelSpec
        The models of a chain, the first one first; empty for any other model.
    """

    name: str
    title: str
    task: str
    architecture: str
    arguments: Mapping[str, object]
    ndim: Literal[2, 3]
    scale: tuple[int, ...]
    channels: int = 1
    halo: tuple[int, ...] | None = None
    multiple: tuple[int, ...] = ()
    minimum: tuple[int, ...] = ()
    value_range: tuple[float, float] = (0.0, 1.0)
    normalisation: Normalisation = "percentile"
    percentiles: tuple[float, float] = (0.1, 99.9)
    restored: bool = True
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    precision: str = "float32"
    noise_input: bool = False
    weights: Weights | None = None
    licence: str = "BSD-3-Clause"
    citation: str = ""
    trained_on: str = ""
    gains: Mapping[str, float] = field(default_factory=dict)
    caution: str = ""
    parts: tuple[ModelSpec, ...] = ()

    def __post_init__(self) -> None:
        if not self.multiple:
            object.__setattr__(self, "multiple", (1,) * self.ndim)
        if not self.minimum:
            object.__setattr__(self, "minimum", (1,) * self.ndim)
        for name in ("scale", "multiple", "minimum", "halo"):
            value = getattr(self, name)
            if value is not None and len(value) != self.ndim:
                msg = f"{name} of model {self.name!r} must have {self.ndim} entries, got {value!r}"
                raise ValueError(msg)
        if self.precision not in ("float32", *self.dtypes):
            msg = f"precision of model {self.name!r} must be one of {self.dtypes}"
            raise ValueError(msg)


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """Return the facts as plain values that JSON can hold."""
    facts = {f.name: getattr(spec, f.name) for f in fields(spec)}
    facts["arguments"] = dict(spec.arguments)
    facts["gains"] = dict(spec.gains)
    facts["weights"] = None if spec.weights is None else asdict(spec.weights)
    facts["parts"] = tuple(spec_to_dict(part) for part in spec.parts)
    if not spec.parts:
        del facts["parts"]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}


def spec_from_dict(facts: Mapping[str, Any]) -> ModelSpec:
    """Rebuild the facts from `spec_to_dict`'s plain values.

    Raises
    ------
    ValueError
        If a fact is missing, unknown, or of the wrong length.
    """
    known = {f.name for f in fields(ModelSpec)}
    unknown = set(facts) - known
    if unknown:
        msg = f"unknown model facts: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
    if values.get("weights") is not None:
        values["weights"] = Weights(**values["weights"])
    values["parts"] = tuple(spec_from_dict(part) for part in values.get("parts", ()))
    arguments = values.get("arguments", {})
    values["arguments"] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return ModelSpec(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


@runtime_checkable
class Upscaler(Protocol):
    """A model that can be run: built-in, composed, or anybody's."""

    @property
    def spec(self) -> ModelSpec:
        """The model's facts."""

    def __call__(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Upscale a batch.

        Parameters
        ----------
        batch : Tensor
            Shape (N, C, *spatial), in the model's value range.
        noise : Tensor, optional
            Standard deviation of the noise, in the same units as `batch`,
            broadcastable to (N, 1, *spatial).

        Returns
        -------
        Tensor
            Shape (N, C, *(spatial * scale)), in the same units.
        """
