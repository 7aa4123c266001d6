"""Chromium without a window: a page, what it shows and what it asks for."""

from __future__ import annotations

import json
from pathlib import Path

from selenium import webdriver

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """A page in Chromium: what it shows, what it asked the network for and what it complained of."""

    def __init__(self, driver: webdriver.Chrome, folder: Path) -> None:
        self.driver = driver
        self._folder = folder
        self._pages = 0

    def open(self, html: str, width: int = 1200, height: int = 900, *, dark: bool = False, script: bool = True) -> None:
        """Load `html` from a file of its own in a window of this size (CSS pixels)."""
        self._pages += 1
        path = self._folder / f"{self._pages}.html"
        path.write_text(html, encoding="utf-8")
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": scheme})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.requests(), self.complaints()
        self.driver.get(path.as_uri())
        self.page = path.as_uri()

    def run(self, script: str, *arguments: object) -> object:
        """Return what `script` returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """Return the text of the first element that fits."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def count(self, selector: str) -> int:
        """Return how many elements fit."""
        return int(str(self.run("return document.querySelectorAll(arguments[0]).length", selector)))

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call, other than data in the page."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith("data:")]

    def complaints(self) -> list[str]:
        """Return what the browser's console said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
