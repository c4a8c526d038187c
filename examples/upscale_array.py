"""Upscale the bundled volume from Python, and compare with cubic interpolation."""

import numpy as np

from napari_hrsr import list_models, upscale
from napari_hrsr.samples import read_sample

for spec in list_models(ndim=3)[:3]:
    print(spec.name, spec.scale, spec.title)

volume = read_sample("volume")
result = upscale(volume, "general-3d-x2", progress=True)
cubic = upscale(volume, "cubic-2x2x2")
difference = result.astype(float) - cubic
print(volume.shape, "->", result.shape, result.dtype)
print(f"differs from cubic interpolation by {np.sqrt((difference**2).mean()):.2f} grey values")
