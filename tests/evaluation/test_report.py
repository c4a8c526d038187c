"""The report in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_hrsr.errors import OutputError
from napari_hrsr.evaluate_file import Settings, evaluate_subject
from napari_hrsr.evaluation.pictures import coloured, overview
from napari_hrsr.evaluation.report import report_html, write_report
from napari_hrsr.evaluation.subject import Given, choose_subject
from napari_hrsr.evaluation.svg import ticks
from napari_hrsr.metadata import ImageMetadata

HOSTILE = '<script>document.title="owned"</script><img src=x onerror=alert(1)>"\' & cells'
BROWSER = shutil.which("chromium")


def given(data, name, size, record=None):
    n = data.ndim
    return Given(data, ImageMetadata("ZYX"[-n:], (size,) * n, (0.0,) * n, ("micrometer",) * n),
                 record, name)  # fmt: skip


def subject_of(shape=(64, 72)):
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(size=[2 * n for n in shape]), 2)
    truth = 500 + 100 * truth / truth.std()
    cells = truth
    for axis in range(truth.ndim):
        cells = 0.5 * (cells.take(range(0, cells.shape[axis], 2), axis)
                       + cells.take(range(1, cells.shape[axis], 2), axis))  # fmt: skip
    cells = cells + rng.normal(0, 4, shape)
    result = truth.copy()
    # A structure that the source does not show.
    result[..., 40:48, 60:68] += 60
    record = {"model": HOSTILE, "factor": [2] * truth.ndim, "note": "</pre>" + HOSTILE}
    return choose_subject(
        given(result, HOSTILE, 0.1, record), source=given(cells, "source " + HOSTILE, 0.2),
        reference=given(truth, "truth", 0.1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def subject():
    return subject_of()


@pytest.fixture(scope="module")
def page(subject, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, evaluate_subject(subject, Settings()), subject)
    return path


def browse(folder, *arguments):
    if BROWSER is None:
        pytest.skip("no chromium to open the report in")
    # A home of its own; without a sandbox, which root may not have.
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_browser_shows_all_of_it_and_runs_nothing(page, tmp_path):
    shown = browse(tmp_path, "--dump-dom", page.as_uri())
    text = re.sub(r"<style>.*?</style>", "", shown, flags=re.S)
    for part in ("In short", "Pictures", "Figures", "Beside the reference", "Curves",
                 "What this cannot tell", "Recipe", "PSNR, dB", "cubic", "chi-square",
                 "contradicts its source", "cycles per µm"):  # fmt: skip
        assert part in text, part
    assert "<script" not in shown
    assert "onerror=alert(1)&gt;" in shown
    assert re.search(r"<title>Evaluation of &lt;script", shown)
    # Pictures: source, result, reference and three maps with their scales.
    assert len(re.findall(r'<img src="data:image/png;base64,[^"]+"', shown)) >= 9
    assert len(re.findall(r"<polyline", shown)) >= 5


def test_a_screenshot_is_a_page_with_pictures(page, tmp_path):
    shot = tmp_path / "shot.png"
    browse(tmp_path, f"--screenshot={shot}", "--window-size=1000,1400", page.as_uri())
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (1400, 1000, 3)
    # A page is mostly white; text and grey pictures are dark; only maps have colours.
    assert (pixels.min(-1) > 250).mean() > 0.3
    assert (pixels.max(-1) < 120).mean() > 0.02
    assert ((pixels.max(-1) - pixels.min(-1)) > 100).mean() > 0.01


class Addresses(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [v for k, v in attrs if k in ("src", "href", "data", "action", "srcset")]


def test_it_needs_nothing_from_elsewhere(page):
    parser = Addresses()
    parser.feed(page.read_text("utf-8"))
    assert parser.found
    assert all(address.startswith("data:image/png;base64,") for address in parser.found)
    assert not parser.tags & {"script", "link", "iframe", "object", "embed", "form", "b onerror"}
    assert "url(" not in page.read_text("utf-8")


def test_an_existing_file_is_left_alone_unless_it_may_be_replaced(subject, page, tmp_path):
    evaluation = evaluate_subject(subject, Settings())
    target = tmp_path / "report.html"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_report(target, evaluation, subject)
    assert target.read_text() == "mine"
    write_report(target, evaluation, subject, overwrite=True)
    assert target.read_text("utf-8") == page.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [target]


def test_a_volume_shows_the_slice_with_the_doubt():
    subject = subject_of((8, 24, 28))
    result = np.array(subject.result)
    result[12:14] += 40 * np.random.default_rng(1).normal(size=result[12:14].shape)
    subject = replace(
        choose_subject(given(result, "volume", 0.1),
                       source=given(np.asarray(subject.source), "coarse", 0.2)),
        record=None,
    )  # fmt: skip
    text = report_html(evaluate_subject(subject, Settings()), subject)
    assert "</b>, slice 6</figcaption>" in text
    assert "</b>, slice 13</figcaption>" in text
    assert "no record of how it was made" in text


def test_small_pictures_of_maps_keep_their_spots():
    deviation = np.zeros((2000, 1300))
    deviation[777, 333] = -5
    small = overview(deviation, None, extreme=True)
    assert max(small.shape) <= 640
    assert small.min() == -5
    assert coloured(small, -5, 5, diverging=True).min() < 60
    assert overview(deviation, None).min() > -1


@pytest.mark.parametrize("end", [0.013, 0.5, 1.0, 3.77, 960.0])
def test_ticks_are_round_and_within(end):
    found = ticks(end)
    assert found[0] == 0
    assert 3 <= len(found) <= 8
    assert found[-1] <= end * (1 + 1e-9)
