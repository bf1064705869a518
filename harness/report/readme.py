"""Writes what README.md shows of the committed results anew: `python -m harness.report.readme`, after `make repro`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from harness.base import paths
from harness.base.errors import UserError
from harness.base.files import read_text, sha256_of, write_atomic, write_text
from harness.report.show import lead, shown

README, SCREENSHOT = Path("README.md"), Path("docs/page.png")
PRESET = "instruments"  # whose results the README shows
SOURCE = "page_sha256"  # in the screenshot: of which page it is
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = "1280,900"
LEAD = re.compile(r"(?<=<!-- answer -->\n\n).*?(?=\n\n<!-- end of answer -->)", re.DOTALL)
TABLE = re.compile(r"(?<=<!-- table -->\n\n).*?(?=\n\n<!-- end of table -->)", re.DOTALL)
SHOWN = re.compile(r"^ +mAP % .*?^page    [^\n]*$", re.DOTALL | re.MULTILINE)


def renewed(text: str, preset: str) -> str:
    """The README with the answer, the table and the output of `show` that `tables` wrote last.

    Raises UserError where the places are not there, or `tables` has not run.
    """
    page = read_text(paths.tables(preset) / "table1.md")
    table = page[page.index("\n| ") + 1 :].partition("\n\n")[0]  # the first one
    first = lead(preset)
    answer = f"**{first.sentence}**\n\n![What was found, preset {first.preset}]({first.picture.as_posix()})"
    for place, new in ((LEAD, answer), (TABLE, table), (SHOWN, shown(preset))):
        if len(place.findall(text)) != 1:
            raise UserError(f"{README}: has no single place for {new.splitlines()[0][:40]!r}; restore it from Git")
        text = place.sub(lambda _, new=new: new, text)  # type: ignore[misc]
    return text


def take_screenshot(page: Path, target: Path) -> None:
    """The top of the page as a PNG that holds the page's SHA-256.

    Raises UserError where there is no Chromium, or no page.
    """
    if not page.is_file():
        raise UserError(f"{page}: missing; run the stage that writes it (`dvc repro` runs all)")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise UserError(f"{target}: needs one of {', '.join(BROWSERS)} to be taken; install one")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}"]
        command = [browser, *flags, f"--window-size={SIZE}", f"--screenshot={picture}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if not picture.is_file():
            raise UserError(f"{page}: no screenshot of it could be taken: {done.stderr[-300:]}")
        about = PngInfo()
        about.add_text(SOURCE, sha256_of(page))
        with Image.open(picture) as image:
            # rare hues, such as those of the systems, count too
            small = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            write_atomic(target, lambda file: small.save(file, format="PNG", pnginfo=about, optimize=True))


def main() -> int:
    try:
        text = renewed(read_text(README), PRESET)
        take_screenshot(paths.results(PRESET) / "index.html", SCREENSHOT)
        write_text(README, text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{README}, {SCREENSHOT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
