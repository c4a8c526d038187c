"""What the window says of a training's measurements."""

from napari_hrsr._napari.training_figures import (
    CAUTION,
    count_images,
    figure_lines,
    left_out_line,
)

PLAIN = {"loss": 0.04, "psnr": 30.123, "cubic_psnr": 28.9, "gain": 1.223, "learning_rate": 0.001}
ADVERSARIAL = PLAIN | {
    "generator_loss": 0.7,
    "discriminator_loss": 0.69,
    "spectrum_distance": 1.44,
    "ring_correlation": 0.62,
    "inconsistency": 0.0028,
    "start_psnr": 30.5,
    "start_spectrum_distance": 1.94,
    "start_ring_correlation": 0.63,
    "start_inconsistency": 0.0035,
}


def test_quality_stands_beside_interpolation():
    assert figure_lines(PLAIN) == ["PSNR 30.12 dB, +1.22 dB over cubic"]
    assert "-0.50 dB over" in figure_lines(PLAIN | {"gain": -0.5})[0]


def test_adversarial_training_shows_losses_truthfulness_and_the_caution():
    text = "\n".join(figure_lines(ADVERSARIAL))
    assert "generator 0.700, discriminator 0.690" in text
    assert "measurement: 0.0028 (at first 0.0035)" in text
    assert "30.12 dB (at first 30.50)" in text
    assert "1.44 (at first 1.94)" in text
    assert text.endswith(CAUTION)


def test_without_a_start_nothing_is_compared_with_it():
    values = {k: v for k, v in ADVERSARIAL.items() if not k.startswith("start_")}
    assert "at first" not in "\n".join(figure_lines(values))


def test_what_was_left_out_is_named_once():
    assert left_out_line("a.tif", "a.tif holds no image") == "a.tif holds no image"
    assert left_out_line("a.tif", "it is too small") == "a.tif: it is too small"


def test_counts_read_well():
    assert [count_images(n) for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
