"""One word, one meaning: two modules or two classes of one name are listed here with the reason, or there are none."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: A module of `cli` is named after its command, whatever else has that name.
COMMANDS = "gridv4_bt/cli/"
#: File names that several rooms share.
MODULES = {
    "api.py": "the contract's name of what a notebook imports; and the local exchange's REST interface",
    "__init__.py": "Python's own name",
    "exchange.py": "in feeds its public data; in exchange the local Binance; in the kernel the compiled HedgeBroker",
    "orders.py": "single orders; what the steps order of a broker; and of the kernel's records in its place",
    "guards.py": "in engine what guards a position; in optimise what guards a search against overfitting",
    "live.py": "in brokers and feeds the live twin of the simulated broker and of the feed of files",
    "matching.py": "the kernel's compiled text of engine/matching.py",
    "state.py": "what is held between two bars, by a live session and by the kernel",
}
#: Class names that several modules share.
CLASSES = {
    "Execution": "the exchange's word: of a simulated order, and of a live one",
    "Limits": "the bounds that an exchange and a monitor each watch",
}


def sources():
    """Return the source of every module of the product by its path."""
    paths = [
        path for folder in ("gridv4_bt", "strategies", "brokers", "feeds") for path in (ROOT / folder).rglob("*.py")
    ]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def shared_modules(paths):
    """Return the file names that more than one path has, with the paths."""
    found = defaultdict(list)
    for path in paths:
        if not path.startswith(COMMANDS) or path.endswith("__init__.py"):
            found[path.rpartition("/")[2]].append(path)
    return {name: places for name, places in found.items() if len(places) > 1}


def shared_classes(modules):
    """Return the class names that are defined more than once, with the modules that do."""
    found = defaultdict(list)
    for path, source in modules.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return {name: places for name, places in found.items() if len(places) > 1}


@pytest.mark.parametrize(
    ("shared", "reasons"),
    [(shared_modules(sources()), MODULES), (shared_classes(sources()), CLASSES)],
    ids=["modules", "classes"],
)
def test_names_are_shared_for_a_reason_only(shared, reasons):
    assert {name: places for name, places in shared.items() if name not in reasons} == {}
    assert [name for name in reasons if name not in shared] == [], "no longer shared: strike them off the list"


def test_a_planted_name_is_found():
    modules = {"feeds/a/desk.py": "class Fill: ...", "brokers/desk.py": "class Fill: ...", "gridv4_bt/cli/desk.py": ""}
    assert shared_modules(modules) == {"desk.py": ["feeds/a/desk.py", "brokers/desk.py"]}
    assert shared_classes(modules) == {"Fill": ["feeds/a/desk.py", "brokers/desk.py"]}
