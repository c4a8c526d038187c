"""Super-resolution of 2D and 3D images, in napari and out of it.

The public names are imported when they are first used, so that importing the
package costs neither torch nor napari.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_PUBLIC = {
    "CancelledError": "errors",
    "HrsrError": "errors",
    "ModelSpec": "models.spec",
    "Upscaler": "models.spec",
    "distill": "training.distill",
    "evaluate": "evaluation.evaluating",
    "export_model": "training.export",
    "fuse_frames": "frames.fusing",
    "list_models": "models.catalog",
    "live_view": "lazy.opening",
    "load_model": "models.load",
    "make_isotropic": "isotropic.calling",
    "make_isotropic_layer": "isotropic.calling",
    "train": "training.start",
    "upscale": "api",
    "upscale_layer": "api",
    "upscale_to_file": "file_calling",
    "upscaled_scale_translate": "geometry",
}

__all__ = [
    "CancelledError",
    "HrsrError",
    "ModelSpec",
    "Upscaler",
    "__version__",
    "distill",
    "evaluate",
    "export_model",
    "fuse_frames",
    "list_models",
    "live_view",
    "load_model",
    "make_isotropic",
    "make_isotropic_layer",
    "train",
    "upscale",
    "upscale_layer",
    "upscale_to_file",
    "upscaled_scale_translate",
]

if TYPE_CHECKING:
    from napari_hrsr.api import upscale, upscale_layer
    from napari_hrsr.errors import CancelledError, HrsrError
    from napari_hrsr.evaluation.evaluating import evaluate
    from napari_hrsr.file_calling import upscale_to_file
    from napari_hrsr.frames.fusing import fuse_frames
    from napari_hrsr.geometry import upscaled_scale_translate
    from napari_hrsr.isotropic.calling import make_isotropic, make_isotropic_layer
    from napari_hrsr.lazy.opening import live_view
    from napari_hrsr.models.catalog import list_models
    from napari_hrsr.models.load import load_model
    from napari_hrsr.models.spec import ModelSpec, Upscaler
    from napari_hrsr.training.distill import distill
    from napari_hrsr.training.export import export_model
    from napari_hrsr.training.start import train


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"napari_hrsr.{_PUBLIC[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
