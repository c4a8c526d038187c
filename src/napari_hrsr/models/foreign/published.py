"""Networks that spandrel knows, as Upscalers.

spandrel recognises a network by the names of its tensors. It is given tensors
that have been checked, never a file.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_hrsr.errors import HrsrError, ModelFileError
from napari_hrsr.models.foreign.budget import AllocationBudget
from napari_hrsr.models.spec import ModelSpec

ARCHITECTURE = "published"
"""What the `ModelSpec` of such a network has for its architecture."""

LARGEST_FACTOR = 16

_SPARE = 2**26
"""Numbers that a network may allocate beside its weights, such as masks of attention."""

_DENOISERS = frozenset({"DnCNN", "DRUNet", "SCUNet", "FBCNN"})
_TOLD_THE_NOISE = frozenset({"DRUNet", "FDnCNN"})
"""Networks that take a map of the noise's standard deviation as a last channel."""

_MASKED = frozenset({"LaMa", "MAT"})
"""Networks that fill in what a mask marks."""

_FACES = frozenset({"GFPGAN", "CodeFormer"})
"""Networks that take faces of one size, placed in one way."""

_PREFIXES = ("module.", "netG.", "net_g.", "generator.", "model.", "net.", "_orig_mod.")


class PublishedNetwork(nn.Module):
    """A network of somebody else's with the facts that were found out about it.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    call : callable
        Takes the network and a batch of one image, and returns its result.
    spec : ModelSpec
        What is known of it.
    """

    keeps_layout = True
    """Some view tensors in ways that only the usual layout in memory allows."""

    def __init__(
        self, network: nn.Module, call: Callable[[nn.Module, Tensor], Tensor], spec: ModelSpec
    ) -> None:
        super().__init__()
        self.network = network
        self.call = call
        self.spec = spec

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Run the network; see `Upscaler`.

        Images go through one by one: many published networks expect that.
        """
        results = []
        for index in range(len(batch)):
            # Some normalise their input in place.
            image = batch[index : index + 1].clone(memory_format=torch.contiguous_format)
            if self.spec.noise_input:
                level = image.new_zeros(1) if noise is None else noise.expand(len(batch), 1, 1, 1)
                level = level.reshape(-1)[min(index, level.numel() - 1)]
                sigma = level.to(image).expand(1, 1, *image.shape[2:])
                results.append(self.network(torch.cat([image, sigma], dim=1)))
            else:
                results.append(self.call(self.network, image))
        return torch.cat(results)


def build_published(name: str, tensors: Mapping[str, Tensor], size: int) -> PublishedNetwork:
    """Build the network that some tensors belong to.

    Its halo is not known yet, see `receptive_field.measure_receptive_field`: the
    facts state an unbounded one.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    tensors : mapping of str to Tensor
        From `containers.read_tensors`.
    size : int
        Of the file, in bytes.

    Returns
    -------
    PublishedNetwork
        In evaluation mode, in float32.

    Raises
    ------
    ModelFileError
        If no known network fits the tensors, or one that cannot be used here.
    """
    descriptor = _recognised(name, tensors, size)
    _check_types(name, descriptor.model.state_dict(), tensors)
    spec = _spec(name, descriptor)
    network = descriptor.model.eval().requires_grad_(False).float()
    call = descriptor._call_fn
    if descriptor.size_requirements.square:
        call = functools.partial(_in_a_square, call, spec.scale)
    return PublishedNetwork(network, call, spec)


def _in_a_square(
    call: Callable[[nn.Module, Tensor], Tensor],
    scale: Sequence[int],
    network: nn.Module,
    image: Tensor,
) -> Tensor:
    """Run a network that takes squares on an image whose last pixels are repeated."""
    height, width = image.shape[2:]
    side = max(height, width)
    padded = functional.pad(image, (0, side - width, 0, side - height), mode="replicate")
    return call(network, padded)[:, :, : height * scale[0], : width * scale[1]]


def _recognised(name: str, tensors: Mapping[str, Tensor], size: int) -> Any:
    """Return spandrel's description of the network."""
    try:
        import spandrel
    except ImportError as error:
        msg = f"{name} holds a published network, which needs spandrel: pip install spandrel"
        raise ModelFileError(msg) from error
    _register_extra(spandrel)
    loader = spandrel.ModelLoader()
    reason = ""
    for state in _spellings(tensors):
        try:
            _check_kind(name, _kind(spandrel, state))
            with AllocationBudget(name, size + _SPARE):
                # A copy: some builders take entries out.
                return loader.load_from_state_dict(dict(state))
        except HrsrError:
            raise
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:
            # Builders fail in any way where the tensors are not those that they expect.
            reason = reason or " ".join(str(error).split())[:300] or type(error).__name__
    if reason:
        msg = f"{name} looks like a published network, but does not fit it: {reason}"
        raise ModelFileError(msg)
    some = ", ".join(list(tensors)[:3])
    msg = f"{name} belongs to no network that is known here; its tensors begin with {some}"
    raise ModelFileError(msg)


def _kind(spandrel: Any, tensors: Mapping[str, Tensor]) -> str:
    """Return spandrel's name of the architecture that the names of tensors belong to."""
    for support in spandrel.MAIN_REGISTRY.architectures("detection"):
        if support.detect(tensors):
            return str(support.architecture.id)
    return ""


def _check_kind(name: str, kind: str) -> None:
    """Refuse, before they are built, networks that take more than an image, or one size only.

    Raises
    ------
    ModelFileError
        With the reason.
    """
    if kind in _MASKED:
        msg = f"{name} fills in what a mask marks ({kind}): it needs a mask beside the image"
        raise ModelFileError(msg)
    if kind in _FACES:
        msg = f"{name} takes images of 512 x 512 pixels only ({kind}): it was made for faces"
        raise ModelFileError(msg)


def _register_extra(spandrel: Any) -> None:
    """Add the networks of the optional package, where it is installed."""
    try:
        import spandrel_extra_arches
    except ImportError:
        return
    if not getattr(spandrel.MAIN_REGISTRY, "_napari_hrsr_extra", False):
        spandrel_extra_arches.install(ignore_duplicates=True)
        spandrel.MAIN_REGISTRY._napari_hrsr_extra = True


def _spellings(tensors: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
    """Return the tensors as they are, and without what programs put before their names."""
    found: list[Mapping[str, Tensor]] = [tensors]
    for _ in range(2):
        last = found[-1]
        shared = [p for p in _PREFIXES if all(key.startswith(p) for key in last)]
        if not shared:
            # What was trained beside a generator is left aside.
            shared = [
                p for p in ("generator.", "netG.", "net_g.") if any(k.startswith(p) for k in last)
            ]
        if not shared:
            break
        prefix = shared[0]
        found.append({k.removeprefix(prefix): v for k, v in last.items() if k.startswith(prefix)})
    return found


def _check_types(name: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse whole numbers where the network has weights; they would be cast silently."""
    for key, tensor in given.items():
        place = next((wanted[k] for k in (key, *_tails(key)) if k in wanted), None)
        if place is None or tensor.is_floating_point():
            continue
        if place.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            msg = f"{name}: tensor {key!r} has type {kind}, expected floating point"
            raise ModelFileError(msg)


def _tails(key: str) -> list[str]:
    return [key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)]


def _spec(name: str, descriptor: Any) -> ModelSpec:
    """State what spandrel found, if it can be used here.

    Raises
    ------
    ModelFileError
        If it changes the channels, or has an absurd factor.
    """
    kind = descriptor.architecture.id
    _check_kind(name, kind)
    if not 1 <= descriptor.scale <= LARGEST_FACTOR:
        msg = f"{name} has the factor {descriptor.scale}; 1 to {LARGEST_FACTOR} can be used"
        raise ModelFileError(msg)
    channels = descriptor.input_channels
    if channels != descriptor.output_channels or channels not in (1, 3, 4):
        msg = (
            f"{name} makes {descriptor.output_channels} channels of {channels} ({kind}): "
            "only networks that give back what they take, grey or colour, can be used"
        )
        raise ModelFileError(msg)
    told = kind in _TOLD_THE_NOISE or "FDnCNN" in descriptor.tags
    dtypes = ["float32"]
    dtypes += ["bfloat16"] if descriptor.supports_bfloat16 else []
    dtypes += ["float16"] if descriptor.supports_half else []
    stem = name.rpartition(".")[0] or name
    size = descriptor.size_requirements
    return ModelSpec(
        name=stem,
        title=f"{stem} ({descriptor.architecture.name})",
        task=_task(kind, descriptor),
        architecture=ARCHITECTURE,
        arguments={"network": kind, "tags": ", ".join(descriptor.tags)},
        ndim=2,
        scale=(descriptor.scale,) * 2,
        channels=channels,
        halo=None,
        multiple=(size.multiple_of,) * 2,
        minimum=(max(1, size.minimum),) * 2,
        normalisation="photo",
        dtypes=tuple(dtypes),
        noise_input=told,
        licence="not stated in the file",
        citation=f"{descriptor.architecture.name}, built by {_builder(descriptor)}",
        trained_on="not stated in the file",
    )


def _builder(descriptor: Any) -> str:
    if type(descriptor.architecture).__module__.startswith("spandrel_extra_arches"):
        return "spandrel-extra-arches (licences of these networks are partly non-commercial)"
    return "spandrel"


def _task(kind: str, descriptor: Any) -> str:
    if descriptor.scale > 1:
        return "upscale"
    return "denoise" if kind in _DENOISERS else "enhance"


def with_facts(model: PublishedNetwork, spec: ModelSpec) -> PublishedNetwork:
    """Return the same network with other facts."""
    renewed = copy.copy(model)
    renewed.spec = spec
    return renewed
