"""What a training run is told: frozen settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import LARGEST_FACTOR
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.tasks import TASK_DEGRADATIONS, Task

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
        require(0 < self.validation_share <= 0.5, "data.validation_share", "above 0, up to 0.5",
                 self.validation_share)  # fmt: skip
        require(0 <= self.blurred <= 1, "data.blurred", "from 0 to 1", self.blurred)
        require(0 < self.resize <= 1, "data.resize", "above 0, up to 1", self.resize)
        require(self.minimum >= 8, "data.minimum", "8 or more", self.minimum)


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
        require(fits, "model.name", "made of letters, digits, '-', '_' and '.'", self.name)


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
        require(self.kind in get_args(Optimiser), "optimiser.kind", "adamw or adam", self.kind)
        require(0 < self.learning_rate < 1, "optimiser.learning_rate", "between 0 and 1",
                 self.learning_rate)  # fmt: skip
        require(0 <= self.average < 1, "optimiser.average", "from 0 to below 1", self.average)
        require(self.clip > 0, "optimiser.clip", "above 0", self.clip)


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
            require(math.isfinite(value) and value >= 0, f"adversary.{name}", "0 or more", value)
        for name in ("generator_rate", "discriminator_rate"):
            value = getattr(self, name)
            require(0 < value < 1, f"adversary.{name}", "between 0 and 1", value)
        require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "adversary.betas",
                 "two numbers from 0 to below 1", self.betas)  # fmt: skip
        require(self.ramp >= 0, "adversary.ramp", "0 or more", self.ramp)


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
        require(bool(self.model), "teacher.model", "the name or the file of a model", self.model)
        require(0 < self.weight <= 1, "teacher.weight", "above 0, up to 1", self.weight)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything a run depends on; written into its folder.

    Attributes
    ----------
    task : str
        ``"upscale"``, ``"denoise"``, ``"deblur"`` or ``"enhance"``; ``"auto"``
        follows from the factor and the way of training. Denoising and deblurring
        keep the size: their factor is 1.
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

    task: Task = "auto"
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
        require(fits, "scale", f"2 or 3 factors from 1 to {LARGEST_FACTOR}", self.scale)
        require(self.task in get_args(Task), "task", " or ".join(get_args(Task)), self.task)
        if self.task in TASK_DEGRADATIONS:
            require(max(self.scale) == 1, "scale", f"1 on all axes to {self.task}", self.scale)
        require(self.task != "upscale" or max(self.scale) > 1, "scale",
                 "above 1 on some axis to upscale", self.scale)  # fmt: skip
        require(self.channels in (1, 3), "channels", "1 or 3", self.channels)
        require(math.isfinite(self.minutes) and self.minutes >= 0, "minutes", "0 or more",
                 self.minutes)  # fmt: skip
        require(self.precision in get_args(Precision), "precision",
                 "auto, float32 or bfloat16", self.precision)  # fmt: skip
        for name in ("steps", "batch", "patch", "pairs", "largest", "validate_every", "patience"):
            require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        require(self.refresh >= 1, "refresh", "1 or more", self.refresh)
        defaults = {2: (5, 32, 160, 448), 3: (4, 12, 60, 96)}[len(self.scale)]
        if max(self.scale) == 1:
            # A patch has no finer side: it is larger for what it costs.
            defaults = {2: (5, 40, 160, 448), 3: (2, 20, 60, 96)}[len(self.scale)]
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


def require(fits: bool, name: str, wanted: str, value: Any) -> None:
    """Refuse a setting that does not fit.

    Parameters
    ----------
    fits : bool
        Whether it does.
    name, wanted : str
        The setting, and what it must be, in words.
    value
        What it is.

    Raises
    ------
    InputError
        Saying all of these.
    """
    if not fits:
        msg = f"setting {name!r} must be {wanted}, got {value!r}"
        raise InputError(msg)
