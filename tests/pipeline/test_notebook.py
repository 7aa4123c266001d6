"""The notebook is clean and runs on every stack's Python; its figures show every image and never become markup."""

from __future__ import annotations

import ast
import contextlib
import io
from html.parser import HTMLParser
from typing import Any

import nbformat
import numpy as np
import pytest
from core_support import PIPELINE
from image_pca.notebook import Page, Screen, scatter, variance
from image_pca.progress import Progress

NOTEBOOK = PIPELINE / "image_pca.ipynb"
OLDEST = (3, 8)


@pytest.fixture(scope="module")
def notebook() -> Any:
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    return found


def test_the_committed_notebook_holds_no_outputs_and_opens_with_the_kernel_of_the_host(notebook: Any) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert notebook.metadata.kernelspec.name == "python3"


def test_every_cell_is_python_of_the_oldest_stack(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source, filename=cell.id, feature_version=OLDEST)


class Tags(HTMLParser):
    """The tags of a document, and the text of its titles."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["title"]:
            self.titles.append(data)


def test_the_map_has_a_dot_with_its_name_for_every_image() -> None:
    rows = [(f"images/{number % 10}/{number}.png", str(number % 10)) for number in range(40)]
    page = Tags(scatter(rows, np.random.default_rng(0).normal(size=(40, 3)), [0.5, 0.3, 0.1])._repr_html_())
    assert [title for title in page.titles if title.startswith("images/")] == [f"{key} ({label})" for key, label in rows]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><b>', "two\nlines \x00", "'&amp;"])
def test_names_never_become_markup(name: str) -> None:
    page = Tags(scatter([(name, name), ("b", "c")], np.eye(2), [0.6, 0.4])._repr_html_())
    assert set(page.tags) == {"svg", "title", "path", "text", "circle"}


def test_one_component_and_no_image_are_drawn_too() -> None:
    assert "component 1 (100.0%)" in scatter([("a", ""), ("b", "")], np.array([[0.0], [1.0]]), [1.0])._repr_html_()
    assert "<circle" not in scatter([], np.zeros((0, 2)), [])._repr_html_()


def test_the_variance_has_a_bar_for_each_component() -> None:
    assert Tags(variance([0.5, 0.25, 0.125])._repr_html_()).titles[1:] == [
        "component 1: 50.0%; together 50.0%",
        "component 2: 25.0%; together 75.0%",
        "component 3: 12.5%; together 87.5%",
    ]


def test_a_page_stays_in_its_frame() -> None:
    shown = Page(b'<!DOCTYPE html><p class="a">1 &lt; 2</p>')._repr_html_()
    assert Tags(shown).tags == ["iframe"]


def test_progress_in_a_cell_is_one_line_that_moves() -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        progress = Progress(screen=Screen())  # type: ignore[arg-type]
        with progress.stage("features"):
            progress.update(5, 10, force=True)
    *moving, last = output.getvalue().split("\r")[1:]
    assert "\x1b" not in output.getvalue() and last.startswith("features: ") and last.endswith("\n")
    assert any("5 of 10" in line for line in moving) and len({len(line) for line in [*moving, last.rstrip(chr(10))]}) == 1
