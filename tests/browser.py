"""A headless Chromium for the page's tests, driven by selenium through Debian's chromedriver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.keys import Keys

from harness.report.readme import BROWSERS

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
)
KEYS = {"Enter": Keys.ENTER, "Escape": Keys.ESCAPE, "Home": Keys.HOME, "ArrowRight": Keys.ARROW_RIGHT}


def find_chromium() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def find_driver() -> str | None:
    return shutil.which("chromedriver")


class Tab:
    """What the tests do in a tab, and what they look at afterwards."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get(path.resolve().as_uri())

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression."""
        return self.driver.execute_script(f"return ({expression.strip().rstrip(';')});")

    def press(self, key: str) -> None:
        """Send a key to whatever has the focus."""
        ActionChains(self.driver).send_keys(KEYS.get(key, key)).perform()

    def emulate(self, width: int, height: int, dark: bool = False, phone: bool = False, print_: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = {"media": "print" if print_ else "screen", "features": [scheme]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(self.driver.get_screenshot_as_png())

    def console_messages(self) -> list[str]:
        """Errors and warnings of the console, exceptions among them."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requested(self) -> set[str]:
        """The addresses that the tab asked for, but for those of the browser's own first page."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = {one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"}
        return {url for url in urls if not url.startswith(("chrome:", "chrome-untrusted:"))}


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A tab of a new Chromium, which keeps its files in `profile` and ends with the block."""
    options = ChromeOptions()
    options.binary_location = str(find_chromium())
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(str(find_driver())))
    try:
        yield Tab(driver)
    finally:
        driver.quit()
