"""What the report says, read from its text; tests/browser looks at it as a person does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from image_pca import report, report_figures, report_text
from image_pca.report import ReportData, pick_thumbnails, render

JPEG = b"\xff\xd8\xff\xe0" + bytes(500)
HOSTILE = [
    "images/a/</script><script>alert(1)</script>.jpg",
    "images/a/<img src=x onerror=alert(1)>.jpg",
    "images/a/line\nfeed & \"quotes\" 'both'.jpg",
    "images/a/\u202egpj.exe",
    "images/a/family \U0001f468\u200d\U0001f469\u200d\U0001f467.png",
    "images/a/bytes \udcff\udc80.png",
    " images/a/ two  spaces ",
    "images/a/{{ 7 * 7 }}{% raw %}.png",
]


class Page(HTMLParser):
    """The page as its parts: text, scripts, attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, Any], str]] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[str] = []
        self._open = ""
        self.feed(text)
        self.data = json.loads(self.scripts[0][1], parse_constant=pytest.fail)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts.append((self.tags[-1][1], data))
        elif self._open != "style":
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def make(n: int = 40, k: int = 5, labels: int = 3, **more: Any) -> ReportData:
    random = np.random.default_rng(n + k)
    scores = random.normal(size=(n, k)) * np.arange(k, 0, -1)
    ratio = np.arange(k, 0, -1) / (k * (k + 1) / 2) * 0.9
    rows = [(f"images/{i % labels}/{i}.jpg", f"label {i % labels}") for i in range(n)]
    values: dict[str, Any] = {"run_id": "run-1", "title": "s3://bucket/images/", "rows": rows, "scores": scores}
    return ReportData(**{**values, "explained_variance_ratio": ratio, **more})


def test_header_accounts_for_every_image() -> None:
    lost = [{"key": f"images/x/{i}", "label": "x", "stage": "decode", "reason": "broken", "bytes": 7} for i in range(6)]
    page = Page(render(make(790, rejected=lost, accounting={"listed": 796, "rows": 790, "rejected": 6})))
    assert "796 images listed = equals 790 rows + plus 6 rejected" in page.text
    assert "do not add up" not in page.text


@pytest.mark.parametrize("accounting", [{"listed": 41, "rows": 40, "rejected": 0}, {"listed": 41, "rows": 40, "rejected": 1}])
def test_accounting_that_does_not_add_up_is_said_aloud(accounting: dict[str, int]) -> None:
    assert "These numbers do not add up." in Page(render(make(accounting=accounting))).text


def test_hostile_names_stay_text() -> None:
    lost = [{"key": key, "label": key, "stage": key, "reason": key, "bytes": 1} for key in HOSTILE]
    rows = [(key, key) for key in HOSTILE]
    data = make(len(HOSTILE), rows=rows, rejected=lost, title=HOSTILE[0], run_id=HOSTILE[1])
    text = render(data)
    page = Page(text)
    assert len(page.scripts) == 2
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert [tag for tag, _ in page.tags].count("img") == 0
    assert page.data["keys"] == HOSTILE
    assert "{{ 7 * 7 }}{% raw %}" in page.text
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", "a<ctl>\\n</ctl>b"),
        ("\u202ex", "<ctl>U+202E</ctl>x"),
        ("\udcff", "<ctl>\\xff</ctl>"),
        (" a  b ", "<ctl>\u2423</ctl>a <ctl>\u2423</ctl>b<ctl>\u2423</ctl>"),
        ("a\u00a0b\u200bc", "a<ctl>U+00A0</ctl>b<ctl>U+200B</ctl>c"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("<&>", "&lt;&amp;&gt;"),
        ("Äpfel/شجرة", "Äpfel/شجرة"),
    ],
)
def test_nothing_in_a_name_is_invisible(name: str, shown: str) -> None:
    html = str(report_text.visible(name)).replace('<span class="ctl">', "<ctl>").replace("</span>", "</ctl>")
    assert html == f"<bdi>{shown}</bdi>"


def test_policy_allows_this_script_and_no_request() -> None:
    text = render(make(thumbnails={"images/0/0.jpg": JPEG}))
    policy = next(attrs["content"] for tag, attrs in Page(text).tags if attrs.get("http-equiv"))
    script = Page(text).scripts[1][1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']""", text.split("<script")[0])
    assert "style=" not in text.split("<script")[0]


def test_numbers_that_json_cannot_say_are_left_out() -> None:
    scores = make(6, 2).scores.copy()
    scores[2, 0], scores[3, 1] = np.nan, np.inf
    page = Page(render(make(6, 2, scores=scores, explained_variance_ratio=np.array([np.nan, np.nan]))))
    assert page.data["scores"][0][2] is None
    assert page.data["scores"][1][3] is None
    assert page.data["ratio"] == [None, None]


@pytest.mark.parametrize(
    ("n", "k", "labels"), [(2, 1, 1), (2, 2, 2), (3, 1, 3), (40, 1, 1), (300, 50, 131), (1, 1, 1), (0, 0, 1)]
)
def test_small_and_odd_runs_have_a_report(n: int, k: int, labels: int) -> None:
    page = Page(render(make(n, k, labels)))
    assert len(page.data["keys"]) == n
    assert len(page.data["labels"]) == min(n, labels)


def test_equal_images_have_a_report() -> None:
    text = render(make(4, 2, scores=np.zeros((4, 2)), explained_variance_ratio=np.full(2, np.nan)))
    assert "All scores are equal." in Page(text).text


def test_sample_is_said_and_counts_stay_whole() -> None:
    data = make(6000, 3, 131)
    wanted = pick_thumbnails(data.rows, data.scores, 300)
    text = render(make(6000, 3, 131, thumbnails=dict.fromkeys(wanted, JPEG)))
    page = Page(text)
    assert "2,500 of 6,000 rows are drawn" in page.text
    assert len(page.data["keys"]) == report.DRAWN_POINTS
    assert set(wanted) <= set(page.data["keys"])
    assert sum(label["rows"] for label in page.data["labels"]) == 6000
    drawn = np.bincount(page.data["label"], minlength=131)
    assert drawn.min() >= 0.5 * 2500 / 131


def test_file_stays_small_with_many_pictures() -> None:
    data = make(800)
    wanted = pick_thumbnails(data.rows, data.scores, 300)
    for size in (9_000, 60_000):
        pictures = {key: b"\xff\xd8\xff" + bytes(size) for key in wanted}
        page = render(make(800, thumbnails=pictures))
        assert len(page.encode()) < 5_000_000
        assert Page(page).data["pictures"]


def test_only_pictures_become_pictures() -> None:
    good = "data:image/png;base64,iVBORw0KGgo="
    odd = {"images/0/0.jpg": "javascript:alert(1)", "images/1/1.jpg": b"<svg onload=alert(1)>", "images/2/2.jpg": good}
    odd["images/0/3.jpg"] = "data:image/svg+xml;base64,PHN2Zz4="
    odd["images/1/4.jpg"] = good.encode()
    assert Page(render(make(thumbnails=odd))).data["pictures"] == [good, good]


def test_secrets_in_settings_are_not_shown() -> None:
    text = render(make(settings={"aws_secret_access_key": "hush-hush", "session_token": "hush-hush", "components": 50}))
    assert "hush-hush" not in text


def test_thumbnails_are_the_ends_then_all_labels_then_an_even_spread() -> None:
    data = make(2000, 8, 60)
    keys = pick_thumbnails(data.rows, data.scores, 300)
    assert len(keys) == len(set(keys)) == 300
    assert keys == pick_thumbnails(data.rows, data.scores, 300)
    number = {key: index for index, (key, _) in enumerate(data.rows)}
    for component in range(report_figures.STRIPS):
        order = np.argsort(data.scores[:, component])
        outer = {int(i) for i in [*order[:6], *order[-6:]]}
        assert outer <= {number[key] for key in keys[:72]}
    assert {data.rows[number[key]][1] for key in keys} == {label for _, label in data.rows}
    plane = data.scores[[number[key] for key in keys], :2]
    everyone = data.scores[:, :2]
    gap = max(np.linalg.norm(plane - row, axis=1).min() for row in everyone)
    blind = np.random.default_rng(0).choice(2000, 300, replace=False)
    assert gap < 0.6 * max(np.linalg.norm(everyone[blind] - row, axis=1).min() for row in everyone)


@pytest.mark.parametrize("limit", [0, 1, 5, 39, 40, 1000])
def test_thumbnails_keep_the_limit(limit: int) -> None:
    data = make(40, 2, 7)
    keys = pick_thumbnails(data.rows, data.scores, limit)
    assert len(keys) == len(set(keys)) == min(limit, 40)


def test_thumbnails_of_many_rows_are_quick_to_pick() -> None:
    data = make(100_000, 6, 131)
    assert len(pick_thumbnails(data.rows, data.scores, 300)) == 300


def test_shares_name_the_components_they_need() -> None:
    ratio = np.array([0.5, 0.3, 0.1, 0.04])
    page = Page(render(make(10, 4, explained_variance_ratio=ratio)))
    assert "2 components for 80" in page.text
    assert "3 components for 90" in page.text
    assert "more than 4 components for 95" in page.text


def test_end_strips_never_show_a_row_twice() -> None:
    for n in (1, 2, 3, 5, 11, 12, 13):
        low, high = report_figures.ends(make(n, 1).scores, 0)
        assert len(low) == len(high) == min(6, n // 2)
        assert not set(low) & set(high)


def test_rows_and_scores_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 3 rows"):
        render(make(4, 2, rows=[("a", "b")] * 3))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (0.004, "0.004 s"),
        (38.6, "39 s"),
        (59.7, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3840, "1 h 04 min"),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert report_text.duration(seconds) == words
