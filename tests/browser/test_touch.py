"""The report under fingers."""

from __future__ import annotations

from chromium import Browser
from image_pca.report import render
from samples import clusters
from test_page import settle


def touch(browser: Browser, kind: str, *points: tuple[float, float]) -> None:
    fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_fingers_tap_and_pinch(browser: Browser) -> None:
    browser.open(render(clusters(n=60, pictures=60)), 400)
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    browser.run("document.querySelector('#scatter').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = browser.run(
        "const b = document.querySelector('#scatter .print rect').getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2]"
    )
    assert isinstance(box, list)
    x, y = float(box[0]), float(box[1])
    touch(browser, "touchStart", (x, y))
    touch(browser, "touchEnd")
    settle(browser)
    assert browser.count(".tip:not([hidden]) img") == 1
    touch(browser, "touchStart", (180, 400), (220, 400))
    for apart in (30, 50, 70, 90):
        touch(browser, "touchMove", (200 - apart, 400), (200 + apart, 400))
    touch(browser, "touchEnd")
    settle(browser)
    assert browser.count("#scatter.zoomed") == 1
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
