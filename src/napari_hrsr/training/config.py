"""What a training run is told: frozen settings, read from and written to TOML."""

from __future__ import annotations

import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import LARGEST_FACTOR
from napari_hrsr.training.degrade import Degradations

Optimiser = Literal["adamw", "adam"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Which images a network learns from.

    Attributes
    ----------
    images : tuple of str
        Files and folders of sharp images.
    coarse : tuple of str
        Files and folders of low-resolution images of the same fields; empty
        where the low-resolution side is made by degradation.
    unpaired : tuple of str
        Low-resolution images of other fields, for adversarial training.
    validation : tuple of str
        Files and folders of sharp images to measure on; by default a share of `images`.
    validation_coarse : tuple of str
        Their low-resolution sides, where `coarse` is given.
    validation_share : float
        Share of the images (or of their area, where they are few) kept for measuring.
    leave_out : tuple of str
        Sources not to use; the text before ``__`` in a file name is its source.
    axes : str
        One letter per axis where the files do not say, for example ``"ZYX"``.
    minimum : int
        Shortest side of an image that is used, in pixels.
    binned : bool
        Learn from the images averaged over blocks of two as well: less noise,
        and sharper in their pixels.
    blurred : float
        Share of the pairs, 0 to 1, whose truth is blurred first: an image that
        was soft all along, as of a widefield microscope, must not be made sharp.
    resize : float
        Factor, up to 1, by which images are made smaller before use.
    crop : tuple of (int, int)
        Start and stop along each spatial axis of what is used of every image,
        before resizing; negative numbers count from the end. Empty for all.
    percentiles : tuple of float
        Per cent of the pixels at or below black, and at or below white.
    stained : bool
        Where colours are learned, learn from grey images too, coloured as
        stained tissue would be (see `napari_hrsr.training.staining`).
    """

    images: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    validation_coarse: tuple[str, ...] = ()
    validation_share: float = 0.1
    leave_out: tuple[str, ...] = ()
    axes: str = ""
    minimum: int = 48
    binned: bool = True
    blurred: float = 0.0
    resize: float = 1.0
    crop: tuple[tuple[int, int], ...] = ()
    percentiles: tuple[float, float] = (0.1, 99.9)
    stained: bool = False

    def __post_init__(self) -> None:
        _require(0 < self.validation_share <= 0.5, "data.validation_share", "above 0, up to 0.5",
                 self.validation_share)  # fmt: skip
        _require(0 <= self.blurred <= 1, "data.blurred", "from 0 to 1", self.blurred)
        _require(0 < self.resize <= 1, "data.resize", "above 0, up to 1", self.resize)
        _require(self.minimum >= 8, "data.minimum", "8 or more", self.minimum)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which network learns.

    Attributes
    ----------
    name : str
        Name of the trained model: letters, digits, ``-``, ``_`` and ``.``.
    title : str
        One line for people; the name if empty.
    network : str
        A key of `napari_hrsr.training.architectures`.
    arguments : Mapping
        Arguments of the network other than its usual ones.
    start_from : str
        Name or file of a trained model of the same network to go on from.
    noise_input : bool
        Whether the network is told the noise of the image.
    licence : str
        Licence of the weights, for the model card.
    """

    name: str = "my-model"
    title: str = ""
    network: str = "plain"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    start_from: str = ""
    noise_input: bool = True
    licence: str = "not stated"

    def __post_init__(self) -> None:
        plain = self.name.replace("-", "").replace("_", "").replace(".", "")
        fits = plain.isascii() and plain.isalnum() and not self.name.startswith(".")
        _require(fits, "model.name", "made of letters, digits, '-', '_' and '.'", self.name)


@dataclass(frozen=True, slots=True)
class OptimiserSettings:
    """How the weights are moved.

    Attributes
    ----------
    kind : str
        ``"adamw"`` or ``"adam"``.
    learning_rate : float
        At its highest: linear warm-up, then half a cosine to zero.
    betas : tuple of float
        Decay of the running means of the gradient and of its square.
    weight_decay : float
        Of AdamW.
    warm_up : int
        Steps until the rate is at its highest.
    average : float
        Decay of the exponential moving average of the weights, which is the result.
    clip : float
        Largest norm of the gradient.
    losses : Mapping of str to float
        Weight of each loss: ``l1``, ``charbonnier``, ``mse``, ``ssim``, ``frequency``.
    """

    kind: Optimiser = "adamw"
    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warm_up: int = 100
    average: float = 0.998
    clip: float = 1.0
    losses: Mapping[str, float] = field(default_factory=lambda: {"charbonnier": 1.0})

    def __post_init__(self) -> None:
        _require(self.kind in get_args(Optimiser), "optimiser.kind", "adamw or adam", self.kind)
        _require(0 < self.learning_rate < 1, "optimiser.learning_rate", "between 0 and 1",
                 self.learning_rate)  # fmt: skip
        _require(0 <= self.average < 1, "optimiser.average", "from 0 to below 1", self.average)
        _require(self.clip > 0, "optimiser.clip", "above 0", self.clip)


_ADVERSARIAL_WEIGHTS = (
    "pixel", "adversarial", "feature", "consistency", "spectrum", "correlation"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdversarySettings:
    """How a generator is trained against a discriminator.

    Attributes
    ----------
    discriminator : str
        A key of `napari_hrsr.models.nets.DISCRIMINATORS`.
    arguments : Mapping
        Its arguments.
    objective : str
        ``"relativistic"`` (Jolicoeur-Martineau 2018), ``"cross-entropy"`` or ``"hinge"``.
    pixel, adversarial, feature : float
        Weights of the distance to the truth, of the discriminator's opinion,
        and of the distance in the discriminator's own features.
    consistency : float
        Weight of the distance of the recorded result to the measurement.
    spectrum, correlation : float
        Weights of the strength of detail (see `power_loss`) and of its being
        in the right place (see `correlation_loss`).
    generator_rate, discriminator_rate : float
        Learning rates of Adam at their highest: linear warm-up, then half a
        cosine to zero.
    betas : tuple of float
        Of Adam.
    ramp : int
        Steps until the discriminator's opinion has its full weight.
    """

    discriminator: str = "unet"
    arguments: Mapping[str, Any] = field(default_factory=lambda: {"width": 16})
    objective: Literal["relativistic", "cross-entropy", "hinge"] = "relativistic"
    pixel: float = 1.0
    adversarial: float = 0.005
    feature: float = 0.02
    consistency: float = 1.0
    spectrum: float = 0.002
    correlation: float = 0.02
    generator_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ramp: int = 200

    def __post_init__(self) -> None:
        for name in _ADVERSARIAL_WEIGHTS:
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"adversary.{name}", "0 or more", value)
        for name in ("generator_rate", "discriminator_rate"):
            value = getattr(self, name)
            _require(0 < value < 1, f"adversary.{name}", "between 0 and 1", value)
        _require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "adversary.betas",
                 "two numbers from 0 to below 1", self.betas)  # fmt: skip
        _require(self.ramp >= 0, "adversary.ramp", "0 or more", self.ramp)


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """From which larger model a small network learns, beside the truth.

    Attributes
    ----------
    model : str
        Name or file of a trained model of the same factor and channels.
    weight : float
        Share of the distance to the teacher's result in the loss, above 0 and
        up to 1; the rest is the distance to the truth.
    sha256 : str
        Digest of the teacher's weights, written when a run starts: a run goes
        on with the teacher that it began with, or not at all.
    """

    model: str = ""
    weight: float = 0.5
    sha256: str = ""

    def __post_init__(self) -> None:
        _require(bool(self.model), "teacher.model", "the name or the file of a model", self.model)
        _require(0 < self.weight <= 1, "teacher.weight", "above 0, up to 1", self.weight)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything a run depends on; written into its folder.

    Attributes
    ----------
    scale : tuple of int
        Factor per spatial axis, in array order; its length is the number of spatial axes.
    channels : int
        1, or 3 for RGB.
    steps : int
        Steps of the optimiser; 0 where `minutes` says how long.
    minutes : float
        How long to train; the number of steps is chosen from the speed of the
        first ones and written into the run folder.
    seed : int
        Of the initial weights and of everything that is drawn.
    batch : int
        Patches in a step.
    patch : int
        Side of a patch in low-resolution pixels.
    transpose_axes : tuple of int
        Spatial axes that may be exchanged; by default those of equal factor,
        without z.
    pairs : int
        Pairs of images that patches are cut from, held in memory.
    refresh : int
        Steps after which one pair is replaced by a new one.
    largest : int
        Longest side of the sharp part of a pair, in pixels.
    validate_every : int
        Steps between measurements; 0 chooses.
    patience : int
        Stop after so many measurements without improvement; 0 never.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    devices : int
        Number of GPUs.
    precision : str
        ``"auto"``, ``"float32"`` or ``"bfloat16"``.
    workers : int
        Processes that prepare batches; -1 chooses.
    threads : int
        Threads of torch on a CPU; 0 chooses.
    """

    scale: tuple[int, ...] = (2, 2)
    channels: int = 1
    steps: int = 0
    minutes: float = 0.0
    seed: int = 0
    batch: int = 0
    patch: int = 0
    transpose_axes: tuple[int, ...] | None = None
    pairs: int = 0
    refresh: int = 8
    largest: int = 0
    validate_every: int = 0
    patience: int = 0
    device: str = "auto"
    devices: int = 1
    precision: Precision = "auto"
    workers: int = -1
    threads: int = 0
    data: DataSettings = field(default_factory=DataSettings)
    degradation: Degradations = field(default_factory=Degradations)
    model: ModelSettings = field(default_factory=ModelSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    adversary: AdversarySettings | None = None
    teacher: TeacherSettings | None = None

    def __post_init__(self) -> None:
        if self.adversary is not None and self.teacher is not None:
            msg = "a run learns from an adversary or from a teacher: give [adversary] or [teacher]"
            raise InputError(msg)
        fits = len(self.scale) in (2, 3) and all(1 <= k <= LARGEST_FACTOR for k in self.scale)
        _require(fits, "scale", f"2 or 3 factors from 1 to {LARGEST_FACTOR}", self.scale)
        _require(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        _require(math.isfinite(self.minutes) and self.minutes >= 0, "minutes", "0 or more",
                 self.minutes)  # fmt: skip
        _require(self.precision in get_args(Precision), "precision",
                 "auto, float32 or bfloat16", self.precision)  # fmt: skip
        for name in ("steps", "batch", "patch", "pairs", "largest", "validate_every", "patience"):
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        _require(self.refresh >= 1, "refresh", "1 or more", self.refresh)
        defaults = {2: (5, 32, 160, 448), 3: (4, 12, 60, 96)}[len(self.scale)]
        for name, value in zip(("batch", "patch", "pairs", "largest"), defaults, strict=True):
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        if self.transpose_axes is None:
            object.__setattr__(self, "transpose_axes", _exchangeable(self.scale))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.scale)


def _exchangeable(scale: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of the plane if they share a factor: z is often spaced otherwise."""
    return (len(scale) - 2, len(scale) - 1) if scale[-1] == scale[-2] else ()


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

    Raises
    ------
    InputError
        If a setting is unknown or makes no sense.
    """
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
        _require(isinstance(value, Mapping), where, "a table", value)
        return _build(hint, value, f"{where}.")
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        _require(isinstance(value, list | tuple), where, "a list", value)
        inner = get_args(hint)[0]
        return tuple(_value(v, inner, where) for v in value)
    if origin is Literal:
        _require(value in get_args(hint), where, " or ".join(map(str, get_args(hint))), value)
    elif origin is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(number, where, "a number", value)
        return float(value)
    elif origin is int:
        _require(isinstance(value, int) and not isinstance(value, bool), where,
                 "a whole number", value)  # fmt: skip
    elif origin in (str, bool):
        _require(isinstance(value, origin), where,
                 "a text in quotes" if origin is str else "true or false", value)  # fmt: skip
    return value


def _require(fits: bool, name: str, wanted: str, value: Any) -> None:
    if not fits:
        msg = f"setting {name!r} must be {wanted}, got {value!r}"
        raise InputError(msg)
