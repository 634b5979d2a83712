"""A person's commands to a running bot: obeyed, journaled before, answered, kept over restarts, never done twice."""

import json
import os

import pytest
from live_market import events, rows, run_until_killed

from gridv4_bt.audit.audit import audit
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.command_files import FOLDER, Action, Command, answers, is_in_scope, read_command, write_command

NUMBERS = iter(range(10_000_000, 20_000_000))


def give(scene, action, scope="account", confirm=None, **more):
    """Write a command into the state directory, as the desk does; return its id."""
    command = Command(str(next(NUMBERS)), Action(action), scope, "a test", "2026-01-01T00:00:00Z", **more)
    write_command(scene.folder, command, scope if confirm is None else confirm)
    return command.id


def answer_to(scene, number):
    return next(one for one in answers(scene.folder) if one["id"] == number)


def at_bar(scene, session, bars, do):
    """Call `do` after so many decided bars."""
    seen = session._on_bar

    def on_bar(symbol):
        seen(symbol)
        if session.bars == bars:
            do(session)

    session._on_bar = on_bar


def once_held(session, do):
    """Call `do` after the first decided bar at which something is held."""
    seen, done = session._on_bar, []

    def on_bar(symbol):
        seen(symbol)
        if not done and session.bars > 2 and any(leg.tracker.ids for leg in session.broker.books[0].legs):
            done.append(session.bars)
            do(session)

    session._on_bar = on_bar
    return done


def entries(scene, session):
    """Return the number of entries that rest at the exchange, by side."""
    symbol = scene.data[0].symbol
    names = [session.reconciler.own_name(one) for one in session.reconciler.executor.open_orders(symbol)]
    return {side: sum(name.side is side and name.purpose.opens for name in names if name) for side in PositionSide}


def codes(scene, side="long"):
    return [{Blocked(code) for code in event[side]} for event in events(scene, "decision")]


def test_a_pause_takes_entries_back_and_exits_stay(market):
    scene, found = market(bars=36, watch=20.0), {}
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        began = once_held(session, lambda _: found.update(number=give(scene, "pause")))
        at_bar(scene, session, 30, lambda one: found.update(left=entries(scene, one)))
        session.run()
    assert set(found["left"].values()) == {0}
    assert answer_to(scene, found["number"])["state"] == "done"
    paused = [reasons == {Blocked.PAUSED} for reasons in codes(scene)]
    assert paused == [False] * began[0] + [True] * (len(paused) - began[0])
    after = rows(scene.folder / "equity.csv")[began[0] + 1 :]
    for side in ("long_qty", "short_qty"):
        held = [float(row[side]) for row in after]
        assert held == sorted(held, reverse=True)  # nothing is added
    assert float(rows(scene.folder / "equity.csv")[began[0]]["resting_orders"]) in (0, 2, 4)  # an exit and a stop


def test_a_pause_of_one_leg_leaves_the_other_one_alone(market):
    scene = market(bars=12)
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        symbol = scene.data[0].symbol
        at_bar(scene, session, 3, lambda _: give(scene, "pause", f"{symbol} LONG"))
        session.run()
    assert all(reasons == {Blocked.PAUSED} for reasons in codes(scene, "long")[4:])
    assert all(Blocked.PAUSED not in reasons for reasons in codes(scene, "short"))


def test_a_pause_holds_over_a_kill_until_it_is_resumed(market):
    scene = market(bars=24)
    with ServerThread(scene.api) as server:
        with scene.session(server.url, until=8) as session:
            at_bar(scene, session, 4, lambda _: give(scene, "pause"))
            run_until_killed(session)
        with scene.session(server.url, until=6) as session:
            session.run()
        before = len(codes(scene))
        assert all(reasons == {Blocked.PAUSED} for reasons in codes(scene)[5:])
        number = give(scene, "resume")
        with scene.session(server.url) as session:
            session.run()
    assert "lifted: account" in answer_to(scene, number)["text"]
    assert all(Blocked.PAUSED not in reasons for reasons in codes(scene)[before + 1 :])


def test_a_flatten_closes_the_leg_and_keeps_it_closed_and_the_other_one_is_untouched(market):
    scene, found = market(bars=16, watch=20.0), {}
    symbol = scene.data[0].symbol

    def flatten(session):
        sides = {leg.side.name: leg.tracker.qty for leg in session.broker.books[0].legs}
        found["side"] = "LONG" if sides["LONG"] else "SHORT"
        found["held"] = sides[found["side"]]
        found["number"] = give(scene, "flatten", f"{symbol} {found['side']}")

    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        began = once_held(session, flatten)
        session.run()
    assert found["held"] > 0.0
    answer = answer_to(scene, found["number"])
    assert answer["state"] == "done" and f"{found['side']} {found['held']:g} of {found['held']:g}" in answer["text"]
    column = f"{found['side'].lower()}_qty"
    assert all(float(row[column]) == 0.0 for row in rows(scene.folder / "equity.csv")[began[0] + 2 :])
    manual = [row for row in rows(scene.folder / "trades.csv") if row["label"] == "manual"]
    assert sum(float(row["qty"]) for row in manual) <= found["held"] * (1 + 1e-9)
    assert {row["side"] for row in manual} == {found["side"]}


@pytest.mark.parametrize("moment", ["_note", "_act", "_write", "_take_away"])
def test_a_bot_that_is_killed_over_a_flatten_does_it_once(market, moment):
    """It dies before the command is journaled, acted on, in the saved state, answered, or taken away."""
    scene = market(bars=14, watch=20.0)

    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    with ServerThread(scene.api) as server:
        with scene.session(server.url) as session:
            number = []

            def flatten(one):
                number.append(give(scene, "flatten"))
                setattr(one.commands, moment, die)

            began = once_held(session, flatten)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(session, "finish", lambda: None)
                patch.setattr(session, "abandon", lambda: None)
                with pytest.raises(Killed):
                    session._cerebro.run()
        lines = map(json.loads, (scene.folder / "journal.jsonl").read_text().splitlines())
        record = [one["command"]["id"] for one in lines if "command" in one]
        assert record == ([] if moment == "_note" else number)  # journaled before it was carried out
        with scene.session(server.url) as session:
            session.run()
    assert answer_to(scene, number[0])["state"] == "done"
    late = rows(scene.folder / "equity.csv")[began[0] + 3 :]
    assert all(float(row["long_qty"]) == float(row["short_qty"]) == 0.0 for row in late)
    orders = [one for one in events(scene, "order") if one.get("label") == "manual"]
    assert orders and len(orders) == len({one["id"].split(".")[2] for one in orders})  # one close a fill
    assert not [path for path in (scene.folder / FOLDER).glob("*.json") if not path.name.endswith("answer.json")]


def held_side(session):
    """Return the leg of the first symbol that holds most."""
    return max(session.broker.books[0].legs, key=lambda leg: leg.tracker.qty)


def close_a_share(scene, server, moment=None, begin=once_held, **more):
    """Flatten a part of a leg once something is held; return the leg's name, what it held then, and the command."""
    found = {}

    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    def flatten(session):
        leg = held_side(session)
        found["scope"], found["held"] = f"{scene.data[0].symbol} {leg.side.name}", leg.tracker.qty
        found["bar"], found["number"] = session.bars, give(scene, "flatten", found["scope"], **more)
        if moment:
            setattr(session.commands, moment, die)

    with scene.session(server.url) as session:
        begin(session, flatten)
        if not moment:
            session.run()
            return found
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "finish", lambda: None)
            patch.setattr(session, "abandon", lambda: None)
            with pytest.raises(Killed):
                session._cerebro.run()
    with scene.session(server.url) as session:
        session.run()
    return found


@pytest.mark.parametrize("moment", [None, "_act", "_save"])
def test_a_share_of_a_leg_is_closed_once_whatever_dies(market, moment):
    scene = market(bars=14, watch=20.0)
    with ServerThread(scene.api) as server:
        found = close_a_share(scene, server, moment, share=0.5)
    lots = int(0.5 * found["held"] / 0.001 + 1e-9) * 0.001
    manual = [row for row in rows(scene.folder / "trades.csv") if row["label"] == "manual"]
    assert sum(float(row["qty"]) for row in manual) == pytest.approx(lots) and lots > 0.0
    assert {f"{row['symbol']} {row['side']}" for row in manual} == {found["scope"]}
    sent = [one for one in events(scene, "order") if one.get("label") == "manual"]
    assert sum(one["qty"] for one in sent) == pytest.approx(lots)
    answer = answer_to(scene, found["number"])
    assert answer["state"] == "done"
    side = found["scope"].split()[1].lower()
    late = [float(row[f"{side}_qty"]) for row in rows(scene.folder / "equity.csv")[found["bar"] + 2 :]]
    assert late == sorted(late, reverse=True)  # it stays paused


def test_a_leg_that_is_closed_at_the_best_price_takes_nothing_and_the_other_one_is_untouched(market):
    scene = market(bars=24, watch=20.0)
    with ServerThread(scene.api) as server:
        begin = lambda session, do: at_bar(scene, session, 20, do)  # noqa: E731, a fill is held for ten bars then
        found = close_a_share(scene, server, begin=begin, limit=0.0)
    side = found["scope"].split()[1]
    [began, _] = events(scene, "command")
    ours = [one for one in events(scene, "order") if f".X{side[0]}" in one["id"] and one["clock"] >= began["clock"]]
    assert ours
    for one in ours:  # each rests a tick beyond the close before it, whatever the grid wanted
        close = [other["close"] for other in events(scene, "decision") if other["clock"] < one["clock"]][-1]
        assert one["price"] == pytest.approx(close + (0.1 if side == "LONG" else -0.1))
    closed = [row for row in rows(scene.folder / "trades.csv") if row["side"] == side and row["label"] == "grid"]
    assert closed and all(one["maker"] for one in events(scene, "fill") if f".X{side[0]}" in one["order"])
    assert float(rows(scene.folder / "equity.csv")[-1][f"{side.lower()}_qty"]) == 0.0
    assert answer_to(scene, found["number"])["state"] == "done"
    assert {one.cause for one in audit(scene.folder).differences} <= {"command"}


def test_a_resume_gives_the_exits_back_to_the_strategy(market):
    scene, found = market(bars=27), {}

    def flatten(session):
        leg = held_side(session)
        limit = round(session.broker.books[0].bar.close * 1.5 ** int(leg.side), 1)
        found.update(limit=limit, leg=leg, before=dict(leg.exits))
        give(scene, "flatten", f"{scene.data[0].symbol} {leg.side.name}", limit=limit)

    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 20, flatten)
        at_bar(scene, session, 22, lambda _: found.update(rest=dict(found["leg"].exits)))
        at_bar(scene, session, 23, lambda _: give(scene, "resume"))
        at_bar(scene, session, 25, lambda _: found.update(back=dict(found["leg"].exits)))
        session.run()
    assert list(found["rest"].values()) == [found["limit"]]
    assert list(found["back"]) == list(found["before"])  # the fill, whose exit is near its entry again
    assert found["back"].values() != found["rest"].values()
    assert max(found["back"].values()) == pytest.approx(max(found["before"].values()), rel=0.01)


def test_a_pause_is_done_only_when_no_entry_can_be_filled_any_more(market):
    """The exchange takes no cancels: the answer says that the bot works on it; what rests is cancelled later."""
    scene = market(bars=12, watch=20.0, faults=[
        {"kind": "error", "code": -1000, "status": 500, "on": on, "lasts": 2_700}
        for on in ("DELETE /fapi/v1/order", "DELETE /fapi/v1/batchOrders")
    ])  # fmt: skip
    found, states = {}, []
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 4, lambda _: found.update(number=give(scene, "pause")))
        for bar in range(5, 12):
            at_bar(
                scene,
                session,
                bar,
                lambda one: states.append(
                    (answer_to(scene, found["number"])["state"], sum(entries(scene, one).values()))
                ),
            )
        session.run()
    assert all(rest == 0 for state, rest in states if state == "done")
    assert ("done", 0) in states and any(state == "works" and rest for state, rest in states)


def test_a_command_between_the_candles_is_obeyed_at_the_next_look(market):
    scene, found = market(bars=10, watch=20.0), {}
    with ServerThread(scene.api) as server, scene.session(server.url) as session:

        def look(one):
            found["number"] = give(scene, "pause")
            found["bar"] = one.bars

        at_bar(scene, session, 4, look)
        at_bar(scene, session, 5, lambda _: found.update(answer=answer_to(scene, found["number"])))
        session.run()
    assert "between the candles" in found["answer"]["text"]
    [event] = events(scene, "command")
    assert event["id"] == found["number"] and event["clock"] < events(scene, "decision")[4]["clock"]


def test_cancelled_entries_come_back_at_the_next_decision(market):
    scene, found = market(bars=8, watch=20.0), {}
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 4, lambda one: found.update(before=entries(scene, one), number=give(scene, "cancel")))
        at_bar(scene, session, 5, lambda one: found.update(after=entries(scene, one)))
        session.run()
    assert sum(found["before"].values()) > 0 and sum(found["after"].values()) > 0
    assert answer_to(scene, found["number"])["text"].startswith(
        f"{sum(found['before'].values())} entries are cancelled"
    )


def test_the_audit_names_the_command_as_the_cause(market):
    scene = market(bars=16)
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        once_held(session, lambda _: give(scene, "flatten"))
        session.run()
    assert {one.cause for one in audit(scene.folder).differences} == {"command"}


# --- what is refused

SYMBOLS = ("BTCUSDT", "ETHUSDT")
GOOD = {"id": "12345678", "action": "pause", "scope": "account", "by": "me", "at": "2026-01-01"}
FLATTEN = {"action": "flatten", "confirm": "account"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": "withdraw"}, "no command"),
        ({"scope": "DOGEUSDT"}, "not traded here"),
        ({"scope": "BTCUSDT BOTH"}, "not traded here"),
        ({"action": "take_out"}, "for a symbol"),
        ({"action": "flatten"}, "not confirmed"),
        ({"action": "flatten", "confirm": "yes"}, "not confirmed"),
        ({"by": 7}, "no command"),
        ({"share": 0.5}, "belong to flatten"),
        (FLATTEN | {"share": 0.0}, "above 0"),
        (FLATTEN | {"share": 1.5}, "at most 1"),
        (FLATTEN | {"share": "all"}, "numbers"),
        (FLATTEN | {"share": True}, "numbers"),
        (FLATTEN | {"share": float("nan")}, "numbers"),
        (FLATTEN | {"share": 10**400}, "numbers"),
        (FLATTEN | {"limit": -1.0}, "a price"),
        (FLATTEN | {"limit": 5.0}, "for one leg"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(change, message):
    assert read_command(json.dumps(GOOD), SYMBOLS).action is Action.PAUSE
    with pytest.raises(ValueError, match=message):
        read_command(json.dumps(GOOD | change), SYMBOLS)


def test_files_that_are_no_commands_are_answered_and_harm_nothing(market, tmp_path):
    scene = market(bars=6)
    folder = scene.folder / FOLDER
    folder.mkdir(parents=True)
    (folder / "notjson1.json").write_text("{")
    (folder / "toolong1.json").write_text(json.dumps(GOOD | {"by": "x" * 5_000}))
    (folder / "othername.json").write_text(json.dumps(GOOD))
    (folder / "deepdeep.json").write_text("[" * 4_000)
    (folder / "afolder1.json").mkdir()
    (folder / "afolder1.json" / "x").touch()
    long_name = "x" * 249
    (folder / f"{long_name}.json").write_text(json.dumps(GOOD))
    os.symlink("/etc/passwd", folder / "linklink.json")
    scene.live()
    refused = {one["id"]: one["text"] for one in answers(scene.folder) if "text" in one}
    assert set(refused) == {"notjson1", "toolong1", "othername", "linklink", "deepdeep", "afolder1"}
    assert os.path.exists("/etc/passwd") and not (folder / f"{long_name}.json").exists()
    told = [one["id"] for one in events(scene, "command")]
    assert len(told) == len(set(told))  # what cannot be taken away is refused once
    assert all(one["state"] == "refused" for one in answers(scene.folder) if "text" in one)
    assert all(Blocked.PAUSED not in reasons for reasons in codes(scene))


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("account", {"BTCUSDT LONG", "BTCUSDT SHORT", "ETHUSDT LONG", "ETHUSDT SHORT"}),
        ("BTCUSDT", {"BTCUSDT LONG", "BTCUSDT SHORT"}),
        ("ETHUSDT SHORT", {"ETHUSDT SHORT"}),
        ("BTC", set()),
    ],
)
def test_a_scope_is_the_account_a_symbol_or_a_leg(scope, covered):
    found = {f"{symbol} {side.name}" for symbol in SYMBOLS for side in PositionSide if is_in_scope(scope, symbol, side)}
    assert found == covered


def test_a_symbol_that_is_taken_out_is_resumed_by_its_name_only(market):
    scene = market(bars=12)
    symbol = scene.data[0].symbol
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 2, lambda _: give(scene, "take_out", symbol))
        at_bar(scene, session, 4, lambda _: give(scene, "resume"))
        at_bar(scene, session, 8, lambda _: give(scene, "resume", symbol))
        session.run()
    paused = [reasons == {Blocked.PAUSED} for reasons in codes(scene)]
    assert paused[3:8] == [True] * 5 and not any(paused[9:])


def test_a_pause_of_a_symbol_that_is_taken_out_does_not_weaken_it(market):
    scene = market(bars=10)
    symbol = scene.data[0].symbol
    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 2, lambda _: give(scene, "take_out", symbol))
        at_bar(scene, session, 3, lambda _: give(scene, "pause", symbol))
        at_bar(scene, session, 5, lambda _: give(scene, "resume"))
        session.run()
    assert [reasons == {Blocked.PAUSED} for reasons in codes(scene)][3:] == [True] * 8


def test_a_command_that_is_given_again_is_not_done_again(market):
    scene, found = market(bars=12, watch=20.0), {}

    def again(session):
        path = scene.folder / FOLDER / f"{found['number']}.json"
        assert not path.exists()
        path.write_text(json.dumps(found["command"]))

    with ServerThread(scene.api) as server, scene.session(server.url) as session:

        def first(_):
            found["number"] = give(scene, "pause")
            found["command"] = json.loads((scene.folder / FOLDER / f"{found['number']}.json").read_text())

        at_bar(scene, session, 3, first)
        at_bar(scene, session, 5, lambda _: give(scene, "resume"))
        at_bar(scene, session, 7, again)
        session.run()
    assert [one["id"] for one in events(scene, "command")].count(found["number"]) == 1
    assert all(Blocked.PAUSED not in reasons for reasons in codes(scene)[7:])
    assert "paused" in answer_to(scene, found["number"])["text"]


def test_a_command_that_waits_is_not_replaced(tmp_path):
    one, other = (Command("12345678", action, "account", "me", "2026") for action in (Action.PAUSE, Action.RESUME))
    assert write_command(tmp_path, one) and not write_command(tmp_path, other)
    [path] = (tmp_path / FOLDER).iterdir()
    assert json.loads(path.read_text())["action"] == "pause"


# --- exchange and bot differ


def test_a_leg_that_somebody_has_closed_by_hand_adds_nothing_until_both_agree(market):
    scene, found = market(bars=14), {}

    def close(session):
        leg = held_side(session)
        found.update(side=leg.side.name, bar=session.bars, qty=leg.tracker.qty)
        side = "SELL" if leg.side > 0 else "BUY"
        server.call(lambda: scene.exchange.trade_by_hand(scene.data[0].symbol, side, leg.side.name, leg.tracker.qty))

    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        once_held(session, close)
        session.run()
    mine = codes(scene, found["side"].lower())
    other = codes(scene, "short" if found["side"] == "LONG" else "long")
    assert [Blocked.MISMATCH in reasons for reasons in mine] == [
        bar == found["bar"] for bar in range(len(mine))
    ]  # the very next close, and the one after it agrees
    assert mine[found["bar"]] == {Blocked.MISMATCH}
    assert all(Blocked.MISMATCH not in reasons for reasons in other)


def test_a_person_may_resume_a_leg_that_differs(market):
    """Between the closes: what is known at the next one decides again."""
    scene, found = market(bars=8, watch=20.0), {}

    def look(session):
        book = session.broker.books[0]
        found["before"] = session.reconciler.differs
        session.reconciler.differs = {(book.symbol, PositionSide.LONG)}
        give(scene, "resume", f"{book.symbol} LONG")

    with ServerThread(scene.api) as server, scene.session(server.url) as session:
        at_bar(scene, session, 4, look)
        at_bar(scene, session, 5, lambda one: found.update(after=set(one.reconciler.differs)))
        session.run()
    assert found["before"] == found["after"] == set()


def test_commands_are_readable_by_their_owner_alone(tmp_path):
    write_command(tmp_path, Command("12345678", Action.PAUSE, "account", "me", "2026-01-01"))
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / FOLDER / "12345678.json").stat().st_mode & 0o777 == 0o600
