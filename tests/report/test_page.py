"""The page: self-contained, accessible by its structure, and in a real headless Chromium it does what it says."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness import __main__ as cli
from harness.base.errors import UserError
from harness.base.files import write_csv, write_json
from harness.comparison.paired import compare
from harness.config.params import Params
from harness.records.schemas import SCHEMA_VERSION
from harness.report.figures import theme
from harness.report.figures.draw import draw_figures
from harness.report.page.build import MOST_BYTES, write_page
from harness.report.tables import tables
from tests.browser import Tab, browser, find_chromium, find_driver
from tests.report.conftest import BASELINE, DCLS, RESULTS, folder_of, rows_of_table

INDEX = RESULTS / "index.html"
EPOCHS = (0, 1, 2, 4, 8)
EMPTY_CLIP = '{"schema_version": 3, "seed": 0, "clips": [{}]}'
HOSTILE = '<script>alert(1)</script> & "quoted"'
VOID = {"meta", "link", "img", "input", "br"}
PLACES = """
[...document.querySelectorAll("#panels svg")].map((svg) =>
  [...svg.querySelectorAll(".now")].map((one) => [+one.getAttribute("cx"), +one.getAttribute("cy")]))
"""
SECOND_RUN = """
(() => { const run = document.getElementById("run"); run.value = 1; run.dispatchEvent(new Event("change")); })()
"""
VIEWER = """
(() => {
  const viewer = document.getElementById("viewer");
  return [viewer.open, viewer.querySelector("img").style.width, viewer.contains(document.activeElement)];
})()
"""
GREYS = """
(() => {
  const mel = document.querySelector(".mel");
  const { data } = mel.getContext("2d").getImageData(0, 0, mel.width, mel.height);
  return [...data].filter((_, place) => place % 4 === 0);
})()
"""


class Document(HTMLParser):
    """Every element with its attributes, its parents' names and its text, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


@pytest.fixture(scope="module")
def page_params(report_params: Params) -> Params:
    return report_params.model_copy(
        update={"models": (BASELINE, DCLS), "seeds": (0, 1), "linear_baseline_seeds": (0, 1)}
    )


@pytest.fixture(scope="module")
def ready(written: Path, page_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result files of one backbone with figures, trajectories and examples; no page yet."""
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(written, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        compare(page_params)
        tables(page_params)
        draw_figures(page_params)
        for seed in page_params.seeds:
            rows = [
                (epoch, stage, 7 * n, n, stage + 0.5 * n - epoch, -0.25 * epoch * n + seed)
                for epoch in EPOCHS
                for stage in (1, 2)
                for n in range(3)
            ]
            header = ("epoch", "stage", "element", "channel", "row", "column")
            write_csv(folder_of(DCLS, seed) / "training" / "trajectories.csv", header, rows)
        _write_examples()
    return root


def _write_examples() -> None:
    mel = {"bands": 2, "frames": 3, "seconds": 1.28, "low_db": -80.0, "high_db": 20.5}
    mel["values"] = base64.b64encode(bytes([0, 51, 102, 153, 204, 255])).decode()
    predictions = {model: [{"label": HOSTILE, "score": 0.9}, {"label": "class 2", "score": 0.25}] for model in (DCLS,)}
    credits = [{"id": "note", "author": "Somebody", "licence": "MIT", "url": "where"}]
    clip = {"id": "1", "labels": [HOSTILE], "audio": "clip1.flac", "licence": "MIT", "recordings": credits}
    clip |= {"predictions": predictions, "log_mel": mel}
    folder = RESULTS / "examples"
    folder.mkdir(exist_ok=True)
    (folder / "clip1.flac").write_bytes(b"fLaC not really")
    silent = clip | {"id": "2", "labels": ["class 3"], "audio": None, "recordings": []}
    write_json(folder / "examples.json", {"schema_version": SCHEMA_VERSION, "seed": 0, "clips": [clip, silent]})


@pytest.fixture
def here(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_params: Params) -> Path:
    shutil.copytree(ready, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    write_page(page_params)
    return tmp_path


def test_it_is_one_file_that_asks_for_nothing(here: Path, page_params: Params) -> None:
    text = INDEX.read_text()
    assert len(text.encode()) < MOST_BYTES
    document = Document(text)
    for attributes in (attributes for _, attributes, _ in document.elements):
        for name in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(name) is None or str(attributes[name]).startswith(("data:", "#"))
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|https?://(?!www.w3.org/2000/svg)", text)
    policy = next(one["content"] for one in document.all("meta") if one.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; media-src data:;")
    assert not {"link", "iframe", "object", "embed", "form"} & {
        tag for tag, attributes, _ in document.elements if attributes.get("href") != "data:,"
    }
    pictures = [one["src"] for one in document.all("img") if "src" in one]
    assert len(pictures) == len(set(pictures)) == 12
    write_page(page_params)
    assert INDEX.read_text() == text  # the same results, the same bytes


def test_its_structure_serves_keyboards_and_screen_readers(here: Path) -> None:
    document = Document(INDEX.read_text())
    ids = [str(attributes["id"]) for _, attributes, _ in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    tables_ = document.all("table")
    assert len(tables_) == len(document.all("caption")) > 5
    assert all(one.get("scope") in ("col", "row") for one in document.all("th"))
    assert all(one.get("alt") is not None for one in document.all("img"))
    labelled = {one["for"] for one in document.all("label")}
    assert {one["id"] for one in document.all("input", "select")} <= labelled
    for attributes in (attributes for _, attributes, _ in document.elements):
        for name in ("aria-labelledby", "aria-controls", "for"):
            assert set(str(attributes.get(name) or "").split()) <= set(ids)
        if str(attributes.get("href", "")).startswith("#"):
            assert str(attributes["href"])[1:] in ids
        assert int(attributes.get("tabindex") or 0) <= 0
    assert all(one.get("aria-label") for one in document.all("audio", "canvas", "nav"))
    heights = [int(tag[1]) for tag, _, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert heights[0] == 1 and heights.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(heights))
    assert document.all("html")[0]["lang"] == "en" and document.all("main")


def test_it_says_what_the_tables_say(here: Path) -> None:
    text = INDEX.read_text()
    document = Document(text)
    sentence = Path("paper_tables/instruments/answer.txt").read_text().strip()
    assert ("h1", sentence.replace("-", "\u2011")) in document.texts
    assert sentence.startswith("In this small experiment, ") and " DCLS beats the baseline" in sentence
    cells = {text for tag, text in document.texts if tag == "td"}
    row = rows_of_table()[DCLS]
    assert f"{float(row['map_mean']):.2f} ± {float(row['map_sd']):.2f} (n 2)" in cells
    assert f"{float(row['map_difference_mean']):+.2f} ± {float(row['map_difference_sd']):.2f} (n 2)" in cells
    for line in Path("paper_tables/instruments/verdict.md").read_text().splitlines():
        if line.startswith("- ") and "**" not in line:
            assert ("li", line.removeprefix("- ")) in document.texts
    code = json.loads((folder_of(DCLS, 1) / "training" / "run.json").read_text())["code_fingerprint"]
    assert all(one in text for one in (f"runs/{DCLS}-1/training/run.json", "comparison.run.json", f"code {code[:10]}"))
    captions = [text for tag, text in document.texts if tag == "figcaption"]
    index = json.loads((RESULTS / "figures" / "figures.json").read_text())
    assert captions[0].startswith("Test mAP in percent: dot, mean of 2 seeds")
    assert sorted(captions[1:]) == sorted(one["caption"] for one in index if one["name"] != "example_clips")  # in Clips
    assert "Not the paper's experiment" in text.replace("&#39;", "'")
    assert f"--dcls: {theme.DCLS.lower()};" in text


def test_what_is_in_the_files_is_text_to_the_page(here: Path) -> None:
    text = INDEX.read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34;" in text


def test_what_was_not_recorded_is_said(here: Path, page_params: Params) -> None:
    assert "not recorded by this run" not in INDEX.read_text()
    for seed in page_params.seeds:
        (folder_of(DCLS, seed) / "training" / "trajectories.csv").unlink()
    shutil.rmtree(RESULTS / "examples")
    write_page(page_params)
    text = INDEX.read_text()
    assert text.count("not recorded by this run") == 2
    assert "positions-data" not in {one.get("id") for one in Document(text).all("script")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: (RESULTS / "figures" / "learning_curves.png").unlink(),
            r"learning_curves.png: cannot be read .*`figures`",
        ),
        (lambda: (RESULTS / "figures" / "figures.json").unlink(), r"figures.json: missing"),
        (lambda: (RESULTS / "examples" / "clip1.flac").unlink(), r"clip1.flac: cannot be read .*`examples`"),
        (
            lambda: (RESULTS / "examples" / "examples.json").write_text(EMPTY_CLIP),
            r"examples.json: no 'clips.0.id' in it",
        ),
        (
            lambda: (folder_of(DCLS, 1) / "training" / "trajectories.csv").write_text("epoch\n1\n"),
            r"trajectories.csv: no column",
        ),
    ],
)
def test_a_bad_file_is_named(here: Path, page_params: Params, change: Callable[[], object], message: str) -> None:
    change()
    before = INDEX.read_text()
    with pytest.raises(UserError, match=message):
        write_page(page_params)
    assert INDEX.read_text() == before


def test_figures_that_do_not_fit_are_named(here: Path, page_params: Params) -> None:
    shown = len(Document(INDEX.read_text()).all("figure"))
    (RESULTS / "figures" / "learning_curves.png").write_bytes(b"0" * 3_000_000)
    write_page(page_params)
    text = INDEX.read_text()
    assert "Left out to keep this page under 2 MB: <code>figures/learning_curves.png</code>" in text
    assert text.count("Left out to keep") == 1 and len(Document(text).all("figure")) == shown
    assert len(text) < MOST_BYTES


@pytest.fixture
def opened(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if find_chromium() is None or find_driver() is None:
        pytest.skip("no chromium or chromedriver here: the page's structure is tested, not what it does in a browser")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.emulate(1280, 900)
        tab.open(INDEX)
        yield tab
        assert tab.console_messages() == []
        assert {url for url in tab.requested() if not url.startswith("data:")} == {INDEX.resolve().as_uri()}


def _column(tab: Tab, table: str, column: int) -> list[str]:
    found: list[str] = tab.evaluate(
        f"[...document.querySelector({json.dumps(table)}).tBodies[0].rows].filter((row) => !row.hidden)"
        f".map((row) => row.cells[{column}].textContent)"
    )
    return found


@pytest.mark.browser
def test_cells_sort_by_the_number_that_they_show(opened: Tab) -> None:
    texts = ["-9.45 ± 1.25 (n 2)", "26.8M / 25.8M", "(768 + 1) x 527 = 405,263", "+1.5 to +2", "-", "none"]
    assert opened.evaluate(f"{json.dumps(texts)}.map(numberIn)") == [-9.45, 26.8, 405263, 1.5, None, None]


@pytest.mark.browser
def test_sorting_sorts(opened: Tab) -> None:
    """By keyboard: the head of a column of numbers sorts down first, then up; of words up first."""
    for table, column in (("#table1-1", 3), ("#class-table", 2)):
        focus = f"document.querySelectorAll('{table} thead button')[{column}]"
        opened.evaluate(f"document.querySelector('{table}').tHead.rows[0].cells[{column}].firstElementChild.focus()")
        for state, down in (("descending", True), ("ascending", False)):
            opened.press("Enter")
            numbers = [float(text.split(" ")[0]) for text in _column(opened, table, column) if text != "-"]
            assert len(numbers) > 3 and numbers == sorted(numbers, reverse=down), focus
            states = opened.evaluate(
                f"[...document.querySelector('{table}').tHead.rows[0].cells].map((th) => th.ariaSort)"
            )
            assert states[column] == state and set(states) == {state, "none"}
    opened.evaluate("document.querySelector('#class-table thead button').click()")
    names = _column(opened, "#class-table", 0)
    assert names == sorted(names) and len(names) == 10
    before = _column(opened, "#table1-1", 5)
    opened.evaluate("document.querySelectorAll('#table1-1 thead button')[5].click()")
    assert _column(opened, "#table1-1", 5)[-2:] == ["-", "-"] and len(before) == 4  # without a number: last


@pytest.mark.browser
def test_the_slider_moves_the_points(opened: Tab) -> None:
    shown = "document.getElementById('epoch-shown').textContent"
    assert opened.evaluate(shown) == "epoch 8"
    opened.evaluate("document.getElementById('epoch').focus()")
    opened.press("Home")
    for step, epoch in enumerate(EPOCHS):
        if step:
            opened.press("ArrowRight")
        assert opened.evaluate(shown) == f"epoch {epoch}"
        assert opened.evaluate("document.getElementById('epoch').getAttribute('aria-valuetext')") == f"epoch {epoch}"
        panels = opened.evaluate(PLACES)
        assert [len(panel) for panel in panels] == [3, 3]
        for stage, panel in enumerate(panels, start=1):  # time to the right, frequency upwards
            wanted = [[-0.25 * epoch * n, -(stage + 0.5 * n - epoch)] for n in range(3)]
            assert panel == wanted
    label = opened.evaluate("document.querySelector('#panels svg').getAttribute('aria-label')")
    assert re.fullmatch(r"Stage 1: 3 elements, 8\.\d\d cells from their start on average, at epoch 8", label)
    opened.evaluate(SECOND_RUN)
    assert opened.evaluate(PLACES)[0][0] == [1, 7]  # the other seed is one cell to the right


@pytest.mark.browser
def test_search_zoom_and_clips(opened: Tab) -> None:
    opened.evaluate("document.getElementById('search').focus()")
    opened.press("7")
    assert _column(opened, "#class-table", 0) == ["class 7"]
    assert opened.evaluate("document.getElementById('found').textContent") == "1 class"
    opened.evaluate("document.querySelector('#figures .zoom').focus()")
    opened.press("Enter")
    assert opened.evaluate(VIEWER) == [True, "100%", True]
    opened.press("+")
    assert opened.evaluate(VIEWER) == [True, "150%", True]
    opened.press("Escape")
    assert opened.evaluate(VIEWER)[0] is False
    assert opened.evaluate("document.activeElement.className") == "zoom"  # back where it was
    assert opened.evaluate(GREYS) == [102, 51, 0, 255, 204, 153]  # the lowest band is the lowest line
    assert opened.evaluate("document.querySelectorAll('audio').length") == 1


@pytest.mark.browser
def test_it_fits_phones_dark_rooms_and_paper(opened: Tab, tmp_path: Path) -> None:
    backgrounds = []
    for width, dark, phone, paper in ((390, False, True, False), (1280, True, False, False), (800, False, False, True)):
        opened.emulate(width, 844, dark=dark, phone=phone, print_=paper)
        opened.open(INDEX)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width or paper
        backgrounds.append(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
        opened.screenshot(tmp_path / f"{width}.png")
        assert (tmp_path / f"{width}.png").stat().st_size > 10_000
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(18, 22, 27)", "rgb(255, 255, 255)"]
    assert opened.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")


@pytest.mark.parametrize("preset", ["esc10", "instruments", "study"])
def test_pages_of_committed_results_are_small(committed: Path, preset: str) -> None:
    size = (committed / "results" / preset / "index.html").stat().st_size
    assert 100_000 < size < MOST_BYTES


def test_a_page_of_a_folder_needs_no_parameters(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = INDEX.read_text()
    INDEX.unlink()
    shutil.rmtree("predictions")
    shutil.rmtree(RESULTS / "runs" / "linear_baseline-2")  # of a seed that the parameters do not ask for
    monkeypatch.setattr("sys.argv", ["harness", "page", "--from", str(RESULTS)])
    assert not Path("params.yaml").exists() and cli.main() == 0
    assert INDEX.read_text() == before
