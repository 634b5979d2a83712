"""Each law is kept by one sequence of requests made by hand, and broken by another."""

import json

import pytest
from paper_exchange import QUARTER, START_MS, STILL, Rest, make_exchange

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.messages import Request
from gridv4_bt.live.ids import parse_id
from gridv4_bt.record.trades import TRADE_COLUMNS
from gridv4_bt.validation import chaos
from gridv4_bt.validation.booking_law import booking_errors
from gridv4_bt.validation.chaos import Result
from gridv4_bt.validation.laws import Alert, Law, Laws, by_law

MINUTE = 60_000
ENTRY, EXIT, STOP, CLOSE = ("g4test.TESTUSDT." + leg for leg in ("EL1", "XL1", "SL0", "CL1"))


def intent(client_id):
    name = parse_id(client_id)
    return None if name is None else name[:-1]


class Bot(Rest):
    """Sends the requests of a bot, and has its laws."""

    def __init__(self, *bars, **options):
        self.laws = Laws(intent)
        super().__init__(Api(make_exchange(*bars, **options), observe=self.laws.observe))
        self.post("positionSide/dual", dualSidePosition="true")

    def wait(self, seconds):
        body = json.dumps({"ms": 1000 * seconds})
        assert self.api.respond(Request("POST", "/gridv4/advance", body=body)).status == 200

    def hold(self, qty=2.0):
        self.market("BUY", "LONG", qty, newClientOrderId=f"{ENTRY}.1")

    def protect(self, generation=2, **more):
        return self.stop("SELL", "LONG", 95.0, clientAlgoId=f"{STOP}.{generation}", **more)

    def broken(self):
        return dict(by_law(self.laws.violations))


@pytest.fixture
def bot():
    return Bot()


# --- a held leg has a stop


def test_a_leg_may_be_without_a_stop_for_a_minute(bot):
    bot.hold()
    bot.wait(60)
    bot.protect()
    bot.wait(3_600)
    assert bot.broken() == {}


def test_a_leg_without_a_stop_for_longer_breaks_the_law_once(bot):
    bot.hold()
    bot.wait(60)
    bot.wait(1)
    bot.wait(3_600)
    [breach] = bot.laws.violations
    assert (breach.law, breach.time) == (Law.STOP, START_MS + QUARTER + 61_000)
    assert (breach.request, breach.text) == ("POST /gridv4/advance", "TESTUSDT LONG is held without a stop")


def test_a_stop_that_vanishes_breaks_it(bot):
    bot.hold()
    bot.protect()
    bot.wait(1_000)
    bot.faults({"kind": "stop_vanishes"})
    bot.get("positionRisk", "v3")
    bot.wait(59)
    assert bot.broken() == {}
    bot.wait(2)
    assert bot.broken() == {Law.STOP: 1}


def test_a_new_process_does_not_answer_for_the_time_before_it(bot):
    bot.hold()
    bot.wait(50)
    bot.laws.restarted()  # a person starts it half an hour later
    bot.wait(1_800)
    bot.wait(10)
    assert bot.broken() == {}
    bot.wait(1)
    assert bot.broken() == {Law.STOP: 1}


def test_two_moments_without_a_stop_are_counted_singly(bot):
    bot.hold()
    for generation in range(2, 7):
        bot.wait(50)
        bot.protect(generation)
        bot.wait(10)
        bot.delete("algoOrder", symbol="TESTUSDT", clientAlgoId=f"{STOP}.{generation}")
    assert bot.broken() == {}


@pytest.mark.parametrize(("qty", "broken"), [(2.0, {}), (1.5, {Law.STOP: 1})])
def test_a_stop_with_a_quantity_covers_that_much(bot, qty, broken):
    bot.hold(2.0)
    bot.protect(qty=qty)
    bot.wait(100)
    assert bot.broken() == broken


def test_a_stop_of_the_other_leg_is_none(bot):
    bot.hold()
    bot.market("SELL", "SHORT", 2.0)
    bot.stop("BUY", "SHORT", 105.0)
    bot.wait(100)
    assert [one.text[:13] for one in bot.laws.violations] == ["TESTUSDT LONG"]


def test_time_in_a_ban_is_not_counted(bot):
    bot.hold()
    bot.faults({"kind": "banned", "seconds": 600})
    bot.get("time")
    bot.wait(600)
    bot.wait(60)
    assert bot.broken() == {}
    bot.wait(1)
    assert bot.broken() == {Law.STOP: 1}


@pytest.mark.parametrize(
    "kind", ["lost_before", "lost_after", "cut", "html", "unavailable", "gateway", "firewall", "timeout"]
)
def test_time_of_an_outage_is_counted_from_when_the_bot_must_ask_again(bot, kind):
    bot.hold()
    bot.faults({"kind": kind, "times": 0})
    for _ in range(30):  # asked every 20 s, never answered
        bot.get("time")
        bot.wait(20)
    assert bot.broken() == {}
    bot.wait(61)  # it does not ask any more: that is no outage
    assert bot.broken() == {Law.STOP: 1}


def test_refused_questions_are_no_outage(bot):
    bot.hold()
    bot.faults({"kind": "error", "code": -2019, "times": 0})
    for _ in range(4):
        bot.get("time")
        bot.wait(20)
    assert bot.broken() == {Law.STOP: 1}


# --- one order for one intent


def test_two_generations_open_together_break_the_law(bot):
    bot.limit("BUY", "LONG", 1.0, 98.0, newClientOrderId=f"{ENTRY}.1")
    bot.limit("BUY", "LONG", 1.0, 97.0, newClientOrderId=f"{ENTRY}.2")
    bot.get("time")
    [breach] = bot.laws.violations
    assert (breach.law, breach.request) == (Law.ONE, "POST /fapi/v1/order")
    assert breach.text == f"open at the same time: {ENTRY}.1, {ENTRY}.2"


def test_one_after_the_other_and_orders_of_others_keep_it(bot):
    bot.limit("BUY", "LONG", 1.0, 98.0, newClientOrderId=f"{ENTRY}.1")
    bot.delete("order", symbol="TESTUSDT", origClientOrderId=f"{ENTRY}.1")
    bot.limit("BUY", "LONG", 1.0, 97.0, newClientOrderId=f"{ENTRY}.2")
    bot.limit("BUY", "LONG", 1.0, 97.0, newClientOrderId="g4test.TESTUSDT.EL2.3")
    bot.limit("BUY", "LONG", 1.0, 97.0)
    bot.limit("BUY", "LONG", 1.0, 97.0)
    assert bot.broken() == {}


@pytest.mark.parametrize(("sizes", "breaches"), [((0.4, 0.3), 0), ((0.1, 0.1), 1)])
def test_one_close_sent_twice_breaks_it_parts_of_a_fill_closed_by_two_rules_do_not(sizes, breaches):
    bot = Bot([STILL] * 3 + [(*STILL[:4], 0.0)] * 9)  # without trades a market order waits
    bot.hold()
    bot.protect(2)
    bot.wait(3 * 900)
    for number, qty in enumerate(sizes, start=7):
        bot.market("SELL", "LONG", qty, newClientOrderId=f"{CLOSE}.{number}")
    assert len(bot.exchange.order_records.open_orders()) == 2
    assert bot.broken().get(Law.ONE, 0) == breaches


def test_two_stops_of_one_leg_break_it(bot):
    bot.hold()
    bot.protect(2, qty=1.0)
    bot.protect(3, qty=1.0)
    assert bot.broken() == {Law.ONE: 1}


# --- bans


def test_what_is_sent_in_a_ban_breaks_the_law(bot):
    bot.faults({"kind": "banned", "seconds": 60})
    bot.get("time")
    bot.wait(59)
    bot.get("time")
    bot.get("openOrders")
    assert bot.broken() == {Law.BAN: 2}
    assert bot.laws.violations[0].text == "sent 1 s before the end of the ban"


def test_nothing_is_sent_until_the_ban_is_over(bot):
    bot.faults({"kind": "banned", "seconds": 60})
    bot.get("time")
    bot.wait(60)
    bot.get("time")
    assert bot.broken() == {}


def test_a_ban_that_grows_is_told_anew(bot):
    bot.faults({"kind": "escalating_ban", "seconds": 60})
    bot.get("time")
    bot.get("time")  # 120 s from here
    bot.wait(119)
    bot.get("time")
    assert bot.broken() == {Law.BAN: 2}


def test_an_answer_that_never_came_and_a_new_process_know_of_no_ban(bot):
    bot.faults({"kind": "banned", "seconds": 60})
    bot.get("time")
    bot.laws.restarted()
    bot.get("time")
    assert bot.broken() == {}


def test_too_many_requests_are_no_ban(bot):
    bot.faults({"kind": "too_many", "seconds": 60})
    bot.get("time")
    bot.get("openOrders")
    assert bot.broken() == {}


# --- the end


def test_an_end_with_stops_and_exits_is_safe(bot):
    bot.hold()
    bot.protect()
    bot.limit("SELL", "LONG", 1.0, 102.0, newClientOrderId=f"{EXIT}.3")
    bot.laws.ended(bot.exchange, 0)
    assert bot.broken() == {}


def test_an_end_with_entries_or_without_stops_is_not(bot):
    bot.hold()
    bot.limit("BUY", "LONG", 1.0, 98.0, newClientOrderId=f"{ENTRY}.3")
    bot.laws.ended(bot.exchange, 3)
    assert [one.text for one in bot.laws.violations] == [
        "exit 3: 1 entries are open",
        "exit 3: TESTUSDT LONG is held without a stop",
    ]


def test_an_end_in_a_ban_is_not_judged(bot):
    bot.hold()
    bot.faults({"kind": "banned", "seconds": 60})
    bot.get("time")
    bot.laws.ended(bot.exchange, 3)
    assert bot.broken() == {}
    bot.wait(60)
    bot.laws.ended(bot.exchange, 3)
    assert bot.broken() == {Law.END: 1}


def test_nor_is_one_of_a_process_that_began_in_it(bot):
    bot.hold()
    bot.faults({"kind": "banned", "seconds": 60})
    bot.get("time")
    bot.laws.restarted()
    bot.laws.ended(bot.exchange, 3)
    assert bot.broken() == {}


# --- refused closes


@pytest.fixture
def refused(bot):
    """A close at market that the exchange has refused."""
    bot.hold()
    bot.protect()
    bot.faults({"on": "POST /fapi/v1/order", "kind": "error", "code": -4164, "only": "closes"})
    assert bot.market("SELL", "LONG", 1.0, newClientOrderId=f"{CLOSE}.7")["code"] == -4164
    assert bot.laws.refused_closes == 1
    return bot


def judged(bot, *alerts):
    now = bot.exchange.now
    bot.laws.judge_alerts([Alert(START_MS + QUARTER + minutes * MINUTE, text) for minutes, text in alerts], now)
    return bot.broken()


def test_a_refused_close_without_an_alert_breaks_the_law(refused):
    refused.wait(20 * 60)
    assert judged(refused) == {Law.ALERT: 1}
    [breach] = refused.laws.violations
    assert (breach.time, breach.request) == (START_MS + QUARTER, "POST /fapi/v1/order")
    assert breach.text == f"{CLOSE}.7 was refused with -4164, and no alert says so"


@pytest.mark.parametrize("text", ["order failed code -4164", f"order {CLOSE}.7", "a close was refused"])
def test_an_alert_within_twenty_minutes_keeps_it(refused, text):
    refused.wait(20 * 60)
    assert judged(refused, (20, text)) == {}


@pytest.mark.parametrize("alert", [(21, "a close was refused"), (-1, "a close was refused"), (5, "drawdown 11 %")])
def test_a_late_an_early_or_another_alert_does_not(refused, alert):
    refused.wait(30 * 60)
    assert judged(refused, alert) == {Law.ALERT: 1}


def test_a_close_that_is_executed_after_all_needs_no_alert(refused):
    refused.wait(19 * 60)
    refused.market("SELL", "LONG", 1.0, newClientOrderId=f"{CLOSE}.8")
    refused.wait(10 * 60)
    assert judged(refused) == {}


@pytest.mark.parametrize(("executed", "broken"), [(True, {}), (False, {Law.ALERT: 1})])
def test_a_close_of_unknown_outcome_that_was_executed_needs_no_alert(bot, executed, broken):
    bot.hold()
    bot.protect()
    bot.faults({"on": "POST /fapi/v1/order", "kind": "timeout", "executed": executed})
    assert bot.market("SELL", "LONG", 1.0, newClientOrderId=f"{CLOSE}.7")["code"] == -1007
    bot.wait(20 * 60)
    assert judged(bot) == broken


def test_a_close_of_another_fill_is_not_the_same(refused):
    refused.market("SELL", "LONG", 1.0, newClientOrderId="g4test.TESTUSDT.CL2.8")
    refused.wait(20 * 60)
    assert judged(refused) == {Law.ALERT: 1}


def test_a_leg_that_is_closed_meanwhile_needs_no_alert(refused):
    refused.market("SELL", "LONG", 2.0)
    refused.wait(20 * 60)
    assert judged(refused) == {}


def test_a_close_done_after_twenty_minutes_comes_too_late(refused):
    refused.wait(21 * 60)
    refused.market("SELL", "LONG", 2.0)
    assert judged(refused) == {Law.ALERT: 1}


def test_the_last_twenty_minutes_are_not_judged(refused):
    refused.wait(20 * 60 - 1)
    assert judged(refused) == {}


def test_an_answer_that_a_killed_process_never_read_is_not_judged(refused):
    refused.laws.restarted()
    refused.wait(20 * 60)
    assert judged(refused) == {}


def test_refused_closes_in_a_batch_and_lost_answers(bot):
    bot.hold()
    bot.protect()
    close = {"symbol": "TESTUSDT", "side": "SELL", "positionSide": "LONG", "type": "MARKET"}
    bot.post("batchOrders", batchOrders=[close | {"quantity": "1"}, close | {"quantity": "0.0001"}])
    assert bot.laws.refused_closes == 1
    bot.faults({"on": "order", "kind": "lost_before"}, {"on": "order", "kind": "post_only"})
    bot.market("SELL", "LONG", 1.0)
    bot.limit("SELL", "LONG", 1.0, 102.0, "GTX")
    assert bot.laws.refused_closes == 1


# --- executions and books


UP = (100.0, 104.0, 100.0, 103.0, 50.0)


@pytest.fixture
def traded():
    """Two fills of 1.0 and 2.0; the first has left by its exit at 103, of the second a half was cut."""
    bot = Bot([STILL, STILL, UP, *[(103.0, 103.0, 103.0, 103.0, 50.0)] * 5])
    bot.hold(1.0)
    bot.market("BUY", "LONG", 2.0, newClientOrderId="g4test.TESTUSDT.EL2.2")
    bot.limit("SELL", "LONG", 1.0, 103.0, newClientOrderId=f"{EXIT}.3")
    bot.wait(2 * 900)
    bot.market("SELL", "LONG", 0.5, newClientOrderId="g4test.TESTUSDT.CL2.4")
    return bot


def row(trade_id, label, qty, side="LONG"):
    return {"trade_id": trade_id, "label": label, "qty": qty, "side": side}


RIGHT = (row(1, "grid", 1.0), row(2, "oldest", 0.5))


def errors(bot, rows, held=((2, 1.5),), until=None):
    return booking_errors(bot.exchange, until or bot.exchange.now + 1, rows, {"LONG": held, "SHORT": ()})


def test_right_books_keep_the_law(traded):
    assert errors(traded, RIGHT) == []


@pytest.mark.parametrize("label", ["manual", "stop2"])
def test_a_close_at_market_may_be_a_persons_or_that_of_a_stop_that_was_passed(traded, label):
    assert errors(traded, (RIGHT[0], row(2, label, 0.5))) == []
    traded.market("SELL", "LONG", 0.25, newClientOrderId="g4test.TESTUSDT.CL2.5")
    assert errors(traded, (*RIGHT, row(2, label, 0.25)), ((2, 1.25),)) == []
    assert errors(traded, (*RIGHT, row(2, label, 0.75)), ((2, 0.75),)) != []  # more than was executed


def test_books_of_an_earlier_time_know_only_what_was_before(traded):
    assert errors(traded, RIGHT[:1], ((2, 2.0),), START_MS + 3 * QUARTER) == []


@pytest.mark.parametrize(
    ("rows", "held", "wrong"),
    [
        # The exit of fill 1 booked on fill 2.
        ((row(2, "grid", 1.0), row(2, "oldest", 0.5)), ((1, 1.0), (2, 0.5)),
         ["fill 1: 1 exited at the exchange, 0 in the books", "fill 2: 0 exited at the exchange, 1 in the books"]),
        # Taken for a stranger's.
        ((row(1, "manual", 1.0), row(2, "oldest", 0.5)), ((2, 1.5),),
         ["LONG: 0 closed by others at the exchange, 1 in the books",
          "fill 1: 1 exited at the exchange, 0 in the books"]),
        # Booked twice.
        ((*RIGHT, row(2, "oldest", 0.5)), ((2, 1.0),), ["fill 2: 0.5 cut at the exchange, 1 in the books"]),
        # Not booked.
        (RIGHT[:1], ((2, 2.0),), ["fill 2: 0.5 cut at the exchange, 0 in the books"]),
        # An entry booked twice, and one that is missing.
        (RIGHT, ((2, 1.5), (3, 2.0)), ["LONG: 3 opened at the exchange, 5 in the books"]),
        (RIGHT, (), ["LONG: 3 opened at the exchange, 1.5 in the books"]),
    ],
)  # fmt: skip
def test_wrong_books_break_it(traded, rows, held, wrong):
    assert errors(traded, rows, held) == wrong


def test_more_closed_than_a_fill_had_cannot_be_booked_on_it(traded):
    traded.market("SELL", "LONG", 0.5, newClientOrderId="g4test.TESTUSDT.CL1.5")  # fill 1 has left already
    assert errors(traded, (*RIGHT, row(2, "oldest", 0.5)), ((2, 1.0),)) != []  # fill 2 was cut once only
    names = [one.split(":")[0] for one in errors(traded, (*RIGHT, row(2, "oldest", 0.5)), ((2, 1.0),))]
    assert names == ["fill 2"]


def test_a_stop_closes_all_fills_of_its_leg():
    bot = Bot([STILL, STILL, (100.0, 100.0, 90.0, 92.0, 50.0), *[(92.0, 92.0, 92.0, 92.0, 50.0)] * 5])
    bot.hold()
    bot.protect()
    bot.wait(2 * 900)
    assert bot.exchange.ledger.position("TESTUSDT", PositionSide.LONG).qty == 0.0
    assert errors(bot, [row(1, "stop2", 2.0)], ()) == []
    assert errors(bot, [row(1, "grid", 2.0)], ()) == [
        "fill 1: 0 exited at the exchange, 2 in the books",
        "LONG: 2 stopped at the exchange, 0 in the books",
    ]
    assert bot.broken() == {}


def test_time_of_the_exchange_at_a_time_of_the_wall(bot):
    bot.hold()
    (first, began), *_ = bot.laws._moments
    bot.laws._moments = [(10.0, began), (20.0, began + MINUTE)]
    assert [bot.laws.time_at(wall) - began for wall in (5.0, 10.0, 19.9, 20.0, 99.0)] == [0, 0, 0, MINUTE, MINUTE]


# --- the reports of the sessions of a seed


@pytest.fixture
def judge(tmp_path, traded):
    """Judge the rows that sessions have written, of a bot that has traded as above."""

    def found(*rows, trades=RIGHT):
        lines = [json.dumps({"broken": []} | one) for one in rows]
        (tmp_path / "chaos.jsonl").write_text("\n".join([*lines, '{"bar": 1, "cut by a ki']), encoding="utf-8")
        (tmp_path / "state").mkdir()
        cells = dict.fromkeys(TRADE_COLUMNS, "0") | {"symbol": "TESTUSDT", "regime": "RANGE"}
        times = {"open_time": "2024-01-01T00:15:00Z", "close_time": "2024-01-01T00:45:00Z"}
        text = [TRADE_COLUMNS, *([(cells | times | one)[name] for name in TRADE_COLUMNS] for one in trades)]
        table = "".join(",".join(map(str, row)) + "\n" for row in text)
        (tmp_path / "state" / "trades.csv").write_text(table, encoding="utf-8")
        result = Result(1)
        chaos._judge(tmp_path, result, traded.laws, traded.exchange)
        return result

    return found


def bar(number, start=10_000.0, **more):
    return {"bar": START_MS + number * QUARTER, "fills": 2, "start": start} | more


CHECKED = {"checked": True, "held": {"LONG": [[2, 1.5]], "SHORT": []}}


def laws_of(result):
    return [(one.law, (one.time - START_MS) // QUARTER, one.text) for one in result.laws if one.law is not Law.STOP]


def test_reports_of_a_good_seed_break_no_law(judge):
    result = judge(bar(2), bar(3, **CHECKED))
    assert laws_of(result) == []
    assert (result.bars, result.fills, result.closes, result.cuts, result.stops, result.checks) == (2, 2, 2, 1, 0, 1)


def test_a_wallet_that_is_corrected_and_back_breaks_the_law_twice(judge):
    assert laws_of(judge(bar(1), bar(2, 0.0), bar(3, 0.0), bar(4))) == [
        (Law.WALLET, 3, "corrected by -10000.0000, and nobody has moved money"),
        (Law.WALLET, 5, "corrected by 10000.0000, and nobody has moved money"),
    ]


def test_wrong_books_of_the_last_checked_bar_break_the_law(judge):
    result = judge(bar(3, **CHECKED), trades=(row(1, "manual", 1.0), row(2, "oldest", 0.5)))
    assert [text for _, _, text in laws_of(result)] == [
        "LONG: 0 closed by others at the exchange, 1 in the books",
        "fill 1: 1 exited at the exchange, 0 in the books",
    ]


def test_differences_at_calm_bars_are_invariants_and_those_of_money_laws(judge):
    result = judge(bar(3, **CHECKED, broken=["equity 1.0000, at the exchange 2.0000", "LONG 1, at the exchange 2"]))
    assert len(result.broken) == 2
    assert laws_of(result) == [(Law.WALLET, 4, "equity 1.0000, at the exchange 2.0000")]
