"""What the desk reads of a state directory, against the records of the session and the engine's rules."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from live_market import events, rows

from gridv4_bt.config import GridConfig
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk import bot_overview, held, ladder_view
from gridv4_bt.desk.curve import Curve
from gridv4_bt.desk.line_index import LineIndex, RecordIndex
from gridv4_bt.desk.next_cuts import next_cuts
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.pruning import DEVIANCE, GAP, KEEP, prune_reason
from gridv4_bt.engine.types import Fill


def test_both_legs_are_rows_and_the_net_is_their_sum(bot):
    long, short, net = held.leg_rows(bot)
    assert (long["side"], short["side"], net["side"]) == ("LONG", "SHORT", "NET")
    assert long["fills"] + short["fills"] == net["fills"] > 0
    assert net["qty"] == long["qty"] - short["qty"]
    for name in ("unrealized", "fees", "funding", "exposure"):
        assert net[name] == pytest.approx(long[name] + short[name])


def test_a_leg_says_what_the_last_row_of_the_equity_file_says(bot, traded):
    last = rows(traded.folder / "equity.csv")[-1]
    long, short, _ = held.leg_rows(bot)
    assert long["qty"] == pytest.approx(float(last["long_qty"]))
    assert short["qty"] == pytest.approx(float(last["short_qty"]))
    assert long["unrealized"] + short["unrealized"] == pytest.approx(float(last["unrealized"]), abs=1e-6)


def test_the_five_parts_of_the_profit_are_the_change_of_the_recorded_equity(bot, traded):
    found = held.profit(bot)
    parts = [found[name] for name in ("realized_grid", "fees", "funding", "unrealized")]
    equity = float(rows(traded.folder / "equity.csv")[-1]["equity"])
    assert plain_sum(parts) == pytest.approx(equity - 10_000.0, abs=0.005)
    assert abs(found["difference"]) < 0.005 and found["fees"] < 0.0


def test_in_the_middle_of_a_bar_everything_is_that_of_the_bar_before(bot, traded, tmp_path):
    """The next candle and the next row are written, the state not yet: the parts add up all the same."""
    shutil.copytree(traded.folder, tmp_path / "deciding")
    state = json.loads((tmp_path / "deciding" / "state.json").read_text())
    symbol, book = next(iter(state["broker"]["books"].items()))
    book["legs"][0]["fills"] = [[99, 0.02, 39_000.0, book["bar"], 0, 0.01, 0.0, 0.0]]
    (tmp_path / "deciding" / "state.json").write_text(json.dumps(state))
    deciding = StateDirs([tmp_path / "deciding"]).bots()["deciding"]
    before = held.profit(deciding)
    later = np.datetime64(book["bar"] + 900_000, "ms").astype("datetime64[s]")
    with (tmp_path / "deciding" / f"candles-{symbol}.csv").open("a") as file:
        file.write(f"{later}Z,30000,30000,30000,30000,1\n")
    with (tmp_path / "deciding" / "equity.csv").open("a") as file:
        file.write(
            ",".join([f"{later}Z", "1", *(traded.folder / "equity.csv").read_text().splitlines()[-1].split(",")[2:]])
        )
        file.write("\n")
    assert held.profit(deciding) == before


@pytest.mark.parametrize("by", ["day", "symbol", "side"])
def test_the_rows_of_the_profit_sum_to_the_total(bot, by):
    found = held.profit_by(bot, by)
    assert plain_sum(row["total"] for row in found) == pytest.approx(held.profit(bot)["total"], abs=0.005)


def test_the_break_even_of_a_leg_is_where_closing_it_brings_back_all_that_was_paid(bot):
    open_legs = [row for row in held.leg_rows(bot) if row["side"] != "NET" and row["qty"]]
    assert open_legs
    for row in open_legs:
        sign = 1 if row["side"] == "LONG" else -1
        gross = sign * row["qty"] * (row["break_even"] - row["average"])
        fee = bot.config().taker_fee * row["qty"] * row["break_even"]
        assert gross - fee - row["fees"] - row["funding"] == pytest.approx(0.0, abs=1e-9)


FILL = Fill(1, 1.0, 100.0, 0, 0, 0.01, 0.0, 0.02)
DECISION = {"kama": 100.0, "atr": 1.0, "realized_today": 0.0}


def cut(rule, close, fill=FILL, sign=1, **numbers):
    found = next_cuts(GridConfig(), sign, fill, close, 0, DECISION | numbers, {"average": fill.price, "stop": 87.0})
    return next(one for one in found if one["rule"] == rule)


def test_the_prices_that_cut_a_long_fill_are_those_of_the_rules():
    # deviance: 3 ATR below KAMA; gap: 3 spacings of 1 % below the fill; stages: 9 ATR, and the stop that rests.
    assert {rule: cut(rule, 100.0)["price"] for rule in ("deviance", "gap", "stop1", "stop2")} == {
        "deviance": 97.0, "gap": pytest.approx(97.0), "stop1": 91.0, "stop2": 87.0,
    }  # fmt: skip
    assert cut("gap", 100.0)["distance"] == pytest.approx(-0.03)
    assert cut("oldest", 100.0)["hours_left"] == 23.75


@pytest.mark.parametrize(("rule", "reason"), [("deviance", DEVIANCE), ("gap", GAP)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_rule_acts_beyond_its_price_and_not_before(rule, reason, sign):
    kama = 100.0 if rule == "deviance" else 100.0 - sign * 50.0  # far on the good side: only the gap can act
    price = cut(rule, 100.0, sign=sign, kama=kama)["price"]
    p = GridConfig(max_age_hours=0.0)
    for close, expected in ((price + sign * 0.01, KEEP), (price - sign * 0.01, reason)):
        deviated = sign * (kama - close) > p.deviance_atr
        assert prune_reason(p, sign, close, 0, deviated, 100.0, 1.0, 0, 0.01, 0.0) == expected
        assert cut(rule, close, sign=sign, kama=kama)["due"] == (expected != KEEP)


def test_every_level_without_an_open_order_has_a_named_reason(bot):
    levels = ladder_view.ladder(bot, bot.symbols()[0])
    assert len(levels) == 2 * bot.config().levels
    assert all(level["why"] for level in levels if not level["open"])


def test_the_ladder_of_a_running_bot_has_its_open_orders(traded, tmp_path):
    """The state is saved before the orders of its bar are sent; the record says what became of them."""
    folder = tmp_path / "killed"
    shutil.copytree(traded.folder, folder)
    lines = (folder / "orders.jsonl").read_text().splitlines()
    ends = next(i for i, line in enumerate(lines) if '"stopped": true' in line)
    cancels = [i for i in range(ends) if '"kind": "cancel"' in lines[i]]
    first = cancels[-1]  # the entries are cancelled at the end; without that they would be open
    while first - 1 in cancels:
        first -= 1
    gone = {json.loads(lines[i])["id"] for i in range(first, ends) if i in cancels}
    (folder / "orders.jsonl").write_text("\n".join(lines[:first]) + "\n")
    os.utime(folder / "state.json", (0, 0))  # saved before all of them
    found = ladder_view.open_orders(StateDirs([folder]).bots()["killed"])
    assert gone and gone <= {order["id"] for order in found}


def test_why_names_the_reason_of_every_level_at_any_bar(bot, traded):
    symbol = bot.symbols()[0]
    decided = events(traded, "decision")
    assert len(decided) == len(rows(traded.folder / "equity.csv")) == 31
    for event in (decided[0], decided[12], decided[-1]):
        found = ladder_view.why(bot, symbol, event["bar"])
        codes = [Blocked[level["reason"]] for level in found["levels"]]
        assert codes == event["long"] + event["short"]
        assert found["row"]["time"] == event["bar"] and float(found["row"]["equity"]) > 0.0
        placed = [one for one in found["events"] if one["kind"] == "order"]
        assert all(one["clock"] == event["clock"] for one in placed)


def test_the_curve_is_that_of_the_equity_file_and_goes_on_where_it_was(traded, tmp_path):
    folder = tmp_path / "one"
    shutil.copytree(traded.folder, folder)
    lines = (folder / "equity.csv").read_text().splitlines(keepends=True)
    (folder / "equity.csv").write_text("".join(lines[:11]))
    bot = StateDirs([folder]).bots()["one"]
    assert bot_overview.equity_curve(bot)["bars"] == 10
    with (folder / "equity.csv").open("a") as file:
        file.write("".join(lines[11:]) + lines[-1][:20])  # the last row is not whole yet
    found = bot_overview.equity_curve(bot)
    assert found["equity"] == [float(row["equity"]) for row in rows(traded.folder / "equity.csv")]


def test_the_curve_of_a_bot_that_goes_on_from_before_its_last_rows_is_read_anew(tmp_path):
    """The file is as long as before when it is looked at again, and its last rows are others."""
    head, row = "time,equity,wallet\n", "2024-01-01T00:{:02}:00Z,{},10000\n"
    path = tmp_path / "equity.csv"
    path.write_text(head + row.format(0, 10_000.0) + row.format(15, 10_001.5))
    curve = Curve(path)
    assert curve.read()[1].tolist() == [10_000.0, 10_001.5]
    path.write_text(head + row.format(0, 10_000.0) + row.format(15, 10_007.5) + row.format(30, -3.25e-2))
    times, equity = curve.read()
    assert equity.tolist() == [10_000.0, 10_007.5, -0.0325]
    assert times.tolist() == [1_704_067_200_000 + 900_000 * number for number in range(3)]


def test_of_several_symbols_the_curve_has_one_point_a_time(tmp_path):
    rows = ["00:00Z,1.0", "00:00Z,2.0", "15:00Z,3.0"]
    (tmp_path / "equity.csv").write_text("time,equity,symbol\n" + "".join(f"2024-01-01T00:{one},A\n" for one in rows))
    assert Curve(tmp_path / "equity.csv").read()[1].tolist() == [2.0, 3.0]


def test_a_decision_is_found_in_the_older_files_too(traded, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(traded.folder, folder)
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    cut = len(lines) // 2
    (folder / "events.jsonl").write_text("".join(lines[cut:]))
    (folder / "events.jsonl.1").write_text("".join(lines[:cut]))
    bot, whole = (StateDirs([one]).bots() for one in (folder, traded.folder))
    symbol = whole["busy"].symbols()[0]
    for decided in events(traded, "decision"):
        assert bot["old"].decision(symbol, decided["bar"]) == decided
    for folder_, name in ((folder / "events.jsonl", "events.jsonl.1"), (folder / "events.jsonl.1", "events.jsonl.2")):
        folder_.rename(folder / f"{name}.moved")
    for number in (1, 2):  # the file has been begun anew a moment ago
        (folder / f"events.jsonl.{number}.moved").rename(folder / f"events.jsonl.{number}")
    (folder / "events.jsonl").write_text("")
    assert bot["old"].decision(symbol) == events(traded, "decision")[-1]


def test_why_has_the_orders_of_its_bar_and_of_no_other(bot, traded):
    """Orders are sent after the decision, at later times of a real clock; those until the next decision are its own."""
    symbol = bot.symbols()[0]
    lines = [json.loads(line) for line in (traded.folder / "events.jsonl").read_text().splitlines()]
    decided = [number for number, one in enumerate(lines) if one["kind"] == "decision"]
    for number, following in zip(decided, [*decided[1:], len(lines)], strict=True):
        orders = [one for one in lines[number + 1 : following] if one["kind"] in ("order", "cancel", "fill")]
        found = ladder_view.why(bot, symbol, lines[number]["bar"])["events"]
        assert [one for one in found if one["kind"] in ("order", "cancel", "fill")] == orders


def test_thinning_keeps_the_extremes():
    values = np.zeros(10_000)
    values[1_234], values[8_765] = 5.0, -3.0
    kept = bot_overview.thinned(values, 200)
    assert len(kept) <= 204 and {0, 1_234, 8_765, 9_999} <= set(kept.tolist())


def test_bots_are_found_unaided_and_turn_stale(traded, tmp_path):
    found = StateDirs([tmp_path])
    assert found.bots() == {}
    shutil.copytree(traded.folder, tmp_path / "late")
    assert list(found.bots()) == ["late"]
    bot = found.bots()["late"]
    assert bot_overview.overview("late", bot)["state"] == "stopped"
    text = (tmp_path / "late" / "events.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "late" / "events.jsonl").write_text("".join(line for line in text if '"stopped"' not in line))
    assert bot_overview.overview("late", bot)["state"] == "stale"  # its process is gone without an end


def test_a_page_of_many_fills_opens_at_once(tmp_path):
    line = '{"at": "2024-01-01T00:00:00Z", "kind": "fill", "trade": %d, "symbol": "BTCUSDT", "qty": 1.0}\n'
    with (tmp_path / "orders.jsonl").open("w") as file:
        file.writelines(line % number for number in range(200_000))
    index = LineIndex(lambda: [tmp_path / "orders.jsonl"], b'"kind": "fill"')
    with (tmp_path / "orders.jsonl").open("rb") as file:
        began = time.process_time()
        for text in file:
            json.loads(text)
        reading_all = time.process_time() - began
    began = time.process_time()
    total, page = index.page(150_000, 3)
    assert time.process_time() - began < 0.5 * reading_all
    assert (total, [one["trade"] for one in page]) == (200_000, [49_999, 49_998, 49_997])


def test_pages_go_on_in_the_archives(tmp_path):
    import gzip

    with gzip.open(tmp_path / "orders-000001.jsonl.gz", "wt") as file:
        file.write('{"kind": "fill", "trade": 1}\n{"kind": "cancel"}\n{"kind": "fill", "trade": 2}\n')
    (tmp_path / "orders.jsonl").write_text('{"kind": "fill", "trade": 3}\n')
    files = [tmp_path / "orders-000001.jsonl.gz", tmp_path / "orders.jsonl"]
    index = RecordIndex(lambda: files, {"fill": b'"kind": "fill"', "cancel": b'"kind": "cancel"'})
    assert [one["trade"] for one in index.page("fill", 0, 10)[1]] == [3, 2, 1]
    assert [one["trade"] for one in index.page("fill", 1, 1)[1]] == [2]
    assert index.count("cancel") == 1
