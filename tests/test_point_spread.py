from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel, Microscope, PointSpread, gibson_lanni_shape

WATER_BELOW_OIL = Microscope(0.52, 1.2, depth=5.0)
"""Five micrometres into water with an oil objective: strong spherical aberration."""


def along_radius(spread):
    """Return the kernel's values and the distances of its pixels, in pixels."""
    rows, columns = spread.kernel.shape[-2:]
    y, x = np.ogrid[-(rows // 2) : rows // 2 + 1, -(columns // 2) : columns // 2 + 1]
    return spread.kernel, np.hypot(y, x)


def test_equal_kernels_are_one_and_the_same():
    first, second = PointSpread(np.ones((3, 5))), PointSpread(np.full((3, 5), 7.0))
    assert first == second == pickle.loads(pickle.dumps(first))  # noqa: S301
    assert hash(ForwardModel((2, 2), point_spread=first)) == hash(
        ForwardModel((2, 2), point_spread=second)
    )
    assert first != PointSpread(np.ones((5, 3)))
    assert first != PointSpread.gaussian((0.4, 0.8))
    assert first != "a kernel"
    assert first.kernel.sum() == pytest.approx(1)


def test_a_kernel_is_a_copy_that_nobody_can_change():
    values = np.ones((3, 3))
    spread = PointSpread(values)
    values[:] = np.nan
    assert np.isfinite(spread.kernel).all()
    with pytest.raises(ValueError, match="read-only"):
        spread.kernel[0, 0] = 2


@pytest.mark.parametrize(
    "values", [np.ones((3, 4)), np.zeros((3, 3)), -np.ones(3), np.full(3, np.nan), np.ones(())]
)
def test_senseless_kernels_are_refused(values):
    with pytest.raises(InputError, match="point spread function must"):
        PointSpread(values)


def test_gaussian_is_the_separable_one():
    x = torch.rand(12, 14, dtype=torch.float64)
    spread = ForwardModel((2, 2), point_spread=PointSpread.gaussian((0.9, 1.6))).apply(x)
    assert torch.allclose(spread, ForwardModel((2, 2), (0.9, 1.6)).apply(x), atol=1e-13)
    assert PointSpread.gaussian((0.0, 0.0)).kernel == pytest.approx(np.ones((1, 1)))


def test_airy_has_the_size_that_the_lens_gives_it():
    spread = PointSpread.airy(wavelength=0.52, numerical_aperture=0.8, pixel_size=0.02)
    values, distance = along_radius(spread)
    ring = 0.61 * 0.52 / 0.8 / 0.02
    inside = values[distance <= ring].sum()
    # 83.8 per cent within the first dark ring, of 96.1 within the fifth.
    assert inside == pytest.approx(0.838 / 0.961, abs=0.01)
    profile = values[values.shape[0] // 2, values.shape[1] // 2 :]
    assert int(profile[:25].argmin()) == round(ring)
    half = np.interp(-0.5 * profile[0], -profile[:20], np.arange(20.0))
    assert 2 * half * 0.02 == pytest.approx(0.514 * 0.52 / 0.8, rel=0.01)


def test_an_airy_disk_much_smaller_than_a_pixel_changes_nothing():
    kernel = PointSpread.airy(0.5, 0.9, pixel_size=20.0).kernel
    assert kernel.max() > 0.97
    assert kernel.argmax() == kernel.size // 2


def test_coarse_and_fine_pixels_show_the_same_airy_disk():
    coarse = PointSpread.airy_disk(1.5).kernel
    fine = PointSpread.airy_disk(7.5).kernel
    middle = [fine.shape[0] // 2 + 5 * k for k in (-1, 0, 1)]
    binned = [[fine[y - 2 : y + 3, x - 2 : x + 3].sum() for x in middle] for y in middle]
    centre = coarse.shape[0] // 2
    window = slice(centre - 1, centre + 2)
    assert coarse[window, window] == pytest.approx(np.array(binned), rel=0.02)


def test_gibson_lanni_without_aberration_is_airy():
    matched = Microscope(0.52, 1.2, depth=8.0, specimen_index=1.515)
    ours = PointSpread.gibson_lanni(matched, 0.05).kernel
    assert ours == pytest.approx(PointSpread.airy(0.52, 1.2, 0.05).kernel, abs=1e-5)


@pytest.mark.parametrize(
    ("microscope", "expected"),
    [
        (WATER_BELOW_OIL, [0.1622, 0.4533, 0.8056, 1, 0.7827, 0.3393, 0.0817]),
        (
            Microscope(
                0.6,
                1.1,
                depth=2.0,
                specimen_index=1.38,
                immersion_index=1.52,
                immersion_index_design=1.515,
                coverslip_thickness=172.0,
                coverslip_thickness_design=170.0,
                coverslip_index=1.522,
                coverslip_index_design=1.515,
            ),
            [0.0687, 0.5903, 0.8817, 1, 0.8832, 0.6007, 0.1037],
        ),
    ],
)
def test_gibson_lanni_agrees_with_another_implementation(microscope, expected):
    """Intensities on the axis computed with psfmodels 0.3.3 (its scalar model)."""
    focus = np.array([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0])
    axis = microscope.intensity(np.zeros(1), focus)[:, 0]
    assert axis / axis[3] == pytest.approx(np.array(expected), abs=1e-3)


def test_gibson_lanni_in_a_plane_agrees_with_another_implementation():
    """A row through the middle computed with psfmodels 0.3.3 (its scalar model)."""
    kernel = PointSpread.gibson_lanni(WATER_BELOW_OIL, 0.1, shape=(9, 9)).kernel
    expected = [0.1449, 0.0883, 0.0149, 0.0026, 0.0043]
    assert kernel[4, 4:] == pytest.approx(np.array(expected), abs=6e-4)


def test_however_deep_the_point_the_middle_plane_is_the_sharpest():
    for depth in (0.0, 2.0, 20.0):
        microscope = Microscope(0.52, 1.2, depth=depth)
        kernel = PointSpread.gibson_lanni(
            microscope, 0.1, plane_spacing=0.1, shape=(15, 9, 9)
        ).kernel
        assert int(kernel[:, 4, 4].argmax()) == 7
        assert kernel == pytest.approx(kernel[:, ::-1, ::-1], abs=1e-12)


def test_depth_and_defocus_blur():
    peaks = [
        PointSpread.gibson_lanni(
            Microscope(0.52, 1.2, depth=depth), 0.1, defocus=defocus
        ).kernel.max()
        for depth, defocus in ((0.0, 0.0), (5.0, 0.0), (0.0, 0.4))
    ]
    assert peaks[0] > 1.2 * peaks[1]
    assert peaks[0] > 1.2 * peaks[2]


def test_without_a_shape_most_of_the_light_is_held():
    flat = PointSpread.gibson_lanni(Microscope(0.52, 0.8), 0.1)
    assert flat.kernel.shape == gibson_lanni_shape(Microscope(0.52, 0.8), 0.1)
    volume = PointSpread.gibson_lanni(Microscope(0.52, 0.8), 0.1, plane_spacing=0.5)
    assert volume.ndim == 3
    edges = volume.kernel[0].max(), volume.kernel[-1].max(), volume.kernel[:, 0].max()
    assert max(edges) < 0.06 * volume.kernel.max()


def test_light_that_the_specimen_cannot_carry_fades_with_depth():
    radii, focus = np.linspace(0, 0.5, 20), np.zeros(1)
    wide, narrow = (Microscope(0.52, aperture, depth=5.0) for aperture in (1.49, 1.33))
    # Beyond the index of water the rim of the lens collects nothing from a deep point.
    assert wide.intensity(radii, focus) * 1.49**4 == pytest.approx(
        narrow.intensity(radii, focus) * 1.33**4, abs=0.02
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"wavelength": 520.0}, "wavelength"),
        ({"numerical_aperture": 0.0}, "numerical_aperture"),
        ({"numerical_aperture": 1.6}, "immersion_index"),
        ({"immersion_index_design": 1.0}, "immersion_index_design"),
        ({"specimen_index": 0.5}, "specimen_index"),
        ({"depth": -1.0}, "depth"),
        ({"coverslip_thickness": np.inf}, "coverslip_thickness"),
    ],
)
def test_microscopes_that_cannot_be_are_refused_by_name(arguments, name):
    with pytest.raises(InputError, match=f"^{name} must"):
        Microscope(**{"wavelength": 0.52, "numerical_aperture": 1.2, **arguments})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointSpread.airy(0.52, 1.2, 0.0), "pixel_size must"),
        (lambda: PointSpread.airy(0.52, 1.2, 1e-4), "pixels wide"),
        (lambda: PointSpread.airy_disk(np.inf), "pixels wide"),
        (lambda: PointSpread.airy_disk(0.0), "radius must"),
        (lambda: PointSpread.gaussian((-1.0,)), "sigma must"),
        (lambda: PointSpread.gibson_lanni(WATER_BELOW_OIL, 0.1, shape=(8, 9)), "shape must"),
        (lambda: PointSpread.gibson_lanni(WATER_BELOW_OIL, 0.1, defocus=np.nan), "defocus must"),
        (
            lambda: PointSpread.gibson_lanni(WATER_BELOW_OIL, 0.1, plane_spacing=-1.0),
            "plane_spacing must",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_measured_bead_loses_its_background():
    bead = np.full((7, 7), 12.0)
    bead[3, 3], bead[0, 0] = 112.0, 5.0
    spread = PointSpread.measured(bead, background=12.0)
    assert spread.kernel[3, 3] == pytest.approx(1.0)


def test_a_bead_that_is_not_in_the_middle_is_refused():
    bead = np.zeros((7, 7))
    bead[3, 5] = 1.0
    with pytest.raises(InputError, match=r"at \(3, 5\), its middle is at \(3, 3\)"):
        PointSpread.measured(bead)
