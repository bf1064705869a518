"""The README shows the committed results: its table, its printed output, its pictures; `make readme` renews them."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from harness.base import paths
from harness.base.errors import UserError
from harness.comparison.paired import read_predictions
from harness.report.readme import PRESET, README, SCREENSHOT, SOURCE, renewed, take_screenshot
from harness.scoring.metrics import mean_average_precision
from tests.browser import find_chromium


def test_the_readme_shows_the_committed_results(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(committed)
    text = README.read_text()
    assert renewed(text, PRESET) == text, "stale: run `make readme`"
    old = text.replace("| chance ", "| chanc3 ").replace("mAP %  param.", "mAP %  parum.")
    assert old != text and renewed(old, PRESET) == text
    with pytest.raises(UserError, match=r"^README.md: has no single place for '\| model"):
        renewed(text.replace("<!-- table -->", ""), PRESET)


def test_it_is_short(committed: Path) -> None:
    assert len((committed / README).read_text().splitlines()) < 120


def test_its_pictures_are_there(committed: Path) -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (committed / README).read_text())
    assert str(SCREENSHOT) in pictures and any("positions_" in one for one in pictures)
    assert all((committed / one).is_file() for one in pictures)


def test_the_screenshot_is_of_the_committed_page(committed: Path) -> None:
    page = committed / paths.results("instruments") / "index.html"
    with Image.open(committed / SCREENSHOT) as image:
        assert image.info[SOURCE] == hashlib.sha256(page.read_bytes()).hexdigest(), "stale: run `make readme`"


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium here to take a screenshot with")
def test_a_screenshot_says_of_what_it_is(tmp_path: Path) -> None:
    page, picture = tmp_path / "index.html", tmp_path / "docs" / "page.png"
    page.write_text("<!doctype html><title>t</title><body style='background: #d55e00'>")
    take_screenshot(page, picture)
    with Image.open(picture) as image:
        assert image.info[SOURCE] == hashlib.sha256(page.read_bytes()).hexdigest()
        assert image.size[0] == 1280 and image.convert("RGB").getpixel((640, 400)) == (213, 94, 0)


def test_without_a_page_or_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    page, picture = tmp_path / "index.html", tmp_path / "page.png"
    with pytest.raises(UserError, match=r"index.html: missing"):
        take_screenshot(page, picture)
    page.write_text("")
    with pytest.raises(UserError, match=r"page.png: needs one of chromium"):
        take_screenshot(page, picture)


def test_the_kept_predictions_of_the_study_are_those_that_were_scored(committed: Path, tmp_path: Path) -> None:
    """With them a run can be added to the study, or its statistics redone, without training all others again."""
    results = committed / "results" / "study"
    with zipfile.ZipFile(results / "predictions.zip") as archive:
        archive.extractall(tmp_path)
    runs = {folder.name for folder in (results / "runs").iterdir()}
    assert runs == {path.stem for path in tmp_path.iterdir()}
    for run in runs:
        kept = read_predictions(tmp_path / f"{run}.npz")
        metrics = json.loads((results / "runs" / run / "evaluation" / "metrics.json").read_text())
        assert mean_average_precision(kept.targets, kept.scores) == pytest.approx(metrics["mAP"], abs=1e-12)
