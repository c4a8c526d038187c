"""Upscale an image that is larger than memory, from Zarr to OME-Zarr."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zarr

from napari_hrsr import upscale
from napari_hrsr.files import read_image

with TemporaryDirectory() as folder:
    source = zarr.create_array(
        Path(folder) / "source.zarr", shape=(3, 600, 800), chunks=(1, 256, 256), dtype="uint16"
    )
    source[:] = np.random.default_rng(0).poisson(500, source.shape)
    target = Path(folder) / "result.ome.zarr"
    upscale(source, "general-2d-x2", axes="TYX", out=target, progress=True)
    result = read_image(target)
    print(result.data.shape, result.metadata.scale, result.record["model"])
