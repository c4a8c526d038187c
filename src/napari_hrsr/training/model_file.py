"""A trained network as one safetensors file with its facts inside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from napari_hrsr.files.partial import partial_file
from napari_hrsr.models.header import METADATA_KEY
from napari_hrsr.models.spec import ModelSpec, spec_to_dict


def save_model(
    network: nn.Module, spec: ModelSpec, path: Path, *, dtype: torch.dtype = torch.float16
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
        Precision that the weights are stored in.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    facts = spec_to_dict(replace(spec, weights=None))
    state = {k: v.detach().cpu().to(dtype).contiguous() for k, v in network.state_dict().items()}
    content = save(state, metadata={METADATA_KEY: json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(path, len(content)) as file:
        file.write(content)
