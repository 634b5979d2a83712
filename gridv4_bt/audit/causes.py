"""Causes of the differences between a live session's fills and its backtest, from the session's records.

A difference has a cause of its own where the records name one: a refusal of that order, a revised candle, an hour
without the exchange. Otherwise, if the positions of both sides already differed when the order was decided on, it
follows from their first difference. Anything else is unexplained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from gridv4_bt.audit.align import ROUNDING, Pair
from gridv4_bt.audit.compared_fills import ComparedFill
from gridv4_bt.audit.session import OrderEvent, SessionRecord
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.booking import FORCED
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.record.run_record import SymbolRecord


class Cause(StrEnum):
    """The cause of a difference between live and backtest."""

    PARTIAL_FILL = "partial_fill"  #: the market took only a part of an order
    POST_ONLY_REJECT = "post_only_reject"  #: the order would have taken from the market when it arrived
    MIN_NOTIONAL = "min_notional"  #: the exchange found the order too small
    ORDER_REFUSED = "order_refused"  #: the exchange refused the order for another reason
    ORDER_IN_DOUBT = "order_in_doubt"  #: it was not known whether an order existed
    LATE_POLL = "late_poll"  #: a fill or a candle was known only after the next decision
    FIRST_STOP = "first_stop"  #: a leg opened since the last candle had a stop, in the backtest only after it
    DEAD_MAN = "dead_man"  #: the exchange had cancelled the orders because the bot was gone
    OUTAGE = "outage"  #: nothing was decided or nothing could be sent
    CANDLE_REVISED = "candle_revised"  #: the exchange has changed a candle after it was received
    COMMAND = "command"  #: a person has told the bot to pause, to close or to cancel
    MANUAL_TRADE = "manual_trade"  #: a trade of the account that the bot did not place
    FORCED_CLOSE = "forced_close"  #: the exchange has closed the position: liquidation, ADL, delisting
    SLIPPAGE = "slippage"  #: the price of an order that took from the market
    FEE_RATE = "fee_rate"  #: the account pays other fees than the parameters say
    UNEXPLAINED = "unexplained"


#: Columns of equity.csv that both sides share where their books are the same.
_STATE = ("equity", "wallet", "long_qty", "short_qty", "regime", "halted", "anchor", "resting_orders")
_TOO_SMALL = {-4164, -4003, -4004}
_REACTIONS = {
    Reaction.REPRICE: Cause.POST_ONLY_REJECT,
    Reaction.UNKNOWN: Cause.ORDER_IN_DOUBT,
    Reaction.RETRY: Cause.OUTAGE, Reaction.WAIT: Cause.OUTAGE, Reaction.WAIT_ORDERS: Cause.OUTAGE,
}  # fmt: skip
_KINDS = {
    "first_stop": Cause.FIRST_STOP,
    "leg_in_doubt": Cause.ORDER_IN_DOUBT, "candle_late": Cause.LATE_POLL, "candle_missing": Cause.OUTAGE,
    "candle_unavailable": Cause.OUTAGE, "trades_late": Cause.LATE_POLL, "doubt_resolved": Cause.ORDER_IN_DOUBT,
    "stray_order": Cause.ORDER_IN_DOUBT,
}  # fmt: skip
_ALERTS = {
    "unreachable": Cause.OUTAGE, "not_carried_out": Cause.OUTAGE, "not_reconciled": Cause.OUTAGE,
    "silenced": Cause.OUTAGE,
    "adopted": Cause.LATE_POLL, "written_off": Cause.LATE_POLL,
}  # fmt: skip


@dataclass(frozen=True)
class FillDifference:
    """A pair of fills that differ, and the cause."""

    pair: Pair
    cause: Cause
    follows: bool  #: from an earlier difference with this cause; else the cause is its own


@dataclass(frozen=True)
class _Evidence:
    """A cause that the session's records name at one bar, and the orders it concerns."""

    bar: int
    cause: Cause
    symbol: str = ""  #: empty: all
    side: int = 0  #: 0: both
    purpose: Purpose | None = None  #: None: all orders
    ref: int = 0  #: of a closing order, 0: any

    def is_about(self, fill: ComparedFill) -> bool:
        """Return whether it may have prevented or caused a fill.

        The outcome of an order affects those that replace it for a day, because an order at another price rests.
        """
        is_order = self.purpose is not None
        since = fill.bar - self.bar
        return (
            (0 <= since <= DAY_MS if is_order else since == 0)
            and self.symbol in ("", fill.symbol)
            and self.side in (0, int(fill.side))
            and self.purpose in (None, fill.purpose)
            and self.ref in (0, fill.ref)
        )


def explain(session: SessionRecord, pairs: Sequence[Pair], records: Sequence[SymbolRecord]) -> list[FillDifference]:
    """Return every pair that differs with its cause, oldest first."""
    by_bar: dict[int, list[Pair]] = {}
    for pair in pairs:
        if pair.differences:
            by_bar.setdefault(pair.bar, []).append(pair)
    evidence = _evidence(session)
    parted = _parted(session, records)
    bars = sorted({*by_bar, *parted, *(one.bar for one in evidence)})
    found: list[FillDifference] = []
    root: Cause | None = None  # what has parted the books, None while they are the same
    for bar in bars:
        # The orders of a bar were decided on at the bar before.
        was_parted = bar - BAR_MS in parted
        if not was_parted:
            root = None
        hints = [one for one in evidence if one.bar in (bar, bar + BAR_MS)]
        for pair in by_bar.get(bar, ()):
            cause = _own_cause(session, pair, evidence)
            follows = cause is None and was_parted
            if cause is None:
                cause = (root or Cause.UNEXPLAINED) if was_parted else Cause.UNEXPLAINED
            found.append(FillDifference(pair, cause, follows))
            if not follows:
                root = cause
        if bar in parted and root is None:
            root = hints[-1].cause if hints else Cause.UNEXPLAINED
    return found


def _own_cause(session: SessionRecord, pair: Pair, evidence: Sequence[_Evidence]) -> Cause | None:
    live, differences = pair.live, pair.differences
    if live is not None and live.purpose is None:
        return Cause.FORCED_CLOSE if live.order.startswith(FORCED) else Cause.MANUAL_TRADE
    fills = [fill for fill in (live, pair.backtest) if fill is not None]
    hints = [one for one in evidence if any(one.is_about(fill) for fill in fills)]
    if live is not None and ("qty" in differences or "extra" in differences) and _is_partial(session, live):
        return Cause.PARTIAL_FILL
    if differences == ("time",) and live.booked > live.bar and live.bar == pair.backtest.bar:
        return Cause.LATE_POLL
    if hints:
        return max(hints, key=lambda one: (one.bar, one.purpose is not None)).cause
    if live is not None and not live.maker and "price" in differences and set(differences) <= {"price", "fee"}:
        return Cause.SLIPPAGE
    return Cause.FEE_RATE if differences == ("fee",) else None


def _is_partial(session: SessionRecord, live: ComparedFill) -> bool:
    """Return whether an order has filled over more than one bar, or not fully."""
    sent = [one.fields["qty"] for one in session.events if one.kind == "order" and one.fields["id"] == live.order]
    return bool(sent) and live.qty < sent[-1] * (1.0 - ROUNDING) and live.purpose is not Purpose.STOP


def _evidence(session: SessionRecord) -> list[_Evidence]:
    found = []
    for event in session.events:
        found += _told(event, session)
    for symbol, rows in session.rows.items():
        times = np.asarray(rows.index)
        received = next(one for one in session.data if one.symbol == symbol).candles.time
        silent = np.setdiff1d(received[received >= times[0]], times) if len(times) else received[:0]
        found += [_Evidence(int(bar) + BAR_MS, Cause.OUTAGE, symbol) for bar in silent]
    for fill in session.fills:
        if fill.booked > fill.bar:
            found += [
                _Evidence(bar, Cause.LATE_POLL, fill.symbol)
                for bar in range(fill.bar + BAR_MS, fill.booked + BAR_MS, BAR_MS)
            ]
    return sorted(found, key=lambda one: one.bar)


def _told(event: OrderEvent, session: SessionRecord) -> list[_Evidence]:
    fields = event.fields
    if event.kind in ("order_failed", "doubt_resolved", "stray_order"):
        name = parse_id(fields["id"])
        if name is None:
            return []
        if event.kind == "order_failed":
            small = fields["code"] in _TOO_SMALL
            cause = Cause.MIN_NOTIONAL if small else _REACTIONS.get(fields["reaction"], Cause.ORDER_REFUSED)
        else:
            cause = _KINDS[event.kind]
        symbol = next((one for one in session.symbols if one.startswith(name.tag[:7])), "")
        if cause is Cause.ORDER_IN_DOUBT:  # all of its leg has to wait
            return [_Evidence(event.bar, cause, symbol, int(name.side))]
        ref = name.ref if name.purpose in (Purpose.EXIT, Purpose.CLOSE) else 0
        return [_Evidence(event.bar, cause, symbol, int(name.side), name.purpose, ref)]
    if event.kind == "command" and "refused" not in fields:
        symbol, _, side = fields["scope"].partition(" ")
        symbol = symbol if symbol in session.symbols else ""
        first = _bar_of(fields["since"]) // BAR_MS * BAR_MS if "since" in fields else event.bar  # of a leg being closed
        return [
            _Evidence(bar, Cause.COMMAND, symbol, int(PositionSide[side]) if side else 0)
            for bar in range(first, event.bar + BAR_MS, BAR_MS)
        ]
    if event.kind == "dead_man_fired":
        first = _bar_of(fields["since"]) // BAR_MS * BAR_MS
        return [
            _Evidence(bar, Cause.DEAD_MAN, fields["symbol"], purpose=purpose)
            for bar in range(first, event.bar + BAR_MS, BAR_MS)
            for purpose in (Purpose.ENTRY, Purpose.EXIT)
        ]
    if event.kind == "candle_revised":
        return [_Evidence(_bar_of(fields["time"]), Cause.CANDLE_REVISED, exchange_symbol(fields["symbol"]))]
    if event.kind == "session" and (fields.get("stopped") or fields.get("flattened")):
        return [_Evidence(event.bar, Cause.OUTAGE)]
    if event.kind == "alert":
        cause = _ALERTS.get(fields.get("what"))
        return [] if cause is None else [_Evidence(event.bar, cause, fields.get("symbol", ""))]
    if event.kind in _KINDS:
        side = int(PositionSide[fields["side"]]) if "side" in fields else 0
        return [_Evidence(event.bar, _KINDS[event.kind], exchange_symbol(fields["symbol"]), side)]
    return []


def _parted(session: SessionRecord, records: Sequence[SymbolRecord]) -> set[int]:
    """Return the bars at whose end the positions of both sides differ, or only one side has decided."""
    found: set[int] = set()
    for record in records:
        live = session.rows[record.symbol]
        theirs = pd.DataFrame({name: record.column(name) for name in _STATE}, index=record.column("time").astype(int))
        both = live.index.intersection(theirs.index)
        found |= set(live.index.symmetric_difference(theirs.index))
        one, other = live.loc[both, list(_STATE)].to_numpy(), theirs.loc[both].to_numpy()
        differ = np.abs(one - other) > ROUNDING * np.maximum(np.abs(one), np.abs(other))
        found |= set(np.asarray(both)[differ.any(axis=1)])
    return found


def _bar_of(text: str) -> int:
    return int(pd.Timestamp(text).value // 1_000_000)
