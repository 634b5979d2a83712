"""The pages of the documentation that come from the code are those of this code, and the site lists all pages."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def pages():
    """The program that writes the pages."""
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / ".ci" / "docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["parameters", "reference"])
def test_a_generated_page_is_of_this_code(name, pages):
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == getattr(pages, name)(), "make docs"


def test_every_page_is_in_the_list_of_the_site():
    listed = set(re.findall(r"[a-z-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.name for path in DOCS.glob("*.md")}


def test_every_test_that_the_page_of_fills_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)`", (DOCS / "fills.md").read_text(encoding="utf-8"))
    assert len(named) > 8 and [name for name in named if not (ROOT / name).is_file()] == []
