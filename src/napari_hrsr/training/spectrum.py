"""How much detail a result holds, and how much of it is true.

Two numbers that are honest only together. The radial power spectrum says how
strong each frequency is: too weak looks blurred, too strong looks noisy. The
Fourier ring correlation with the truth says whether what is there is in the
right place: noise and invented texture raise the power and lower the
correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_hrsr.errors import InputError

UPPER_HALF = (0.5, 1.0)
"""The upper half of the band, as fractions of the Nyquist frequency of the fine grid."""

SHORTEST = 16
"""Pixels that each axis of an image must have at least."""
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class RingComparison:
    """Result and truth, compared ring by ring (shell by shell in 3D).

    Attributes
    ----------
    frequency : ndarray
        Shape (rings,), the mean of each ring as a fraction of the Nyquist
        frequency, rising from near 0 to 1.
    result_power, truth_power : ndarray
        Shape (rings,), mean power of the image about its mean.
    correlation : ndarray
        Shape (rings,), Fourier ring correlation, -1 to 1.
    """

    frequency: np.ndarray
    result_power: np.ndarray
    truth_power: np.ndarray
    correlation: np.ndarray

    def distance(self, band: tuple[float, float] = UPPER_HALF) -> float:
        """Return the mean absolute natural logarithm of the ratio of powers.

        Parameters
        ----------
        band : tuple of float
            Lowest and highest frequency, fractions of the Nyquist frequency.

        Returns
        -------
        float
            0 where the spectra agree; 0.7 where one is twice the other.

        Raises
        ------
        InputError
            If no ring lies in the band.
        """
        chosen = self._within(band)
        # Exact zeros (flat images) must give a large number, not infinity.
        floor = _FLOOR * max(float(self.truth_power.max()), float(self.result_power.max()), 1e-30)
        ratio = (self.result_power[chosen] + floor) / (self.truth_power[chosen] + floor)
        return float(np.abs(np.log(ratio)).mean())

    def agreement(self, band: tuple[float, float] = UPPER_HALF) -> float:
        """Return the mean Fourier ring correlation in a band.

        Parameters
        ----------
        band : tuple of float
            Lowest and highest frequency, fractions of the Nyquist frequency.

        Returns
        -------
        float
            1 where the result is the truth times a factor; 0 for noise.

        Raises
        ------
        InputError
            If no ring lies in the band.
        """
        return float(self.correlation[self._within(band)].mean())

    def _within(self, band: tuple[float, float]) -> np.ndarray:
        low, high = band
        chosen: np.ndarray = (self.frequency >= low) & (self.frequency <= high)
        if not chosen.any():
            msg = f"no frequency of these images lies in the band {band!r}: use a larger image"
            raise InputError(msg)
        return chosen


def compare_rings(result: np.ndarray, truth: np.ndarray) -> RingComparison:
    """Compare a result with its truth in rings of equal frequency.

    Both are freed of their mean and faded out towards the border by a Hann
    window: the jump between opposite borders would otherwise fill the upper
    band. Frequencies are measured in cycles per pixel of each axis, so the
    band is that of the grid whatever the spacing; the corners beyond the
    Nyquist frequency of one axis are left out. The correlation is that of
    Saxton and Baumeister (1982) and van Heel et al. (1982), with the real part
    in the numerator.

    Parameters
    ----------
    result, truth : ndarray
        Shape (*spatial), 2 or 3 axes of at least 16 pixels, real, same units.

    Returns
    -------
    RingComparison

    Raises
    ------
    InputError
        If the shapes differ, or are too small to hold a ring.
    """
    if result.shape != truth.shape:
        msg = f"result and truth differ in shape: {result.shape} and {truth.shape}"
        raise InputError(msg)
    if truth.ndim not in (2, 3) or min(truth.shape) < SHORTEST:
        msg = f"need 2 or 3 axes of at least {SHORTEST} pixels, got shape {truth.shape}"
        raise InputError(msg)
    first, second = _spectrum(result), _spectrum(truth)
    count = min(truth.shape) // 2
    frequency, ring, weight = rings(truth.shape, count)

    def total(values: np.ndarray) -> np.ndarray:
        # The last bin gathers the corners.
        return np.bincount(ring.ravel(), (weight * values).ravel(), minlength=count + 1)[:count]

    members = total(np.ones(first.shape))
    result_power, truth_power = total(np.abs(first) ** 2), total(np.abs(second) ** 2)
    shared = total((first * second.conj()).real)
    scale = np.sqrt(result_power * truth_power)
    correlation = np.divide(shared, scale, out=np.zeros(count), where=scale > 0).clip(-1, 1)
    return RingComparison(
        total(frequency) / members, result_power / members, truth_power / members, correlation
    )


def hann(length: int) -> np.ndarray:
    """Return a window that fades out towards both ends, shape (length,), at most 1."""
    # Half a pixel off the border, so that no pixel is lost altogether.
    fade: np.ndarray = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    return fade


def rings(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort the frequencies of a real image's Fourier transform into rings.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    count : int
        Rings of equal width up to the Nyquist frequency.

    Returns
    -------
    frequency : ndarray
        Shape of ``rfftn``'s result, as a fraction of the Nyquist frequency.
    ring : ndarray
        Same shape, integer: 0 to count - 1, and count for the corners beyond
        the Nyquist frequency.
    weight : ndarray
        Same shape: how many entries of the full transform each stands for.
    """
    last = shape[-1]
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(last)]
    squares = [
        (f * f).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        for axis, f in enumerate(axes)
    ]
    frequency = 2 * np.sqrt(np.asarray(sum(squares), dtype=np.float64))
    ring = np.minimum((frequency * count).astype(np.int64), count)
    # The Nyquist frequency of an axis is the edge of the last ring, and belongs to it.
    ring[(ring == count) & (frequency <= 1.0)] = count - 1
    # The half transform stands for both halves, except where they meet.
    weight = np.full(frequency.shape, 2.0)
    weight[..., 0] = 1.0
    if last % 2 == 0:
        weight[..., -1] = 1.0
    return frequency, ring, weight


def _spectrum(image: np.ndarray) -> np.ndarray:
    centred = np.asarray(image, dtype=np.float64)
    centred = centred - centred.mean()
    for axis, length in enumerate(centred.shape):
        shape = [-1 if a == axis else 1 for a in range(centred.ndim)]
        centred = centred * hann(length).reshape(shape)
    return np.asarray(np.fft.rfftn(centred))
