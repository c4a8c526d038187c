"""What is drawn where a network learns to restore an image and keeps its size."""

from __future__ import annotations

from typing import Literal

from napari_hrsr.training.degrade import Degradations

Task = Literal["auto", "upscale", "denoise", "deblur", "enhance"]

TASK_DEGRADATIONS = {
    # From a few photons a pixel, where noise hides most of the image, to nearly none.
    "denoise": Degradations(
        point_spread_share=0.0, noisy_share=0.95, photons=(8.0, 1000.0), read_noise=(0.004, 0.12)
    ),
    "deblur": Degradations(
        bicubic=0.0, point_spread_share=1.0, gaussian_sigma=(1.0, 2.0), noisy_share=0.9,
        photons=(100.0, 20000.0), read_noise=(0.001, 0.03),
    ),
}  # fmt: skip
"""How images are degraded for a task, where the settings do not say."""


def resolved_task(task: Task, scale: tuple[int, ...], *, adversarial: bool) -> str:
    """Return the task of the trained model.

    Parameters
    ----------
    task : str
        As it was set; ``"auto"`` follows from the rest.
    scale : tuple of int
        Factor per spatial axis.
    adversarial : bool
        Whether it is trained against a discriminator.
    """
    if task != "auto":
        return task
    if adversarial:
        return "enhance"
    return "upscale" if max(scale) > 1 else "denoise"
