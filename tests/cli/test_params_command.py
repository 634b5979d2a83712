"""`gridv4 params` as a user meets it."""

import sys

import pytest

from gridv4_bt.__main__ import main
from gridv4_bt.config import GridConfig


@pytest.fixture
def params(monkeypatch, capsys):
    """params(*arguments) -> exit code, lines of stdout, stderr."""

    def call(*arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["gridv4", "params", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return end.value.code, written.out.splitlines(), written.err

    return call


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_all_parameters_with_default_bounds_and_kind(params):
    code, lines, err = params()
    rows = {cells(line)[0]: cells(line) for line in lines if line.startswith("│") and cells(line)[0]}
    assert (code, err, list(rows)) == (0, "", list(GridConfig.model_fields))
    assert rows["z_halt"][1:4] == ["-3.0", "[-1000, 0)", "defined"] and rows["z_halt"][4].startswith("ATR: z below")
    assert rows["fill_rule"][1:4] == ["touch", "touch through", "free"]
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)


def test_one_parameter_alone_in_full(params):
    code, lines, err = params("gap_spacings")
    assert (code, err) == (0, "")
    assert [cells(line) for line in lines if line.startswith("│")] == [
        ["parameter", "gap_spacings"],
        ["section", "guards"],
        ["default", "3.0, defined"],
        ["bounds", "[0, 1000]"],
        ["unit", "spacings"],
        ["meaning", "of the price against a fill beyond which it is cut; 0: off"],
    ]


@pytest.mark.parametrize(("name", "hint"), [("gap_spacing", "did you mean gap_spacings? "), ("volatility", "")])
def test_an_unknown_name_ends_with_2_and_the_nearest_one(name, hint, params):
    message = f"error: {name}: unknown parameter; {hint}`gridv4 params` lists all\n"
    assert params(name) == (2, [], message)
