"""The tables of the page: numbers in one unit system, every figure once, what each holds."""

import re

import numpy as np
import pytest
from made_runs import closed, record, still_open
from report_runs import CONFIG, empty_record, small_run, summary_of

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.metrics.trading import whole_trades
from gridv4_bt.report import known_figures as figures
from gridv4_bt.report import page_tables as tables
from gridv4_bt.report.numbers import number, quote_of, signed
from gridv4_bt.report.page import page_pieces


def make_report(*run):
    """Return the page of a run as one text."""
    return "".join(page_pieces(*run))


def text_of(*found) -> str:
    return "\n".join(" ".join(cell.text for cell in row) for table in found if table for row in table.rows)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.0512, "percent", "5.12 %"), (0.0000281, "percent", "0.0028 %"), (-1234.5, "money", "−1,234.50"),
        (-0.001, "money", "0.00"), (None, "money", "–"), (float("inf"), "ratio", "∞"), (7, "", "7"),
        (0.00007869, "", "0.00007869"), ("text", "", "text"), (353.27, "days", "353.3 d"), (4.0, "hours", "4.0 h"),
    ],
)  # fmt: skip
def test_numbers_read_like_numbers(value, kind, text):
    assert number(value, kind) == text


def test_a_gain_has_its_plus_and_nothing_has_none():
    assert [signed(value) for value in (1.5, -1.5, 0.0, 0.001)] == ["+1.50", "−1.50", "0.00", "0.00"]


def test_money_is_in_the_currency_of_the_symbols():
    assert quote_of(["BTCUSDT", "ETHUSDT"]) == "USDT"
    assert quote_of(["ETHBTC"]) == "BTC"
    assert quote_of(["BTCUSDT", "ETHUSDC"]) == quote_of(["X"]) == "quote"


def test_no_figure_is_told_twice():
    paths = [one.path for one in figures.FIGURES]
    assert len(set(paths)) == len(paths)
    assert not set(paths) & {key for key, *_ in figures.COMPARED}
    assert not set(paths) & figures.ELSEWHERE
    assert {one.section for one in figures.FIGURES} == {name for names in figures.TABS.values() for name in names}


def test_every_figure_has_a_definition():
    rows = (*figures.COMPARED, *figures.TRADED, *figures.LEG, *figures.PRUNED, *figures.EXCURSION)
    assert all(one.meaning.endswith(".") for one in figures.FIGURES)
    assert all(meaning.endswith(".") for *_, meaning in rows)


def test_every_figure_of_the_summary_is_on_the_page_or_is_listed_as_told_elsewhere():
    assert tables.others(small_run("BTCUSDT").summary) is None


def test_a_figure_nobody_knows_is_shown_under_its_own_key():
    summary = summary_of(
        ulcer=1.25, tail={"worst": {"day": -0.1, "week": None}}, falls=[{"depth": 0.5}], **{"names <b>": ["x", "y"]}
    )
    text = text_of(tables.others(summary))
    for words in ("ulcer 1.25", "tail.worst.day −0.1", "tail.worst.week –", "falls.1.depth 0.5", "names <b> x, y"):
        assert words in text, words
    assert "names &lt;b&gt;" in make_report([empty_record(rows=3)], summary, GridConfig())


def test_the_result_stands_beside_the_benchmarks():
    summary = small_run("BTCUSDT").summary
    table = tables.compared(summary)
    assert [cell.text for cell in table.head] == ["", "this run", "buy and hold, 1×", "hold, same exposure"]
    assert table.rows[0][1].text == number(summary["net_return"], "percent")
    assert table.rows[0][2].text == number(summary["benchmark"]["hold"]["net_return"], "percent")
    assert signed(summary["benchmark"]["symbols"]["BTCUSDT"], "percent") in table.note


def test_legs_add_up_in_the_table_too():
    summary = small_run("BTCUSDT").summary
    *legs, summed = tables.legs(summary).rows
    assert [row[0].text for row in legs] == ["BTCUSDT LONG", "BTCUSDT SHORT"]
    assert summed[5].text == number(summary["end_equity"] - summary["start_equity"], "money")
    assert tables.legs(summary_of()) is None


def test_groups_of_trades_have_the_sums_of_the_summary():
    result = small_run("BTCUSDT", "ETHUSDT")
    found = {table.title: table for table in tables.grouped_trades(result.summary, result.records)}
    assert set(found) == {
        "By reason of closing", "By side", "By symbol", "By regime at entry", "By level of the ladder (−: LONG)",
        "By month of closing",
    }  # fmt: skip
    trades = whole_trades(trade for one in result.records for trade in one.trades)
    for title in ("By side", "By symbol", "By regime at entry", "By month of closing"):
        assert sum(int(row[1].text.replace(",", "")) for row in found[title].rows) == len(trades), title
    row = next(row for row in found["By reason of closing"].rows if row[0].text == "grid")
    assert "own exit" in row[0].title
    assert row[3].text == number(result.summary["by_label"]["grid"]["net"], "money")


def test_histograms_count_every_trade_once_and_part_gains_from_losses():
    trades = [closed(100.0, 100.0 + gain, id=i) for i, gain in enumerate((-3.0, -1.0, 0.5, 0.5, 2.0, 4.0), 1)]
    found = tables.histograms([record([100.0] * 9, trades=trades)], np.array([0.1, np.nan]), np.array([2.0, -1.0]))
    returns, hours, cycles, adverse = found
    assert sum(returns.counts) == 6
    assert sum(count for _, count, style in returns.spans if style == "bad") == 2
    assert sum(hours.counts) == 6
    assert (sum(cycles.counts), sum(adverse.counts)) == (2, 1)
    assert tables.histograms([record([1.0])], np.empty(0), np.empty(0)) == []


def test_a_leg_above_its_cap_is_named_with_its_worst_bar():
    run = record([100.0, 110.0, 90.0], long_qty=[0.0, 10.0, 10.0])
    [text] = tables.cap_breaches([run], GridConfig(max_inventory=1.0))
    assert text == "Exposure: TEST LONG reached 110.00 % of the equity at 2024-01-01 00:15, above its cap of 100.00 %."
    assert tables.cap_breaches([run], GridConfig(max_inventory=1.1)) == []


def test_a_leg_left_open_is_in_the_headline():
    run = record([100.0, 90.0], open_fills=[still_open(opened=0, qty=2.0)])
    summary = summary_of(
        open_legs={"TEST LONG": dict(fills=1, qty=2.0, entry=100.0, age_days=3.0, unrealized=-20.0, worst=-30.0)}
    )
    page = make_report([run], summary, GridConfig())
    text = "TEST LONG: 2 in 1 fill at 100 on average, the oldest 3.0 d old; unrealised −20.00, at worst −30.00 quote."
    assert text in page
    assert page.index(text) < page.index('class="tiles"')


def test_flags_stand_before_the_chart():
    page = make_report([empty_record(rows=3)], summary_of(flags=["Few trades: 1 say little."]), GridConfig())
    assert page.index("Few trades: 1 say little.") < page.index('id="charts"')
    assert "to know before believing this" not in make_report([empty_record(rows=3)], summary_of(), GridConfig())


def test_the_run_s_own_figures_are_all_on_the_page():
    result = small_run("BTCUSDT")
    page = make_report(result.records, result.summary, CONFIG)
    text = re.sub(r"<[^>]+>", " ", page.split('id="library"')[0])
    for one in figures.FIGURES:
        value = tables.find(result.summary, one.path)
        if value is not None:
            assert number(value, one.kind) in text, one.path


def test_changed_parameters_come_first_with_their_default():
    default = GridConfig.model_fields["levels"].default
    changed, rest = tables.parameters(GridConfig(levels=6))
    assert default != 6 and [cell.text for cell in changed.rows[0]][:3] == ["levels", "6", str(default)]
    assert "levels" not in [row[0].text for row in rest.rows] and "k" in [row[0].text for row in rest.rows]
    assert tables.parameters(GridConfig())[0] is None


def test_a_month_runs_from_the_last_bar_of_the_month_before():
    run = empty_record(rows=3)
    days = np.array(["2024-01-31T23:45", "2024-02-29T23:45", "2024-03-01T00:00"], "datetime64[ms]").astype(float)
    run.log[:, LOG_COLUMNS.index("time")] = days
    run.log[:, LOG_COLUMNS.index("equity")] = [110.0, 99.0, 99.0]
    assert tables.monthly_returns([run], 100.0) == pytest.approx({(2024, 1): 0.1, (2024, 2): -0.1, (2024, 3): 0.0})
    [row] = tables.months([run], 100.0).rows
    assert [cell.text for cell in row][:4] == ["2024", "10.00 %", "−10.00 %", "0.00 %"]
    assert row[-1].text == "−1.00 %"  # 1.1 * 0.9: the months compound to the year


def test_the_return_of_any_thirty_days_compounds_thirty_days():
    """60 days: flat, but for a day of +10 % (the 31st) and one of -50 % (the 60th)."""
    equity = np.repeat([1_000.0] * 30 + [1_100.0] * 29 + [550.0], 96)
    table = tables.rolling([record([100.0] * len(equity), equity=equity)], 1_000.0)
    assert [cell.text for cell in table.rows[0]] == [
        # Of the 31 stretches one has neither, 29 have the gain alone, one has both: 1.1 * 0.5 - 1. The second lowest
        # of 31 is 1/30 of the way, the third 2/30; 5 % lies half-way between them.
        "30 days", "−45.00 %", "5.00 %", "10.00 %", "10.00 %", "10.00 %", "93.55 %",
    ]  # fmt: skip
    assert len(table.rows) == 1
    assert tables.rolling([record([100.0] * 59 * 96, equity=equity[: 59 * 96])], 1_000.0) is None


def test_a_run_of_a_few_days_is_not_told_as_a_year():
    summary = summary_of(annual_return=7e8, calmar=4e8, returns={"days": 1})
    assert {"return a year", "Calmar"} & {row[0].text for row in tables.compared(summary).rows} == set()
    summary = summary_of(annual_return=0.1, calmar=2.0, returns={"days": 30})
    assert {"return a year", "Calmar"} <= {row[0].text for row in tables.compared(summary).rows}


def test_a_drawdown_lasts_until_the_old_height_is_reached():
    found = tables.deepest_falls(np.arange(6.0), np.array([100.0, 90.0, 95.0, 100.0, 80.0, 85.0]), 100.0)
    assert found == [(1, 1, 3, pytest.approx(0.1)), (4, 4, None, pytest.approx(0.2))]
