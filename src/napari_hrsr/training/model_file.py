"""A trained network as one safetensors file with its facts inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from napari_hrsr.files.partial import partial_file
from napari_hrsr.models.header import METADATA_KEY
from napari_hrsr.models.quantised import quantise
from napari_hrsr.models.spec import ModelSpec, spec_to_dict


def save_model(
    network: nn.Module,
    spec: ModelSpec,
    path: Path,
    *,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights and facts; an existing file is replaced at the end.

    Parameters
    ----------
    network : Module
        Its weights must not be larger than 65504 in float16.
    spec : ModelSpec
        Its facts; those about the file of weights are left out.
    path : Path
        Of the file; its folder is made.
    dtype : torch.dtype
        Precision that the weights are stored in; int8 as `quantise` does.
    metadata : Mapping of str to str, optional
        What else to write into the header.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    facts = spec_to_dict(replace(spec, weights=None))
    state = network.state_dict()
    stored = quantise(state) if dtype == torch.int8 else {k: v.to(dtype) for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in stored.items()}
    content = save(tensors, metadata={**(metadata or {}), METADATA_KEY: json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(path, len(content)) as file:
        file.write(content)
