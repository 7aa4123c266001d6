"""A headless browser for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from chromium import FLAGS, Browser
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome, tmp_path: Path) -> Browser:
    return Browser(driver, tmp_path)


@pytest.fixture(scope="session")
def axe() -> Callable[[Browser], list[str]]:
    """Return a function that says what axe-core finds wrong on the page."""
    source = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")

    def check(browser: Browser) -> list[str]:
        browser.run(source)
        found = browser.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then((result) => done(result.violations.map("
            "(rule) => rule.id + ': ' + rule.nodes.map((node) => node.target + ' ' + node.failureSummary).join('; '))))"
        )
        return [str(item) for item in found]

    return check
