"""What was measured during a training, in words: no Qt, no state."""

from __future__ import annotations

from collections.abc import Mapping

CAUTION = "Not for measurement: fine detail may be invented"


def figure_lines(values: Mapping[str, float]) -> list[str]:
    """Say how good the network is by now; of an adversarial training also how true.

    Parameters
    ----------
    values : Mapping of str to float
        Of a `Measured`.

    Returns
    -------
    list of str
        Lines for people.
    """
    quality = f"PSNR {values['psnr']:.2f} dB{_before(values, 'psnr', '.2f')}"
    lines = [f"{quality}, {values['gain']:+.2f} dB over cubic"]
    if "generator_loss" in values and "discriminator_loss" in values:
        generator, discriminator = values["generator_loss"], values["discriminator_loss"]
        lines.append(f"Loss: generator {generator:.3f}, discriminator {discriminator:.3f}")
    for name, text in (
        ("spectrum_distance", "Strength of detail, off by"),
        ("ring_correlation", "Place of detail, correlation"),
        ("inconsistency", "Departure from the measurement"),
    ):
        if name in values:
            lines.append(f"{text}: {values[name]:.3g}{_before(values, name, '.3g')}")
    if "generator_loss" in values:
        lines.append(CAUTION)
    return lines


def left_out_line(name: str, reason: str) -> str:
    """Say why an image was left out; its name is said once."""
    return reason if reason.startswith(name) else f"{name}: {reason}"


def count_images(number: int) -> str:
    """Return ``"1 image"`` or ``"3 images"``."""
    return "1 image" if number == 1 else f"{number} images"


def _before(values: Mapping[str, float], name: str, form: str) -> str:
    earlier = values.get(f"start_{name}")
    return "" if earlier is None else f" (at first {earlier:{form}})"
