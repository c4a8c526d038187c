"""Which device, which precision, how large a tile."""

from __future__ import annotations

import contextlib
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from napari_hrsr.crossfading import MARGIN
from napari_hrsr.errors import DeviceError, InputError
from napari_hrsr.memory import free_memory
from napari_hrsr.models.spec import ModelSpec

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# Bytes of one activation on a CPU: small tiles are batched up to the first, and
# no tile is larger than the second, so that a run needs a few times as much.
_CPU_BATCH = 8 * 2**20
_CPU_ACTIVATION = 27 * 2**20
# Multiplications in one call on a CPU: about half a second on two cores, after
# which a run can be cancelled.
_CPU_WORK = 4e10
# What calling a network costs beside its pixels, in pixels.
_CALL = 3000
_GPU_ACTIVATION_SHARE = 1 / 24
_SIDES = {
    2: (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
    3: (16, 24, 32, 48, 64, 96, 128, 192),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a run computes.

    Attributes
    ----------
    device : torch.device
        Where the network lives.
    dtype : torch.dtype
        Its precision.
    batch : int
        Tiles per call of the network.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    batch: int = 1


def resolve_device(device: str = "auto") -> torch.device:
    """Turn a name into a device that is present.

    Parameters
    ----------
    device : str
        ``"auto"`` (a CUDA GPU, else an Apple GPU, else the CPU), ``"cpu"``,
        ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises
    ------
    DeviceError
        If this machine, or this build of torch, has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        msg = f"unknown device {device!r}: use auto, cpu, cuda, cuda:1 or mps"
        raise DeviceError(msg) from None
    missing = (
        (resolved.type == "cuda" and not torch.cuda.is_available())
        or (resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count())
        or (resolved.type == "mps" and not torch.backends.mps.is_available())
        or resolved.type not in ("cpu", "cuda", "mps")
    )
    if missing:
        msg = (
            f"device {device!r} is not available here: use auto or cpu, "
            "or install a torch build that supports it"
        )
        raise DeviceError(msg)
    return resolved


def resolve_precision(precision: str, spec: ModelSpec, device: torch.device) -> torch.dtype:
    """Turn a name into a data type that the model allows.

    Parameters
    ----------
    precision : str
        ``"auto"`` (the model's own, where the device is faster in it, else
        float32), or a key of `PRECISIONS`.
    spec : ModelSpec
        The model.
    device : torch.device
        Where it runs.

    Raises
    ------
    DeviceError
        If the name is unknown or the model does not run in that precision.
    """
    if precision == "auto":
        own = PRECISIONS.get(spec.precision, torch.float32)
        return own if is_fast(device, own) else torch.float32
    if precision not in PRECISIONS:
        msg = f"unknown precision {precision!r}: use auto, {', '.join(PRECISIONS)}"
        raise DeviceError(msg)
    if precision not in spec.dtypes:
        msg = f"model {spec.name!r} runs in {', '.join(spec.dtypes)}, not in {precision}"
        raise DeviceError(msg)
    return PRECISIONS[precision]


def is_fast(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a device computes at least as fast in a precision as in float32.

    Processors without instructions of their own for 16 bits imitate them, many
    times slower.
    """
    if dtype == torch.float32:
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return dtype == torch.float16
    names = {
        torch.bfloat16: ("avx512_bf16", "amx_bf16"),
        torch.float16: ("avx512_fp16", "amx_fp16"),
    }
    # Not in every version of torch.
    ask: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    present = ask()
    return any(present.get(name, False) for name in names.get(dtype, ()))


def choose_tile(
    spec: ModelSpec, shape: Sequence[int], device: torch.device, *, itemsize: int = 4
) -> tuple[int, ...]:
    """Choose the fastest tile for a model on a device.

    The larger the tile, the less of it is halo, which is computed and thrown
    away. On a CPU a tile is bounded by memory and by the time after which a
    run can be cancelled, on a GPU by its free memory.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    shape : sequence of int
        Spatial shape of what is to be upscaled.
    device : torch.device
        Where it runs.
    itemsize : int
        Bytes per number.

    Returns
    -------
    tuple of int
        Longest body per axis.
    """
    largest = _largest_read(spec, device, itemsize)
    if spec.halo is None and math.prod(shape) <= largest:
        # Exact in one tile only.
        return tuple(shape)
    halo = _read_around(spec)

    def read(tile: Sequence[int]) -> int:
        """Pixels that the network is given for one tile."""
        lengths = zip(shape, map(_count, shape, tile), halo, strict=True)
        return math.prod(
            min(n, math.ceil(n / count) + min(2, count - 1) * h) for n, count, h in lengths
        )

    def cost(tile: Sequence[int]) -> int:
        return math.prod(map(_count, shape, tile)) * (read(tile) + _CALL)

    sides = _SIDES[spec.ndim]
    fitting = [[s for s in sides if s < n] + [n] for n in shape]
    candidates = [tile for tile in itertools.product(*fitting) if read(tile) <= largest]
    return min(candidates, key=cost, default=tuple(min(n, sides[0]) for n in shape))


def _read_around(spec: ModelSpec) -> tuple[int, ...]:
    """Source pixels that are read around a tile, per axis."""
    return (MARGIN[spec.ndim],) * spec.ndim if spec.halo is None else spec.halo


def choose_batch(spec: ModelSpec, read: Sequence[int], device: torch.device) -> int:
    """How many tiles of a read shape to run at once."""
    size = math.prod(read) * activation_channels(spec) * 4
    budget = _CPU_BATCH if device.type == "cpu" else _activation_budget(device)
    return max(1, min(16, int(budget // max(1, size))))


_ON_FINE_GRID = frozenset({"srcnn"})
"""Networks that interpolate first, and hold their features for every fine pixel."""


_PLANE_BY_PLANE = frozenset({"plane_average"})
"""Models that run a network on some planes at a time, along two axes."""


def activation_channels(spec: ModelSpec) -> int:
    """Estimate the channels that a network holds per source pixel at its widest."""
    features = spec.arguments.get("features", 0)
    width = features if isinstance(features, int) else 0
    if spec.architecture in _ON_FINE_GRID:
        width *= math.prod(spec.scale)
    elif spec.architecture in _PLANE_BY_PLANE:
        # The planes of both orientations are summed; little is held besides.
        width = 3 * math.prod(spec.scale)
    return max(width, spec.channels * math.prod(spec.scale))


def check_tile(tile: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return a tile with one length per spatial axis.

    Raises
    ------
    InputError
        If it is not one positive integer, or one per axis.
    """
    try:
        given = tile if isinstance(tile, Sequence) else (tile,) * ndim
        lengths = tuple(operator.index(n) for n in given)
    except TypeError:
        lengths = ()
    if len(lengths) != ndim or min(lengths) < 1:
        msg = (
            f"tile must be one positive integer or {ndim} of them "
            f"(one per spatial axis), got {tile!r}"
        )
        raise InputError(msg)
    return lengths


def memory_format(ndim: int, placement: Placement) -> torch.memory_format:
    """Return the layout in which convolutions are fastest.

    In 3D and float32 on a CPU, channels-last is the slower one.
    """
    if ndim == 2:
        return torch.channels_last
    if placement.device.type == "cpu" and placement.dtype == torch.float32:
        return torch.contiguous_format
    return torch.channels_last_3d


@contextlib.contextmanager
def float32_means_float32() -> Iterator[None]:
    """Switch off TF32, which keeps only 10 bits of mantissa, and put it back after."""
    if not torch.cuda.is_available():
        yield
        return
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, conv.allow_tf32
    matmul.allow_tf32 = conv.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, conv.allow_tf32 = before


def _count(length: int, tile: int) -> int:
    return math.ceil(length / tile)


def _largest_read(spec: ModelSpec, device: torch.device, itemsize: int) -> float:
    """Most pixels in one call of a network."""
    pixels = _activation_budget(device) / (activation_channels(spec) * itemsize)
    if device.type == "cpu":
        # Shipped weights are 16 bits wide, and most are used once for each pixel; a
        # formula repeats itself, on the fine pixels, as often as its halo is wide.
        work = 2000 * math.prod(spec.scale) * max(_read_around(spec))
        if spec.weights is not None:
            work = spec.weights.size // 2
        quickly = _CPU_WORK / max(1, work)
        # A tile that is mostly halo would be no better.
        useful = math.prod(4 * h + 1 for h in _read_around(spec))
        pixels = min(pixels, max(quickly, useful))
    return pixels


def _activation_budget(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] * _GPU_ACTIVATION_SHARE
    if device.type == "mps":
        return free_memory() * _GPU_ACTIVATION_SHARE / 2
    return _CPU_ACTIVATION
