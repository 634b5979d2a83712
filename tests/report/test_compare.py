"""`gridv4 compare` on run folders made by hand."""

import json
import re
import sys

import pytest
import typer

from gridv4_bt.cli.common import run_app
from gridv4_bt.cli.compare import compare_runs
from gridv4_bt.record.trades import TRADE_COLUMNS
from gridv4_bt.report.compare import equity_figure, read_runs, run_names

#: Three trades of a day with equity 100, 101, 99, 102 at noon, 13:00, 14:00, 15:00.
TRADES = (
    "1,BTCUSDT,LONG,grid,NOISE,2024-01-01T12:00:00Z,2024-01-01T13:00:00Z,0.5,100.0,102.0,1.0,0.1,0.0,0.9",
    "2,BTCUSDT,SHORT,stop1,NOISE,2024-01-01T12:00:00Z,2024-01-01T14:00:00Z,0.5,100.0,104.0,-2.0,0.1,-0.01,-2.09",
    "3,BTCUSDT,LONG,deviance,UPTREND,2024-01-01T14:00:00Z,2024-01-01T15:00:00Z,1.0,99.0,102.0,3.0,0.2,0.0,2.8",
)
EQUITY = (100.0, 101.0, 99.0, 102.0)


@pytest.fixture
def make_run(tmp_path):
    """make_run(name, ...) writes a run's folder and returns it."""

    def make(name, trades=TRADES, equity=EQUITY, hour=12, config="levels = 5\nregime = 'kama'\n", **figures):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        times = [f"2024-01-01T{hour + number}:00:00Z" for number in range(len(equity))]
        summary = {
            "symbols": ["BTCUSDT"],
            "bars": 40,
            "from": times[0] if times else None,
            "to": times[-1] if times else None,
            "start_equity": 100.0,
            "net_return": 0.02,
            "trades": len(trades),
            "sharpe": 1.5,
            "by_label": {"grid": {"trades": len(trades), "net": 0.9}},
            "seconds": 1.0,
        }
        (folder / "summary.json").write_text(json.dumps(summary | figures))
        (folder / "config.toml").write_text(config)
        (folder / "trades.csv").write_text("".join(f"{row}\n" for row in (",".join(TRADE_COLUMNS), *trades)))
        rows = [f"{time},{value},{value},0" for time, value in zip(times, equity)]
        (folder / "equity.csv").write_text("".join(f"{row}\n" for row in ("time,equity,wallet,unrealized", *rows)))
        return folder

    return make


@pytest.fixture
def compare(monkeypatch, capsys):
    """compare(*arguments) -> exit code, stdout without line breaks, stderr."""
    app = typer.Typer()
    app.command()(compare_runs)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_app(app)
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


def changed(number, **cells):
    """The trades with some cells of one row replaced."""
    rows = [dict(zip(TRADE_COLUMNS, row.split(","), strict=True)) for row in TRADES]
    rows[number - 1] |= {name: str(value) for name, value in cells.items()}
    return [",".join(row.values()) for row in rows]


# --- identical runs


def test_two_identical_runs_are_called_identical(make_run, compare):
    code, out, err = compare(make_run("a"), make_run("b", seconds=77.0))  # only the clock differs
    assert (code, err) == (0, "")
    assert "All parameters are the same." in out
    assert out.endswith("The runs are identical: same parameters, trades, equity and figures.")


def test_the_comparison_as_json(make_run, compare):
    code, out, err = compare(make_run("a"), make_run("b"), make_run("c", trades=changed(3, exit=101.0)), "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(found) == {"runs", "identical", "divergence", "parameters", "figures"}
    assert (found["runs"], found["identical"], found["parameters"]) == (["a", "b", "c"], False, {})
    assert found["divergence"][0] is None and found["divergence"][1].startswith("c: first differs from a in trade 3")
    assert all(len(values) == 3 for values in found["figures"].values())


def test_of_three_runs_the_identical_one_and_the_other_are_told_apart(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b"), make_run("c", trades=changed(3, exit=101.0)))
    assert "b: identical to a: same parameters, trades, equity and figures" in out
    assert "c: first differs from a in trade 3" in out


def test_a_folder_given_twice_is_identical_to_itself(make_run, compare):
    folder = make_run("a")
    code, out, _ = compare(folder, folder)
    assert code == 0
    assert "a (2)" in out
    assert "The runs are identical" in out


# --- figures


def test_figures_stand_side_by_side_with_what_changes(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", net_return=0.035, sharpe=1.25, bars=1040))
    assert "│ net return │ 2.00 % │ 3.50 % │ +1.50 pp │" in out
    assert "│ sharpe │ 1.50 │ 1.25 │ -0.25 │" in out
    assert "│ bars │ 40 │ 1,040 │ +1,000 │" in out
    assert "│ trades │ 3 │ 3 │ │" in out


def test_a_change_too_small_for_the_digits_shown_is_not_called_zero(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", sharpe=1.5 + 1e-9, net_return=0.02 - 1e-9))
    assert "│ sharpe │ 1.50 │ 1.50 │ +1e-09 │" in out
    assert "│ net return │ 2.00 % │ 2.00 % │ -1.0e-09 │" in out


def test_nested_figures_of_any_kind_get_tables_of_their_own(make_run, compare):
    new = {"by_weekday": {"monday": {"night": {"net": 5.0}}}}
    _, out, _ = compare(make_run("a"), make_run("b", **new))
    assert "│ grid net │ 0.90 │ 0.90 │ │" in out
    assert "by weekday" in out
    assert "│ monday night net │ - │ 5.00 │ │" in out


def test_a_missing_figure_is_a_dash(make_run, compare):
    _, out, _ = compare(make_run("a", sharpe=None), make_run("b", sortino=2.0), make_run("c"))
    assert "│ sharpe │ - │ 1.50 │ 1.50 │" in out
    assert "│ sortino │ - │ 2.00 │ - │" in out


def test_a_long_text_is_shown_only_where_it_differs(make_run, compare):
    rules = {"BTCUSDT": "filters 2026-09-30, brackets 2026-09-29, as published"}
    assert "published" not in compare(make_run("a", rules=rules), make_run("b", rules=rules))[1]
    assert "published" in compare(make_run("c", rules=rules), make_run("d"))[1]


# --- parameters


def test_only_the_parameters_that_differ_are_listed(make_run, compare):
    other = "levels = 8\nregime = 'kama'\nnew_one = 0.5\n[exchange]\nleverage = 3\n"
    _, out, _ = compare(make_run("a"), make_run("b", config=other))
    assert "parameters that differ" in out
    assert "│ levels │ 5 │ 8 │" in out
    assert "│ new_one │ - │ 0.5 │" in out
    assert "│ exchange.leverage │ - │ 3 │" in out
    assert "regime │" not in out


# --- the first trade that differs


def test_a_trade_that_ends_otherwise_is_told_with_its_number_time_and_what_differs(make_run, compare):
    cells = {"close_time": "2024-01-01T14:15:00Z", "label": "stop2", "exit": 105.0, "gross": -2.5, "net": -2.59}
    _, out, _ = compare(make_run("a"), make_run("b", trades=changed(2, **cells)))
    assert out.endswith(
        "b: first differs from a in trade 2, 2024-01-01 14:00 UTC (SHORT BTCUSDT opened 2024-01-01 12:00): "
        "closed 2024-01-01 14:15, not 2024-01-01 14:00; closed by stop2, not stop1; exit price 105, not 104; "
        "gross -2.5, not -2; net -2.59, not -2.09."
    )


def test_another_trade_in_its_place_is_told_whole(make_run, compare):
    cells = {"side": "LONG", "open_time": "2024-01-01T13:00:00Z"}
    _, out, _ = compare(make_run("a"), make_run("b", trades=changed(2, **cells)))
    assert out.endswith(
        "b: first differs from a in trade 2, 2024-01-01 14:00 UTC: another trade. "
        "a closed SHORT 0.5 BTCUSDT, in at 100 on 2024-01-01 12:00, out at 104 on 2024-01-01 14:00 by stop1, "
        "net -2.09; b closed LONG 0.5 BTCUSDT, in at 100 on 2024-01-01 13:00, out at 104 on 2024-01-01 14:00 by stop1, "
        "net -2.09."
    )


@pytest.mark.parametrize(("one", "two", "longer", "shorter"), [(3, 2, "a", "b"), (2, 3, "b", "a")])
def test_a_trade_that_only_one_run_makes(one, two, longer, shorter, make_run, compare):
    _, out, _ = compare(make_run("a", trades=TRADES[:one]), make_run("b", trades=TRADES[:two]))
    assert out.endswith(
        f"b: first differs from a in trade 3 of {longer}, 2024-01-01 15:00 UTC: LONG 1 BTCUSDT, in at 99 on "
        f"2024-01-01 14:00, out at 102 on 2024-01-01 15:00 by deviance, net +2.80; {shorter} closes none after 2 that "
        "are the same."
    )


def test_the_equity_may_differ_before_the_first_trade_that_does(make_run, compare):
    other = make_run("b", trades=changed(3, exit=103.0, gross=4.0, net=3.8), equity=(100.0, 101.0, 99.5, 103.0))
    _, out, _ = compare(make_run("a"), other)
    assert "trade 3, 2024-01-01 15:00 UTC" in out
    assert out.endswith("Equity differs from 2024-01-01 14:00 UTC on.")


def test_equity_alone_may_differ(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", equity=(100.0, 101.0, 99.0, 102.5)))
    assert "b: trades as a does while both last, but not the same equity. Equity differs from 2024-01-01 15:00" in out


def test_the_last_bit_of_a_price_is_a_difference(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", trades=changed(1, fees=0.10000000000000002)))
    assert "first differs from a in trade 1" in out
    assert "fees 0.10000000000000002, not 0.1" in out


def test_the_way_a_number_is_written_and_the_serial_number_are_none(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", trades=changed(1, exit="102", trade_id=9), sharpe=1.6))
    assert "b: trades as a does while both last" in out


# --- different spans, symbols, wallets


def test_a_run_that_goes_on_longer_is_compared_as_long_as_both_last(make_run, compare):
    _, out, _ = compare(make_run("a"), make_run("b", trades=TRADES[:2], equity=EQUITY[:3]))
    assert out.endswith(
        "b: trades as a does while both last. Compared from 2024-01-01 12:00 to 2024-01-01 14:00 UTC, "
        "which both runs cover."
    )


def test_trades_before_a_run_begins_are_not_held_against_it(make_run, compare):
    late = [row.replace("3,BTC", "1,BTC", 1).replace(",102.0,3.0,", ",101.0,2.0,") for row in TRADES[2:]]
    _, out, _ = compare(make_run("a"), make_run("b", trades=late, equity=(100.0, 103.0), hour=14))
    assert "b: first differs from a in trade 3 (1 of b), 2024-01-01 15:00 UTC" in out
    assert "exit price 101, not 102" in out
    assert "Equity differs" not in out  # two wallets that began at different times always differ
    assert "Compared from 2024-01-01 14:00 to 2024-01-01 15:00 UTC" in out


def test_runs_without_a_common_bar_or_symbol_are_not_compared_by_trade(make_run, compare):
    early = make_run("early", trades=(), equity=(100.0, 100.0), hour=10)
    other = make_run("eth", symbols=["ETHUSDT"])
    _, out, _ = compare(make_run("a"), early, other)
    assert "early: has no bar in common with a: not compared by trade" in out
    assert "eth: trades ETHUSDT, a BTCUSDT: not compared by trade" in out


def test_runs_of_several_symbols_do_not_depend_on_the_order_of_the_files(make_run, compare):
    eth = [row.replace("BTC", "ETH") for row in TRADES]
    one = [row for pair in zip(TRADES, eth, strict=True) for row in pair]
    two = [row for pair in zip(eth, TRADES, strict=True) for row in pair]
    symbols = ["BTCUSDT", "ETHUSDT"]
    _, out, _ = compare(make_run("a", one, symbols=symbols), make_run("b", two, symbols=symbols[::-1]))
    assert "b: trades as a does while both last" in out


def test_runs_without_any_bar_or_trade(make_run, compare):
    code, out, _ = compare(make_run("a"), make_run("b", trades=(), equity=()))
    assert code == 0
    assert "b: has no bar in common with a" in out


# --- names


def test_runs_are_named_by_the_shortest_end_of_the_path_that_tells_them_apart(tmp_path):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "other"]
    assert run_names(paths) == ["x/run", "y/run", "other"]


# --- the picture


def test_the_curves_of_any_spans_and_symbols_are_on_one_chart(make_run, compare, tmp_path):
    second = make_run("b", trades=(), equity=(100.0, 110.0), hour=14, symbols=["ETHUSDT"])
    third = make_run("c", trades=(), equity=())
    folders = [make_run("a"), second, third]
    code, out, _ = compare(*folders, "--out", tmp_path / "curves.png")
    assert code == 0
    assert "curves.png" in out
    header = (tmp_path / "curves.png").read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20], "big") == 1200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "curves.png"]
    top, bottom = equity_figure(read_runs(folders)).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["a  BTCUSDT  +2.00 %", "b  ETHUSDT  +10.00 %"]
    assert list(top.lines[0].get_ydata()) == pytest.approx([0.0, 1.0, -1.0, 2.0])  # % of the start
    assert list(bottom.lines[0].get_ydata()) == pytest.approx([0.0, 0.0, -200 / 101, 0.0])
    assert str(top.lines[1].get_xdata()[0]) == "2024-01-01T14:00:00.000"


def test_several_symbols_have_one_curve_of_the_wallet(make_run):
    folder = make_run("a")
    rows = ["time,equity,symbol", "2024-01-01T12:00:00Z,100,BTCUSDT", "2024-01-01T12:00:00Z,100.5,ETHUSDT"]
    rows += ["2024-01-01T15:00:00Z,103,BTCUSDT", "2024-01-01T15:00:00Z,102,ETHUSDT"]
    (folder / "equity.csv").write_text("\n".join(rows) + "\n")
    [run] = read_runs([folder])
    assert list(run.equity) == [100.5, 102.0]


# --- bad input


DAMAGES = {
    "summary.json": {
        "not JSON": lambda text: text[:-5],
        "no table": lambda text: "[1, 2]",
        "not text": lambda text: b"\xff\xfe\xff",
    },
    "config.toml": {"not TOML": lambda text: "levels = = 5"},
    "trades.csv": {
        "a column gone": lambda text: text.replace(",net", ",net_pnl", 1),
        "half a row": lambda text: text[:-20],
        "a short row": lambda text: text.replace(",0.0,0.9\n", "\n"),
        "a long row": lambda text: text.replace(",0.9\n", ",0.9,7\n"),
        "no number": lambda text: text.replace("104.0", "much"),
        "no time": lambda text: text.replace("2024-01-01T14:00:00Z", "noon", 1),
        "a row gone": lambda text: text[: text.index("3,BTC")],
        "empty": lambda text: "",
    },
    "equity.csv": {
        "a column gone": lambda text: text.replace("equity", "value"),
        "half a row": lambda text: text[:-8],
        "within the last cell": lambda text: text[:-1],
        "no number": lambda text: text.replace(",99.0,", ",much,"),
        "an empty cell": lambda text: text.replace(",99.0,", ",,"),
        "no time": lambda text: text.replace("2024-01-01T13:00:00Z", "noon"),
        "rows out of order": lambda text: text.replace("T13:", "T09:"),
        "rows gone": lambda text: text[: text.index("2024-01-01T14")],
        "empty": lambda text: "",
    },
}
CASES = [(file, damage) for file, damages in DAMAGES.items() for damage in ("missing", *damages)]


@pytest.mark.parametrize(("file", "damage"), CASES, ids=" ".join)
def test_a_missing_or_damaged_file_ends_with_one_line_that_names_it_and_code_2(file, damage, make_run, compare):
    good, bad = make_run("good"), make_run("bad")
    path = bad / file
    if damage == "missing":
        path.unlink()
    else:
        content = DAMAGES[file][damage](path.read_text())
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = compare(good, bad)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith(f"error: {path}: {'missing' if damage == 'missing' else 'damaged'}")


BAD_CALLS = [
    (("a",), "give two or more run folders"),
    ((), "(?i)runs"),
    (("a", "nowhere"), r"nowhere: no such folder"),
    (("a", "a/trades.csv"), r"trades.csv: not a folder"),
    (("a", "a", "--out", "curves.pdf"), r"curves.pdf: name a file that ends in .png"),
    (("a", "a", "--out", "no/curves.png"), r"there is no folder no"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_CALLS, ids=lambda value: str(value)[-40:])
def test_a_bad_call_ends_with_one_line_and_code_2(arguments, words, make_run, compare, monkeypatch):
    monkeypatch.chdir(make_run("a").parent)
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert re.search(words, line)


def test_quiet_prints_nothing(make_run, compare, tmp_path):
    picture = tmp_path / "curves.png"
    assert compare(make_run("a"), make_run("b"), "--quiet", "--out", picture) == (0, "", "")
    assert picture.exists()
