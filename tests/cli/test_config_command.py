"""`gridv4 config`, and the layers that every command's settings come from."""

import json
import sys
from pathlib import Path

import pydantic
import pytest

from gridv4_bt.__main__ import main
from gridv4_bt.cli.layers import read_parameters, run_settings
from gridv4_bt.config import GridConfig, settings_schema
from gridv4_bt.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SECRET_WORD = "planted-secret-4711"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shown(monkeypatch, capsys):
    """shown(*arguments) -> what `gridv4 config show --json` prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", "config", "show", "--json", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert (end.value.code, err) == (0, "")
        return json.loads(out)

    return call


def test_the_last_layer_that_names_a_value_counts(folder, monkeypatch):
    assert read_parameters([], []).levels == 15
    Path("gridv4.toml").write_text("levels = 14\n")
    assert read_parameters([], []).levels == 14
    monkeypatch.setenv("GRIDV4__LEVELS", "13")
    assert read_parameters([], []).levels == 13
    assert read_parameters([], ["levels=12"]).levels == 12


def test_a_named_file_takes_the_place_of_the_folders(folder):
    Path("gridv4.toml").write_text("levels = 14\nk = 3\n")
    Path("other.toml").write_text("levels = 11\n")
    found = read_parameters([Path("other.toml")], [])
    assert (found.levels, found.k) == (11, 0.8)


def test_of_several_files_the_last_that_names_a_value_counts(shown):
    Path("all.toml").write_text("levels = 11\nk = 3\n[run]\ncash = 500\nsymbol = 'ETHUSDT'\n")
    Path("mine.toml").write_text("\nk = 2\n[run]\n\ncash = 7\n")
    found = shown("--config", "busy", "--config", "all.toml", "--config", "mine.toml", "--set", "gamma=2")
    assert found["files"][1:] == ["all.toml", "mine.toml"]
    assert found["parameters"]["levels"] == {"value": 11, "origin": "all.toml line 1"}
    assert found["parameters"]["k"] == {"value": 2.0, "origin": "mine.toml line 2"}
    assert found["parameters"]["kappa"]["origin"].startswith(str(ROOT / "presets" / "busy.toml line "))
    assert found["parameters"]["gamma"] == {"value": 2.0, "origin": "--set"}
    assert found["run"]["cash"] == {"value": 7.0, "origin": "mine.toml line 5"}
    assert found["run"]["symbol"] == {"value": ["ETHUSDT"], "origin": "all.toml line 5"}
    assert run_settings(["--config", "all.toml", "--config=mine.toml"]) == {"cash": 7.0, "symbol": ["ETHUSDT"]}


@pytest.mark.parametrize("name", ["busy", "busy.toml", "presets/busy.toml"])
def test_a_preset_is_found_where_no_such_file_is(name, folder):
    assert read_parameters([Path(name)], []) == read_parameters([ROOT / "presets" / "busy.toml"], [])
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("levels = 3\n")
    assert read_parameters([Path(name)], []).levels == 3


def test_every_value_is_shown_with_its_origin(folder, monkeypatch, shown):
    Path("gridv4.toml").write_text('# mine\nlevels = 14\nk = 3\n\n[run]\nsymbol = "ETHUSDT"\n')
    monkeypatch.setenv("GRIDV4__K", "2.5")
    monkeypatch.setenv("GRIDV4__CASH", "77")
    found = shown("--set", "gamma=2")
    assert list(found["parameters"]) == list(GridConfig.model_fields)
    assert found["parameters"]["levels"] == {"value": 14, "origin": "gridv4.toml line 2"}
    assert found["parameters"]["k"] == {"value": 2.5, "origin": "environment GRIDV4__K"}
    assert found["parameters"]["gamma"] == {"value": 2.0, "origin": "--set"}
    assert found["parameters"]["kappa"] == {"value": 30.0, "origin": "default"}
    assert found["run"]["symbol"] == {"value": ["ETHUSDT"], "origin": "gridv4.toml line 6"}
    assert found["run"]["cash"] == {"value": 77.0, "origin": "environment GRIDV4__CASH"}


def test_what_is_changed_is_shown_alone_on_request(folder, shown):
    assert shown("--changed", "--set", "levels=6")["parameters"] == {"levels": {"value": 6, "origin": "--set"}}


def test_secrets_are_told_to_be_there_and_never_shown(folder, monkeypatch, shown):
    for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRIDV4_NOTIFY", f"tgram://{SECRET_WORD}")
    Path(".env").write_text(f"BINANCE_API_KEY={SECRET_WORD}\nBINANCE_API_SECRET={SECRET_WORD}\n")
    found = shown()
    assert found["secrets"] == {
        "BINANCE_API_KEY": {"value": "set", "origin": ".env"},
        "BINANCE_API_SECRET": {"value": "set", "origin": ".env"},
        "GRIDV4_NOTIFY": {"value": "set", "origin": "environment"},
    }
    assert SECRET_WORD not in json.dumps(found)


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("levles = 5\n", {}, "gridv4.toml line 1: levles: unknown parameter; did you mean levels? "),
        ("k = 2\nlevels = 0\n", {}, "gridv4.toml line 2: levels: Input should be greater than or equal to 1, got 0"),
        ("levels = 2.5\n", {}, "gridv4.toml line 1: levels: Input should be a valid integer"),
        ('regime = "kma"\n', {}, "gridv4.toml line 1: regime: Input should be 'kama', 'gmm' or 'none', got 'kma'"),
        ('"levels " = 5\n', {}, "levels : unknown parameter; did you mean levels? "),
        ("levels = true\n", {}, "gridv4.toml line 1: levels: no parameter is a switch"),
        ("levels = \n", {}, "gridv4.toml: not valid TOML"),
        ("stop1_atr = 20\n", {}, "stop1_atr = 20.0 against stop2_atr = 13.0: stage 2 must lie farther away"),
        (
            "k = 1\nstop1_atr = 20\n",
            {"GRIDV4__STOP2_ATR": "15"},
            "(stop1_atr: gridv4.toml line 2, stop2_atr: environment GRIDV4__STOP2_ATR)",
        ),
        ("", {"GRIDV4__LEVLES": "5"}, "environment GRIDV4__LEVLES: levles: unknown parameter; did you mean levels? "),
        ("", {"GRIDV4__K": "much"}, "environment GRIDV4__K: k: Input should be a valid number"),
    ],
)
def test_a_mistake_is_told_with_its_place_what_was_given_and_what_is_allowed(text, variables, message, monkeypatch):
    Path("gridv4.toml").write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        read_parameters([], [])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[run]\nsymbl = "X"\n', "gridv4.toml line 2: run.symbl: unknown setting; did you mean symbol?"),
        ("[run]\ncash = -1\n", "gridv4.toml line 2: run.cash: Input should be greater than 0, got -1"),
        ('[run]\nexchange = "ftx"\n', "run.exchange: Input should be 'binanceusdm', 'bybit' or 'okx', got 'ftx'"),
        ("run = 3\n", "run: expected a table [run], got 3"),
    ],
)
def test_a_mistake_in_the_table_run_is_told_alike(text, message):
    Path("gridv4.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        run_settings(["--quiet"])
    assert message in str(error.value)


def test_an_option_wins_over_the_table_run():
    Path("gridv4.toml").write_text('[run]\nsymbol = ["ETHUSDT"]\ncash = 500\npaper = true\n')
    assert run_settings([]) == {"symbol": ["ETHUSDT"], "cash": 500.0, "paper": True}
    # Another market and another place than the file's are named:
    assert run_settings(["--data", "x.csv"]) == {"cash": 500.0, "paper": True}
    assert run_settings(["--demo"]) == {"symbol": ["ETHUSDT"], "cash": 500.0}
    Path("other.toml").write_text("[run]\ncash = 7\n")
    assert run_settings(["--config=other.toml"]) == run_settings(["--config", "other.toml"]) == {"cash": 7.0}


def test_a_backtest_takes_the_wallet_of_the_table_run(monkeypatch, capsys):
    Path("gridv4.toml").write_text("levels = 4\n[run]\ncash = 500\n")
    for words, wallet in (((), 500.0), (("--cash", "600"), 600.0)):
        span = ("--to", "2024-01-02", "--no-report", "--json", "--out", f"run{len(words)}")
        monkeypatch.setattr(sys, "argv", ["gridv4", "backtest", *span, *words])
        with pytest.raises(SystemExit) as end:
            main()
        summary = json.loads(capsys.readouterr().out)
        assert (end.value.code, summary["start_equity"]) == (0, wallet)
        assert "levels = 4  #" in (Path(summary["folder"]) / "config.toml").read_text()


def test_the_schema_in_the_package_is_that_of_the_model():
    if f"pydantic=={pydantic.VERSION} " not in (ROOT / "requirements.lock").read_text(encoding="utf-8"):
        pytest.skip("other releases of pydantic say the same in other words")
    stored = (ROOT / "gridv4_bt" / "gridv4.schema.json").read_text(encoding="utf-8")
    assert json.loads(stored) == settings_schema(), "gridv4 config schema > gridv4_bt/gridv4.schema.json"


def test_parameters_of_single_symbols_have_an_origin_too(shown, monkeypatch):
    Path("gridv4.toml").write_text("k = 1\n[symbols.SOLUSDT]\nk = 2\n")
    monkeypatch.setenv("GRIDV4__SOLUSDT__LEVELS", "9")
    found = shown("--set", "ETHUSDT.k=3")["parameters"]
    assert found["SOLUSDT.k"] == {"value": 2.0, "origin": "gridv4.toml line 3"}
    assert found["SOLUSDT.levels"] == {"value": 9, "origin": "environment GRIDV4__SOLUSDT__LEVELS"}
    assert found["ETHUSDT.k"] == {"value": 3.0, "origin": "--set"}
    assert found["k"] == {"value": 1.0, "origin": "gridv4.toml line 1"}
