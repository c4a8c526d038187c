from __future__ import annotations

import dataclasses
import math
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.degrade import Degradation, Degradations, degrade


def draws(ranges, scale, count=60, seed=0):
    rng = np.random.default_rng(seed)
    return [ranges.draw(rng, scale) for _ in range(count)]


def test_by_default_every_formation_has_its_share():
    count = 2000
    drawn = draws(Degradations(), (2, 2), count)
    kinds = [(d.instrument.sampling, d.instrument.psf_sigma[0] > 0) for d in drawn]
    assert kinds.count(("bicubic", False)) / count == pytest.approx(0.3, abs=0.04)
    assert kinds.count(("area", False)) / count == pytest.approx(0.4, abs=0.04)
    assert kinds.count(("area", True)) / count == pytest.approx(0.3, abs=0.04)
    sigmas = [d.instrument.psf_sigma for d in drawn if d.instrument.psf_sigma[0]]
    assert all(y == x for y, x in sigmas)
    assert 0.3 <= min(s for s, _ in sigmas) < 0.35
    assert 0.95 < max(s for s, _ in sigmas) <= 1.0
    noisy = [d for d in drawn if d.noisy]
    assert len(noisy) / count == pytest.approx(0.4, abs=0.04)
    assert all(50 <= d.photons <= 2000 and 0.002 <= d.read_noise <= 0.04 for d in noisy)
    # Log-uniform: half of the draws lie below the geometric mean.
    assert np.mean([d.photons < math.sqrt(50 * 2000) for d in noisy]) == pytest.approx(
        0.5, abs=0.07
    )


def test_the_share_of_noise_is_the_one_asked_for():
    rng = np.random.default_rng(0)
    assert not any(Degradations(noisy_share=0.0).draw(rng, (2,)).noisy for _ in range(20))
    assert all(Degradations(noisy_share=1.0).draw(rng, (2, 2)).noisy for _ in range(20))


def test_same_seed_same_draws():
    ranges = Degradations(airy=1.0, point=0.5, slice_axis=0)
    assert draws(ranges, (3, 2), seed=5) == draws(ranges, (3, 2), seed=5)
    assert draws(ranges, (3, 2), seed=5) != draws(ranges, (3, 2), seed=6)


def test_slices_have_a_profile_along_their_axis_and_nothing_else_happens():
    ranges = Degradations(slice_axis=0, point_spread_share=0.0)
    fine = np.random.default_rng(0).random((16, 6, 5)).astype(np.float32)
    instruments = [d.instrument for d in draws(ranges, (4, 1, 1))]
    assert {i.slice_profile for i in instruments} == {"gaussian", "box"}
    widths = [i.slice_fwhm / 4 for i in instruments]
    assert 0.7 <= min(widths) < 0.75
    assert 1.05 < max(widths) <= 1.1
    for instrument in instruments[:8]:
        coarse = degrade(fine, Degradation(instrument), np.random.default_rng(0))
        matrix = ForwardModel((4,), (), "area", 0, instrument.slice_fwhm, instrument.slice_profile)
        one = degrade(fine[:, 2, 3], Degradation(matrix), np.random.default_rng(0))
        assert coarse.shape == (4, 6, 5)
        assert coarse[:, 2, 3] == pytest.approx(one, abs=1e-6)


def test_an_axis_of_factor_one_is_not_sliced():
    instrument = draws(Degradations(slice_axis=0), (1, 2, 2), 1)[0].instrument
    assert instrument.slice_axis is None


@pytest.mark.parametrize("kind", ["gaussian", "airy", "gibson_lanni"])
@pytest.mark.parametrize("scale", [(2, 2), (2, 2, 2), (4, 1, 1), (3, 1)])
@pytest.mark.parametrize("slice_axis", [None, 0])
def test_point_spread_functions_of_every_kind_blur_the_plane(kind, scale, slice_axis):
    weights = {"gaussian": 0.0, "airy": 0.0, "gibson_lanni": 0.0, kind: 1.0}
    ranges = Degradations(
        bicubic=0.0, point_spread_share=1.0, slice_axis=slice_axis, **weights, noisy_share=0.0
    )
    point = np.zeros([k * 12 for k in scale], np.float32)
    point[tuple(n // 2 for n in point.shape)] = 1.0
    degradation, other = draws(ranges, scale, 2)
    assert degradation != other
    blurred = degrade(point, degradation, np.random.default_rng(0))
    plain = degrade(
        point,
        Degradation(dataclasses.replace(degradation.instrument, psf_sigma=(), point_spread=None)),
        np.random.default_rng(0),
    )
    # What is lost lies beyond the border of this small image.
    assert 0.7 < blurred.sum() / plain.sum() < 1.01
    sharp, soft = (
        (image > 1e-4 * image.max()).any(axis=tuple(range(image.ndim - 1))).sum()
        for image in (plain, blurred)
    )
    assert soft > sharp
    if slice_axis == 0:
        # Along the slices there is the profile alone.
        profile, with_spread = (i.sum(axis=tuple(range(1, i.ndim))) for i in (plain, blurred))
        assert with_spread / with_spread.sum() == pytest.approx(profile / profile.sum(), abs=1e-5)


def test_a_volume_is_blurred_along_z_by_gibson_lanni_and_not_by_airy():
    for weights, blurs in (({"airy": 1.0}, False), ({"gibson_lanni": 1.0}, True)):
        ranges = Degradations(bicubic=0.0, gaussian=0.0, point_spread_share=1.0, **weights)
        spread = draws(ranges, (2, 2, 2), 1)[0].instrument.point_spread
        assert (spread.kernel.shape[0] > 1) is blurs


def test_each_axis_may_have_its_own_range_of_blur():
    ranges = Degradations(
        bicubic=0.0, point_spread_share=1.0, gaussian_sigma=((2.0, 3.0), (0.5, 0.6), (0.5, 0.6))
    )
    for degradation in draws(ranges, (2, 2, 2), 20):
        z, y, x = degradation.instrument.psf_sigma
        assert 2 <= z <= 3
        assert 0.5 <= min(y, x) <= max(y, x) <= 0.6
        assert y != x
    with pytest.raises(InputError, match="gaussian_sigma holds 3 ranges for 2 axes"):
        draws(ranges, (2, 2))


def test_point_spread_functions_stand_only_before_the_sampling_named():
    everything = {"bicubic": 1.0, "area": 1.0, "point": 1.0, "k_space": 1.0}
    ranges = Degradations(
        **everything, point_spread_share=1.0, point_spread_before=("k-space",), apodisation=(1, 1)
    )
    instruments = [d.instrument for d in draws(ranges, (2, 2), 200)]
    assert {i.sampling for i in instruments} == {"bicubic", "area", "point", "k-space"}
    assert all((i.psf_sigma[0] > 0) == (i.sampling == "k-space") for i in instruments)
    assert all((i.apodisation == 1) == (i.sampling == "k-space") for i in instruments)


def test_rician_draws_count_no_photons():
    noisy = draws(Degradations(noise="rician", noisy_share=1.0), (2, 2), 20)
    assert all(d.noise == "rician" and math.isinf(d.photons) and d.noisy for d in noisy)


def test_either_part_of_the_noise_can_be_left_out():
    for d in draws(Degradations(noisy_share=1.0, photons=(math.inf, math.inf)), (2, 2), 5):
        assert math.isinf(d.photons)
        assert d.read_noise > 0
    for d in draws(Degradations(noisy_share=1.0, read_noise=(0, 0)), (2, 2), 5):
        assert d.read_noise == 0
        assert d.photons <= 2000


@pytest.mark.parametrize(("clean", "noisy"), [(0.0, 1.0), (1.0, 0.0)])
def test_what_is_noisy_may_be_blurred_more_or_less_often(clean, noisy):
    ranges = Degradations(
        bicubic=0.0, point_spread_share=clean, noisy_point_spread_share=noisy, noisy_share=0.5
    )
    drawn = draws(ranges, (2, 2))
    assert {d.noisy for d in drawn} == {True, False}
    for d in drawn:
        assert (d.instrument.psf_sigma[0] > 0) == (noisy if d.noisy else clean)


share = st.floats(0, 1)
ranged = lambda low, high: st.tuples(*[st.floats(low, high)] * 2).map(  # noqa: E731
    lambda pair: tuple(sorted(pair))
)


@given(
    ranges=st.builds(
        Degradations,
        bicubic=share,
        area=st.just(1),
        k_space=share,
        point_spread_share=share,
        noisy_point_spread_share=st.none() | share,
        point_spread_before=st.sets(st.sampled_from(["area", "k-space"])).map(tuple),
        airy=share,
        gibson_lanni=share,
        gaussian_sigma=ranged(0, 5) | st.tuples(*[ranged(0, 5)] * 3),
        depth=ranged(0, 100),
        slice_axis=st.none() | st.integers(0, 2),
        slice_profiles=st.sampled_from([("box",), ("gaussian", "box")]),
        slice_fwhm=ranged(0.5, 2),
        photons=ranged(1, 1e6) | st.just((math.inf, math.inf)),
        noise=st.sampled_from(["gaussian", "rician"]),
    )
)
def test_toml_holds_everything(ranges):
    text = tomli_w.dumps(ranges.to_dict())
    assert Degradations.from_dict(tomllib.loads(text)) == ranges


def test_what_toml_leaves_out_has_its_default():
    assert Degradations.from_dict({}) == Degradations()
    assert Degradations.from_dict({"area": 1}) == Degradations(area=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bicubic", -1.0),
        ("area", "much"),
        ("noisy_share", 1.5),
        ("noisy_share", True),
        ("point_spread_share", math.nan),
        ("noisy_point_spread_share", -0.1),
        ("noisy_point_spread_share", "all"),
        ("point_spread_before", ["magic"]),
        ("point_spread_before", "area"),
        ("gaussian_sigma", [1.0, 0.5]),
        ("gaussian_sigma", 1.0),
        ("gaussian_sigma", [[0.1, 0.2], 0.3]),
        ("airy_radius", [0.0, 2.0]),
        ("wavelength", [450, 650]),
        ("slice_axis", 3),
        ("slice_axis", 0.5),
        ("slice_profiles", []),
        ("slice_fwhm", [0.7]),
        ("apodisation", [0.5, 1.5]),
        ("photons", [0, 100]),
        ("photons", [50, math.inf]),
        ("read_noise", [0, 0.1]),
        ("noise", "pink"),
        ("strength", 1.0),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(InputError, match=name):
        Degradations.from_dict({name: value})


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="one of bicubic, area, point, k_space"):
        Degradations(bicubic=0, area=0)
    with pytest.raises(InputError, match="one of gaussian, airy, gibson_lanni"):
        Degradations(gaussian=0)
    with pytest.raises(InputError, match="immersion_index must lie above the numerical aperture"):
        Degradations(gibson_lanni=1, numerical_aperture=(0.8, 1.3), immersion_index=1.0)
    with pytest.raises(InputError, match="pixels wide"):
        Degradations(gibson_lanni=1, pixel_size=0.001)
    with pytest.raises(InputError, match="slice_axis must be 0 to 1"):
        draws(Degradations(slice_axis=2), (2, 2))


def test_without_noise_it_is_the_forward_model():
    fine = data.camera()[:64, :64].astype(np.float32) / 255
    coarse = degrade(fine, Degradation(ForwardModel((2, 2))), np.random.default_rng(0))
    assert coarse.dtype == np.float32
    assert np.allclose(coarse, fine.reshape(32, 2, 32, 2).mean((1, 3)), atol=1e-6)


def test_channels_are_recorded_one_by_one():
    fine = np.moveaxis(data.astronaut()[:32, :48], -1, 0).astype(np.float32) / 255
    for degradation in draws(Degradations(airy=1.0, k_space=1.0, noisy_share=0.0), (2, 3), 8):
        together = degrade(fine, degradation, np.random.default_rng(0))
        assert together.shape == (3, 16, 16)
        for channel, expected in zip(fine, together, strict=True):
            alone = degrade(channel, degradation, np.random.default_rng(0))
            assert alone == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_noise_has_the_variance_of_photons_and_reading(level):
    degradation = Degradation(ForwardModel((2, 2)), photons=200, read_noise=0.02)
    coarse = degrade(np.full((600, 600), level), degradation, np.random.default_rng(0))
    assert coarse.dtype == np.float32
    assert coarse.mean() == pytest.approx(level, rel=0.01)
    assert coarse.var() == pytest.approx(level / 200 + 0.02**2, rel=0.03)


@pytest.mark.parametrize("signal", [0.0, 0.1, 1.0])
def test_rician_noise_is_that_of_a_magnitude(signal):
    sigma = 0.1
    degradation = Degradation(ForwardModel((1, 1)), read_noise=sigma, noise="rician")
    coarse = degrade(np.full((500, 500), signal), degradation, np.random.default_rng(0))
    # The second moment of Rice's distribution; its mean where there is no signal.
    assert float((coarse**2).mean()) == pytest.approx(signal**2 + 2 * sigma**2, rel=0.01)
    assert coarse.min() >= 0
    if signal == 0:
        assert coarse.mean() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.01)


def test_below_black_there_is_no_shot_noise():
    degradation = Degradation(ForwardModel((2,)), photons=100)
    coarse = degrade(np.full(20, -0.1, np.float32), degradation, np.random.default_rng(0))
    assert coarse == pytest.approx(np.full(10, -0.1))


def test_same_seed_same_image():
    degradation = Degradation(ForwardModel((2, 2)), 100, 0.01)
    fine = data.camera()[:32, :32] / 255.0
    first, second = (degrade(fine, degradation, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert math.isinf(Degradation(ForwardModel((2, 2))).photons)
