"""The one table of trade labels."""

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from gridv4_bt.engine import labels
from gridv4_bt.engine.labels import CUTS, KINDS, LABELS, PRUNE_STEP, PRUNED, TradeLabel
from gridv4_bt.engine.pruning import DEVIANCE, FUNDING, GAP, KEEP, OLDEST

ROOT = Path(__file__).resolve().parents[2]
#: Names that files hold; no release may change them.
STORED = (
    "grid", "stop1", "stop2", "deviance", "oldest", "gap", "funding", "offset", "delever", "margin_call", "liquidation",
    "delisted", "manual",
)  # fmt: skip


def test_names_in_files_stay():
    assert set(STORED) <= set(LABELS)
    assert [str(label) for label in LABELS] == [label.name.lower() for label in TradeLabel]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_comes_back_from_a_file_and_from_another_process(label):
    for again in (TradeLabel(str(label)), pickle.loads(pickle.dumps(label)), copy.deepcopy(label)):
        assert again is label


def test_numbers_of_labels_are_their_places():
    assert [label.number for label in LABELS] == list(range(len(LABELS)))
    named = {name: getattr(labels, name) for name in TradeLabel.__members__ if hasattr(labels, name)}
    assert named == {name: TradeLabel[name].number for name in named}
    assert set(named) >= {"GRID", "STOP1", "STOP2", "OFFSET", "DELEVER", "MARGIN_CALL", "LIQUIDATION"}
    assert {type(number) for number in (*named.values(), *PRUNED)} == {int}  # what compiled code can hold


def test_a_pruned_fill_gets_the_label_of_its_method():
    methods = {DEVIANCE: "deviance", OLDEST: "oldest", GAP: "gap", FUNDING: "funding"}
    assert {code: LABELS[PRUNED[code]] for code in methods} == methods
    assert LABELS[PRUNED[KEEP]] == "grid"


def test_a_step_that_closes_is_named_by_its_number_among_the_eleven():
    steps = {str(label): label.step for label in LABELS if label.step}
    assert steps == {"stop1": 3, "stop2": 3, "margin_call": 4} | dict.fromkeys(
        ("deviance", "oldest", "gap", "funding", "offset", "delever"), 5
    )


def test_pruning_is_listed_before_the_guards_and_nothing_else_cuts():
    pruned = [label for label in CUTS if label.step == PRUNE_STEP]
    assert (*pruned, "stop1", "stop2", "margin_call") == CUTS
    assert [label for label in pruned if label in STORED] == list(STORED[3:9])
    assert all(label in pruned and label.kind is labels.PRUNED_KIND for label in LABELS if label.code != KEEP)


def test_kinds_are_told_apart_by_words_and_by_mark_and_colour():
    assert len({kind.text for kind in KINDS}) == len({kind[1:] for kind in KINDS}) == len(KINDS)
    css = (ROOT / "gridv4_bt/report/assets/report.css").read_text(encoding="utf-8")
    assert [kind.colour for kind in KINDS if f"{kind.colour}: #" not in css] == []


# --- no second list


def listed(path, source):
    """Return which pruning labels a file lists, more than one in one Python container or one line of another file."""
    pruning = {str(label) for label in LABELS if label.step == PRUNE_STEP}
    groups = []
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                parts = node.keys if isinstance(node, ast.Dict) else node.elts
                named = [
                    getattr(part, "value", None) if isinstance(part, ast.Constant)
                    else getattr(part, "attr", getattr(part, "id", "")).lower()
                    for part in parts
                ]  # fmt: skip
                groups.append(named)
    else:
        groups = [re.findall(r"[\"'`](\w+)[\"'`]", line) for line in source.splitlines()]
    found = [pruning & {name for name in named if isinstance(name, str)} for named in groups]
    return [names for names in found if len(names) > 1]


def test_no_other_file_lists_pruning_labels():
    files = [
        path
        for folder in ("gridv4_bt", "strategies", "brokers", "feeds", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.*"))
        if path.suffix in (".py", ".js", ".html")
    ]
    found = {path.relative_to(ROOT).as_posix(): listed(path, path.read_text(encoding="utf-8")) for path in files}
    codes = found.pop("gridv4_bt/engine/pruning.py")
    assert codes == [{str(label) for label in LABELS if label.code != KEEP}]
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", 'CUTS = ("gap", "offset")'),
        ("a.py", "COLOURS = {TradeLabel.GAP: 1, TradeLabel.OLDEST: 2}"),
        ("a.js", 'const PRUNE = ["deviance", "oldest"];'),
    ],
)
def test_a_planted_list_is_found(name, source):
    assert len(listed(Path(name), source)) == 1
