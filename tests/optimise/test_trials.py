"""`run_backtest.py --optimize` as a user meets it."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busy import BUSY_FILE, busy

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.cli.backtest import main
from gridv4_bt.config import load_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.trials import TrialRow, best_first, combinations, count, parse_axes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def candles(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "BTCUSDT-15m.csv"
    sample_market(days=8, start="2024-03-01").candles.to_csv(path, index=False)
    return path


@pytest.fixture
def backtest(monkeypatch, capsys, tmp_path, candles):
    """backtest(*options) -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    common = ("--data", candles, "--config", BUSY_FILE)

    def call(*options: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run_backtest.py", *map(str, (*common, *options))])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("specs", "axes"),
    [
        (["k=2,3,4.5"], {"k": [2.0, 3.0, 4.5]}),
        (["k=0.1:0.5:0.1"], {"k": [0.1, 0.2, 0.3, 0.4, 0.5]}),  # the very decimals
        (["levels=4:10:3", "regime=kama,none"], {"levels": [4, 7, 10], "regime": ["kama", "none"]}),
        (["levels = 4 : 5 : 2"], {"levels": [4]}),
        (["maker_fee=-0.0001,0"], {"maker_fee": [-0.0001, 0.0]}),
    ],
)
def test_values_of_a_spec(specs, axes):
    assert parse_axes(specs) == axes
    assert [type(value) for values in parse_axes(specs).values() for value in values] == [
        type(value) for values in axes.values() for value in values
    ]


BAD_SPECS = [
    ("k", "expected name=a,b,c or name=lo:hi:step"),
    ("k=", "expected name=a,b,c"),
    ("=1,2", "expected name=a,b,c"),
    ("nonsense=1", "unknown parameter"),
    ("k=1,x", "valid number"),
    ("k=1,,2", "valid number"),
    ("k=0,1", "greater than 0"),
    ("levels=2.5", "integer"),
    ("regime=kama,best", "'kama', 'gmm' or 'none'"),
    ("k=1:2", "lo:hi:step"),
    ("k=1:2:x", "lo:hi:step"),
    ("k=1:2:nan", "lo:hi:step"),
    ("k=2:1:1", "goes up"),
    ("k=1:2:0", "goes up"),
    ("k=1,2,1.0", "a value comes twice"),
    ("intrabar=detail", "not for trials"),
]


@pytest.mark.parametrize(("spec", "words"), BAD_SPECS)
def test_bad_spec_is_refused_with_its_reason(spec, words):
    with pytest.raises(ConfigError, match=f"--optimize {spec}".replace("+", r"\+")) as error:
        parse_axes([spec])
    assert words in str(error.value)


def test_a_name_twice_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        parse_axes(["k=1", "k=2"])


def test_combinations_are_counted_and_made_one_by_one():
    axes = {"k": list(range(10**4)), "levels": list(range(10**4)), "gamma": list(range(10**4))}
    assert count(axes) == 10**12
    assert next(combinations(axes)) == {"k": 0, "levels": 0, "gamma": 0}


def test_best_first_means_more_or_less_by_the_figure_and_failures_last():
    values = {1: 0.2, 2: None, 3: 0.1, 4: 0.2}
    rows = [TrialRow(n, {}, {"max_drawdown": value, "sharpe": value}, "") for n, value in values.items()]
    rows.append(TrialRow(5, {}, {}, "failed"))
    assert [row.number for row in best_first(rows, "sharpe")] == [1, 4, 3, 2, 5]
    assert [row.number for row in best_first(rows, "max_drawdown")] == [3, 1, 4, 2, 5]


def test_every_combination_is_the_backtest_with_these_parameters(backtest, candles, tmp_path):
    specs = ("--optimize", "k=2,4", "--optimize", "leverage=1,5", "--set", "levels=4", "--cash", 20_000)
    code, out, err = backtest(*specs, "--jobs", 2, "--out", "two", "--rank", "net_return")
    assert (code, err) == (0, "")
    assert "trials by net_return, best first" in out
    rows = rows_of(tmp_path / "two" / "trials.csv")
    assert sorted(row["trial"] for row in rows) == ["1", "2", "3", "4"]
    returns = [float(row["net_return"]) for row in rows]
    assert returns == sorted(returns, reverse=True)
    for row in rows:
        config = busy(levels=4, k=float(row["k"]), leverage=float(row["leverage"]))
        summary = run(make_cerebro(make_feeds([SymbolData("BTCUSDT", candles)]), config, 20_000.0)).summary
        assert sum(group["trades"] for group in summary["by_label"].values()) > 5  # closings
        for name in ("net_return", "max_drawdown", "trades", "fees"):
            assert float(row[name]) == summary[name]
    best = load_config(tmp_path / "two" / "best.toml")
    assert (best.k, best.leverage, best.levels) == (float(rows[0]["k"]), float(rows[0]["leverage"]), 4)
    assert backtest(*specs, "--out", "one", "--rank", "net_return", "--quiet")[:2] == (0, "")
    for name in ("trials.csv", "best.toml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_combination_that_cannot_be_run_keeps_its_reason_and_the_others_go_on(backtest, tmp_path):
    code, out, _ = backtest("--optimize", "stop1_atr=4,8", "--out", "run")
    assert code == 0
    assert "1 of 2 trials failed, the first: stop1_atr = 8.0 against stop2_atr = 6.0" in out
    good, bad = rows_of(tmp_path / "run" / "trials.csv")
    assert (good["error"], bad["stop1_atr"], bad["net_return"]) == ("", "8.0", "")
    assert bad["error"].startswith("stop1_atr = 8.0 against stop2_atr = 6.0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--optimize", "k=0,1"), "greater than 0"),
        (("--optimize", "k=1,2", "--rank", "luck"), "--rank luck: one of net_return"),
        (("--optimize", "k=1,2", "--jobs", "-1"), "--jobs -1"),
        (("--optimize", "k=1,2", "--intrabar", "all"), "--intrabar all"),
        (("--optimize", "k=1,2", "--out", "."), "holds other files"),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2_and_writes_nothing(options, words, backtest, tmp_path):
    (tmp_path / "other.txt").write_text("mine")
    code, _, err = backtest(*options)
    assert code == 2
    [line] = err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_ctrl_c_leaves_what_is_finished(candles, tmp_path):
    command = [sys.executable, "run_backtest.py", "--data", candles, "--config", BUSY_FILE]
    options = ["--optimize", "k=1:50:0.01", "--jobs", "2", "--out", tmp_path / "run", "--quiet"]
    process = subprocess.Popen(list(map(str, [*command, *options])), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    table = tmp_path / "run" / "trials.csv"
    while process.poll() is None and not (table.exists() and len(table.read_text().splitlines()) > 3):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    finished = rows_of(table)
    assert len(finished) >= 3
    assert all(row["net_return"] and not row["error"] for row in finished)
    assert err == f"error: interrupted; {len(finished):,} of 4,901 trials are in {table}\n"


@pytest.mark.parametrize(
    "specs",
    [
        ["k=1:5:0.00000001"],
        ["k=1:5:1e-400000"],
        ["k=1:2:0.001", "gamma=1:2:0.001"],  # 1,001 times 1,001
    ],
)
def test_more_trials_than_anyone_waits_for_are_counted_and_refused(specs):
    with pytest.raises(ConfigError, match="more than 1,000,000 trials; take a larger step or fewer parameters"):
        parse_axes(specs)
