"""The report as a person meets it: in a browser, without a network, by mouse, keyboard and screen reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser
from image_pca.report import render
from samples import HOSTILE, clusters
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

MARKS = "#scatter .mark, #scatter .print"
FAR = "#scatter .mark:not(.faded), #scatter .print"
RUNS: dict[str, dict[str, Any]] = {
    "usual": {},
    "two rows": {"n": 2, "k": 2, "labels": 2},
    "one component": {"n": 60, "k": 1, "labels": 3},
    "one label": {"labels": 1},
    "131 labels": {"n": 796, "k": 50, "labels": 131, "pictures": 300},
    "no pictures": {"pictures": 0},
    "nothing rejected": {"rejected": []},
    "many components": {"n": 500, "k": 400, "labels": 4},
    "many rows": {"n": 6000, "k": 6, "labels": 40, "pictures": 300},
}


def keys(browser: Browser, *pressed: str) -> None:
    actions = ActionChains(browser.driver)
    for key in pressed:
        actions.send_keys(key)
    actions.perform()
    settle(browser)


def settle(browser: Browser) -> None:
    """Wait for the frame that the page draws after a change."""
    browser.driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
    )


def click(browser: Browser, selector: str) -> None:
    browser.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector)
    browser.driver.find_element(By.CSS_SELECTOR, selector).click()
    settle(browser)


def test_an_outlier_and_a_neighbour_lead_to_their_places_in_the_map(browser: Browser) -> None:
    browser.open(render(clusters()), 1440)
    for part in ("#alike .outliers .tile", "#alike .near .tile"):
        click(browser, part)
        key = browser.run("return document.querySelector(arguments[0] + ' .for-readers').textContent", part)
        assert str(key).partition(",")[0] in str(browser.run("return document.querySelector('#map-live').textContent"))
        assert browser.complaints() == []


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("width", "dark"), [(360, False), (768, True), (1440, False)])
def test_every_run_fits_every_window_and_asks_for_nothing(browser: Browser, name: str, width: int, dark: bool) -> None:
    browser.open(render(clusters(**RUNS[name])), width, dark=dark)
    settle(browser)
    assert browser.requests() == [browser.page]
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.count(MARKS) == min(2500, int(RUNS[name].get("n", 300)))
    tall = browser.run("return document.querySelector('#scatter svg').getBoundingClientRect().height")
    assert 250 <= float(str(tall)) <= 900
    cut = browser.run(
        """const area = document.querySelector('#scatter').getBoundingClientRect();
        return [...document.querySelectorAll('#scatter text')].filter((text) => {
          const box = text.getBoundingClientRect();
          return box.left < area.left - 12 || box.right > area.right + 12 || box.bottom > area.bottom + 2;
        }).map((text) => text.textContent)"""
    )
    assert cut == []


@pytest.mark.parametrize(("name", "dark"), [("usual", False), ("131 labels", True), ("one component", False)])
def test_axe_finds_nothing(browser: Browser, axe: Callable[[Browser], list[str]], name: str, dark: bool) -> None:
    few = {**RUNS[name], "n": 140, "pictures": 40}  # axe takes its time for each element
    browser.open(render(clusters(**few)), dark=dark)
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    settle(browser)
    assert axe(browser) == []


def test_names_are_inert(browser: Browser) -> None:
    lost = [{"key": key, "label": key, "stage": key, "reason": key, "bytes": 1} for key in HOSTILE]
    rows = [(key + str(i), key) for i in range(4) for key in HOSTILE]
    data = clusters(
        len(rows), 4, 4, 20, rows=rows, rejected=lost, title=HOSTILE[0], run_id=HOSTILE[1], settings={HOSTILE[0]: HOSTILE[1]}
    )
    browser.open(render(data))
    click(browser, "#points summary")
    assert "line\\nfeed" in browser.text("#points-table")
    click(browser, "#legend li:nth-child(2) button")
    browser.run("document.querySelector('#scatter').focus()")
    keys(browser, Keys.HOME, *[Keys.ARROW_RIGHT] * 6)
    assert browser.run("return window.hacked") is None
    assert browser.count("script") == 2
    assert browser.count("main img[src='x']") == 0
    assert browser.requests() == [browser.page]
    assert browser.complaints() == []
    shown = browser.text("#rejected table")
    assert HOSTILE[0] in shown
    assert "line\\nfeed" in shown
    assert "U+202Egpj.exe" in shown
    assert "\U0001f34e apple.png" in shown
    assert "\\xff\\x80.png" in shown


def test_keyboard_walks_from_image_to_image(browser: Browser) -> None:
    browser.open(render(clusters()))
    for _ in range(30):
        keys(browser, Keys.TAB)
        if browser.run("return document.activeElement.id") == "scatter":
            break
    else:
        pytest.fail("the map is not reached with the Tab key")
    first = browser.text("#map-live")
    assert ".jpg, label kind" in first
    heard = {first}
    keys(browser, Keys.HOME)
    for _ in range(8):
        keys(browser, Keys.ARROW_RIGHT)
        heard.add(browser.text("#map-live"))
    assert len(heard) == 9
    assert browser.text(".tip").startswith("kind ")
    assert browser.text(".tip .tip-key") in browser.text("#map-live")
    keys(browser, "+", "+")
    assert browser.count("#scatter.zoomed") == 1
    assert browser.run(
        "const a = document.querySelector('#scatter .paper').getBoundingClientRect(), b = document.querySelector('.cursor rect')"
        ".getBoundingClientRect(); return b.left > a.left - 40 && b.right < a.right + 40"
    )
    keys(browser, "0", Keys.ESCAPE)
    assert browser.count("#scatter.zoomed") == 0
    assert browser.count(".tip:not([hidden])") == 0
    keys(browser, Keys.TAB)
    assert browser.run("return document.activeElement.id") != "scatter"


def test_every_image_is_reached_by_arrows_or_table(browser: Browser) -> None:
    browser.open(render(clusters(90, 3, 3, 10)))
    click(browser, "#points summary")
    listed: set[str] = set()
    for _ in range(4):
        listed |= set(browser.text("#points-table tbody").split("\n"))
        browser.run("document.querySelector('#points-after').click()")
    assert sum(any(f"/{i:04d}.jpg" in line for line in listed) for i in range(90)) == 90


def test_labels_filter_map_and_table(browser: Browser) -> None:
    browser.open(render(clusters(300, 4, 6, 0)))
    click(browser, "#legend li:nth-child(3) button")
    assert browser.count(FAR) == 50
    assert browser.count(".mark.faded") == 250
    assert browser.run("return document.querySelector('#legend li:nth-child(3) button').getAttribute('aria-pressed')") == "true"
    assert browser.text("#map-live").startswith("50 images of kind 2")
    click(browser, "#legend li:nth-child(1) button")
    assert browser.count(FAR) == 100
    click(browser, "#points summary")
    assert browser.text("#points-count").endswith("of 100")
    click(browser, "#legend-all")
    assert browser.count(FAR) == 300


def test_a_label_is_found_among_many(browser: Browser) -> None:
    browser.open(render(clusters(**RUNS["131 labels"])))
    browser.driver.find_element(By.CSS_SELECTOR, "#legend-find input").send_keys("KIND 77")
    assert browser.text("#legend").split("\n")[0] == "kind 77"
    assert browser.count("#legend li:not([hidden])") == 1
    click(browser, "#legend li:not([hidden]) button")
    assert browser.count("#scatter .picked, #scatter .mark:not(.faded), #scatter .print") >= 6


def test_axes_can_be_any_two(browser: Browser) -> None:
    browser.open(render(clusters(80, 6, 3, 0)))
    where = "return [...document.querySelectorAll('#scatter path.mark')].map((mark) => mark.getAttribute('transform')).join()"
    before = browser.run(where)
    share = browser.text("#map-share")
    Select(browser.driver.find_element(By.ID, "axis-x")).select_by_index(3)
    settle(browser)
    assert browser.run(where) != before
    assert "of the variance" in share
    assert browser.text("#map-share") != share
    assert "PC4" in browser.text("#scatter svg") or "PC4" in str(
        browser.run("return document.querySelector('#scatter').textContent")
    )
    Select(browser.driver.find_element(By.ID, "axis-y")).select_by_index(3)
    assert Select(browser.driver.find_element(By.ID, "axis-x")).first_selected_option.text.startswith("PC2")


def test_mouse_shows_zooms_and_moves(browser: Browser) -> None:
    browser.open(render(clusters(n=60, pictures=60)))
    browser.run("document.querySelector('#scatter').scrollIntoView({block: 'center', behavior: 'instant'})")
    picture = browser.driver.find_element(By.CSS_SELECTOR, "#scatter .print")
    ActionChains(browser.driver).move_to_element(picture).perform()
    settle(browser)
    assert browser.count(".tip:not([hidden]) img") == 1
    shown = browser.count("#scatter .print")
    ActionChains(browser.driver).double_click(picture).perform()
    settle(browser)
    assert browser.count("#scatter.zoomed") == 1
    width = "return document.querySelector('#scatter .print rect').width.baseVal.value"
    grown = float(str(browser.run(width)))
    where = "return [...document.querySelectorAll('.grid text')].map((t) => t.getAttribute('x')).join()"
    before = browser.run(where)
    field = browser.driver.find_element(By.CSS_SELECTOR, "#scatter svg")
    ActionChains(browser.driver).move_to_element(field).click_and_hold().move_by_offset(60, 30).release().perform()
    settle(browser)
    assert browser.run(where) != before
    click(browser, "#zoom-all")
    assert float(str(browser.run(width))) < grown
    assert browser.count("#scatter .print") == shown
    click(browser, "#marks label:last-child")
    assert browser.count("#scatter .print") == 0


def test_picture_of_a_strip_leads_to_its_mark(browser: Browser) -> None:
    browser.open(render(clusters()))
    click(browser, "#ends .strip:nth-of-type(4) .high li:last-child button")
    assert browser.run("return document.activeElement.id") == "scatter"
    assert Select(browser.driver.find_element(By.ID, "axis-x")).first_selected_option.text.startswith("PC4")
    assert browser.text(".tip .tip-key") in browser.text("#map-live")


def test_pictures_are_there(browser: Browser) -> None:
    browser.open(render(clusters(pictures=80)))
    WebDriverWait(browser.driver, 5).until(lambda _: browser.run("return [...document.images].every((image) => image.complete)"))
    assert browser.count("#ends img") == 6 * 12
    assert browser.count("#alike .outliers img") == 12
    assert browser.run("return [...document.images].every((image) => image.naturalWidth > 0)")


def test_rejected_are_sorted_by_a_click(browser: Browser) -> None:
    browser.open(render(clusters()))
    click(browser, "#rejected th:last-child button")
    assert browser.text("#rejected tbody tr td").endswith("empty.png")
    assert browser.run("return document.querySelector('#rejected th:last-child').getAttribute('aria-sort')") == "ascending"
    click(browser, "#rejected th:last-child button")
    assert browser.text("#rejected tbody tr td").endswith("bomb.png")


def test_variance_is_read_by_keyboard(browser: Browser) -> None:
    browser.open(render(clusters()))
    browser.run("document.querySelector('#variance-chart').focus()")
    keys(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.text("#variance-live").startswith("PC2: ")
    keys(browser, Keys.END)
    assert "96.00 % together" in browser.text("#variance-live")


def test_without_script_the_tables_are_there(browser: Browser) -> None:
    browser.open(render(clusters()), script=False)
    shown = browser.driver.find_element(By.TAG_NAME, "body").text
    assert "need JavaScript" in shown
    assert "303 images listed" in shown
    assert "image file is truncated" in shown
    assert "Zoom" not in shown
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_prints_on_paper(browser: Browser, tmp_path: Path) -> None:
    browser.open(render(clusters(**RUNS["131 labels"])), dark=True)
    settle(browser)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = browser.driver.execute_cdp_cmd(
        "Page.printToPDF", {"preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.69}
    )
    assert len(printed["data"]) > 20_000
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("return [...document.querySelectorAll('.counts li')].every((item) => item.offsetHeight > 0)")
