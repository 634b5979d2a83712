"""The decisions of a strategy at every bar, and the first bar at which those of two runs differ."""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import epoch_ms
from gridv4_bt.compiled import plain
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.types import ClosedTrade, PositionSide

#: Recorded beside the strategy's own log: ATR, KAMA of the bar before (as step 1 reads it), latest funding rate.
INPUT_COLUMNS = ("atr", "kama", "funding_rate")
#: What the indicators say; all else that is compared is what the strategy made of it.
SIGNALS = ("atr", "kama", "z", "sigma")


class _Part(NamedTuple):
    """One part of a leg's state at a bar's end, as rows of `width` numbers; the first `keys` identify a row."""

    field: str
    keys: int
    width: int
    read: Callable[[Leg], Iterable[float]]
    name: Callable[..., str]  # of a row, by its keys
    value: Callable[..., str]  # of a row, by the sign of its side and the numbers after the keys


def _fills(leg: Leg) -> list[float]:
    tracker = leg.tracker
    return [x for row in zip(tracker.ids, tracker.qtys, tracker.prices, strict=True) for x in row]


def _stop(leg: Leg) -> list[float]:
    return [] if leg.stop is None else [leg.stop]


def _closes(leg: Leg) -> list[float]:
    return [x for close in leg.closes for x in (close.fill_id, close.label.number, close.qty)]


def _blocked(leg: Leg) -> list[float]:
    return [x for i, code in enumerate(plain(leg.codes)) for x in (-leg.sign * (i + 1), code)]


def _entries(leg: Leg) -> list[float]:
    rows = enumerate(zip(plain(leg.prices), plain(leg.qtys), strict=True))
    return [x for i, (price, qty) in rows if price > 0.0 for x in (-leg.sign * (i + 1), price, qty)]


def _exits(leg: Leg) -> list[float]:
    return [x for item in sorted(leg.exits.items()) for x in item]


_PARTS = (
    _Part("fill", 1, 3, _fills, lambda fill: f"open fill {fill:.0f}", lambda sign, qty, price: f"{qty:,} at {price:,}"),
    _Part("stop", 0, 1, _stop, lambda: "stop", lambda sign, price: f"at {price:,}"),
    _Part(
        "close", 2, 3, _closes,
        lambda fill, label: f"market close of fill {fill:.0f} ({LABELS[int(label)]})", lambda sign, qty: f"{qty:,}",
    ),
    _Part(
        "blocked", 1, 2, _blocked,
        lambda level: f"level {level:+.0f}", lambda sign, code: Blocked(int(code)).name.lower(),
    ),
    _Part(
        "entry", 1, 3, _entries,
        lambda level: f"entry at level {level:+.0f}",
        lambda sign, price, qty: f"{'buy' if sign > 0 else 'sell'} {qty:,} at {price:,}",
    ),
    _Part("exit", 1, 2, _exits, lambda fill: f"exit of fill {fill:.0f}", lambda sign, price: f"at {price:,}"),
)  # fmt: skip
#: An order of a strategy of the user's own: its place among those that are open, and what it asks for.
_ORDERS = _Part(
    "order", 1, 6, lambda leg: [],
    lambda place: f"open order {place + 1:.0f}",
    lambda sign, kind, size, price, limit, valid: (
        f"{'buy' if size > 0.0 else 'sell'} {abs(size):,} {bt.Order.ExecTypes[int(kind)]}"
        + (f" at {price:,}" if price else "") + (f", limit {limit:,}" if limit not in (0.0, price) else "")
    ),
)  # fmt: skip
_PARTS = (*_PARTS, _ORDERS)
_PART_OF = {part.field: index for index, part in enumerate(_PARTS)}

#: All that is compared and the step that decides it, in the order in which one makes the other within a bar.
STEPS = {
    "trade": "exchange",
    "fill": "exchange",
    "funding_rate": "exchange",
    "wallet": "exchange",
    "equity": "exchange",
    "atr": "signal",
    "kama": "signal",
    "z": "signal",
    "sigma": "signal",
    "order": "the strategy's orders",
    "regime": "step 1, regime",
    "halted": "step 2, circuit breaker",
    "stop": "step 3, stop loss",
    "close": "steps 3 to 5, stop loss, margin call, pruning",
    "anchor": "step 6, trailing",
    "var": "step 7, VaR",
    "q": "step 8, grid",
    "centre": "step 8, grid",
    "blocked": "step 8, grid",
    "entry": "step 8, grid",
    "exit": "step 9, orders",
}
#: All but the indicators' values.
DECISIONS = tuple(field for field in STEPS if field not in SIGNALS)

#: The state of one leg: a string of bytes for each of `_PARTS`; LONG and SHORT make a bar.
_LegState = tuple[bytes, ...]


@dataclass(frozen=True)
class DecisionRecord:
    """The decisions of one symbol's strategy, one row for each bar it decided at."""

    symbol: str
    bars: int  #: of the feed, warm-up included
    numbers: NDArray[np.float64]  #: shape (bars decided, columns): `LOG_COLUMNS`, then `INPUT_COLUMNS`
    legs: list[tuple[_LegState, _LegState]]  #: LONG and SHORT at each row
    trades: list[ClosedTrade]  #: in the order they closed

    def __len__(self) -> int:
        return len(self.legs)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column by its name in `LOG_COLUMNS` or `INPUT_COLUMNS`."""
        return self.numbers[:, (*LOG_COLUMNS, *INPUT_COLUMNS).index(name)]

    @property
    def time(self) -> NDArray[np.int64]:
        """Open times of the bars decided at, ms."""
        return self.column("time").astype(np.int64)


class DecisionRecorder(bt.Analyzer):
    """Record what one GridStrategyV4 decides at every bar: its log, its signals, and all open orders.

    ``records`` has its `DecisionRecord` once the run has ended. A part of a leg that is as at the bar before
    costs no memory, so that a year of 15-minute bars takes some tens of MB.
    """

    records: list[DecisionRecord]

    def start(self) -> None:
        self._inputs = array("d")
        self._legs: list[tuple[_LegState, _LegState]] = []
        nothing = (b"",) * len(_PARTS)
        self._before: tuple[_LegState, _LegState] = (nothing, nothing)
        self._logged = 0

    def next(self) -> None:
        strategy = self.strategy
        if len(strategy.log) == self._logged:
            return  # another symbol's bar, or still warming up
        self._logged = len(strategy.log)
        rate = strategy.broker.state(strategy.feed).funding_rate
        self._inputs.extend((strategy.atr[0], strategy.kama[-1], rate))
        long, short = strategy.sides
        before = self._before
        self._before = (_state(long.book, before[0]), _state(short.book, before[1]))
        self._legs.append(self._before)

    def stop(self) -> None:
        strategy = self.strategy
        symbol = strategy.market.symbol
        log = np.asarray(strategy.log)
        inputs = np.array(self._inputs).reshape(-1, len(INPUT_COLUMNS))
        trades = [trade for trade in strategy.broker.closed_trades() if trade.symbol == symbol]
        self.records = [DecisionRecord(symbol, len(strategy.feed), np.hstack((log, inputs)), self._legs, trades)]

    def get_analysis(self) -> dict[str, list[DecisionRecord]]:
        """Return the records by name."""
        return {"records": self.records}


class OrderRecorder(bt.Analyzer):
    """Record what a strategy of the user's own does at every bar: its open orders, what it holds, wallet and equity.

    ``records`` has a `DecisionRecord` for each of its feeds once the run has ended; the log's other columns are NaN.
    They begin when all indicators are known.
    """

    records: list[DecisionRecord]

    def prenext(self) -> None:
        pass

    def start(self) -> None:
        self._feeds = list(self.strategy.datas)
        self._numbers = [array("d") for _ in self._feeds]
        self._legs: list[list[tuple[_LegState, _LegState]]] = [[] for _ in self._feeds]
        self._bars = [0] * len(self._feeds)

    def next(self) -> None:
        broker = self.strategy.broker
        known = {"equity": broker.getvalue(), "wallet": broker.getcash()}
        orders = broker.get_orders_open()
        for place, data in enumerate(self._feeds):
            if len(data) == self._bars[place]:
                continue  # another symbol's bar
            self._bars[place] = len(data)
            row = known | {"time": round(epoch_ms(data.datetime[0])), "funding_rate": broker.state(data).funding_rate}
            self._numbers[place].extend(row.get(name, math.nan) for name in (*LOG_COLUMNS, *INPUT_COLUMNS))
            mine = [x for i, one in enumerate(o for o in orders if o.data is data) for x in _order_row(i, one)]
            states = []
            for side in PositionSide:
                fills = array("d", _fills(broker.leg(data, side))).tobytes()
                own = array("d", mine if side is PositionSide.LONG else []).tobytes()
                states.append(tuple({"fill": fills, "order": own}.get(part.field, b"") for part in _PARTS))
            self._legs[place].append((states[0], states[1]))

    def stop(self) -> None:
        self.records = []
        for place, data in enumerate(self._feeds):
            if self._bars[place]:
                symbol = self.strategy.broker.state(data).market.symbol
                numbers = np.array(self._numbers[place]).reshape(-1, len(LOG_COLUMNS) + len(INPUT_COLUMNS))
                trades = [trade for trade in self.strategy.broker.closed_trades() if trade.symbol == symbol]
                self.records.append(DecisionRecord(symbol, len(data), numbers, self._legs[place], trades))

    def get_analysis(self) -> dict[str, list[DecisionRecord]]:
        """Return the records by name."""
        return {"records": self.records}


def _order_row(place: int, order: bt.Order) -> tuple[float, ...]:
    created = order.created
    return (
        place, order.exectype, created.size, created.price or 0.0, created.pricelimit or 0.0, order.valid or 0.0,
    )  # fmt: skip


@dataclass(frozen=True)
class DecisionDifference:
    """The first decision in which two runs differ."""

    time: int  #: open time of the bar, ms
    symbol: str
    field: str  #: a key of `STEPS`, or "bar" where only one run decided at all
    what: str  #: the field in a trader's words, such as "LONG entry at level -3"
    expected: str  #: in the run that is compared with
    found: str  #: in the run that is compared

    @property
    def step(self) -> str:
        """The step of the strategy, or the part of the system, that decides it."""
        return STEPS.get(self.field, "strategy")


def first_difference(
    expected: DecisionRecord, found: DecisionRecord, fields: Iterable[str] = tuple(STEPS), until: int | None = None
) -> DecisionDifference | None:
    """Return the first difference of two runs of a symbol, None if they are alike to the last bit.

    Parameters
    ----------
    fields : what to compare, keys of `STEPS`. Within a bar the cause comes before its effect.
    until : open time of the last bar that is compared, ms; None compares all.
    """
    fields = set(fields)
    times, others = (_until(record.time, until) for record in (expected, found))
    both = min(len(times), len(others))
    row = _first(times[:both] != others[:both])
    for field in fields:
        if field in _PART_OF:
            row = _first_part(expected, found, _PART_OF[field], row)
        elif field != "trade":
            a, b = expected.column(field)[:row], found.column(field)[:row]
            row = _first((a != b) & ~(np.isnan(a) & np.isnan(b)))
    end = max((record[-1] for record in (times, others) if len(record)), default=0)
    trade = _first_trade(expected, found, end) if "trade" in fields else None
    bar = _bar_time(times, others, row)
    if trade is not None and (bar is None or trade.time <= bar):
        return trade
    if bar is None:
        return None
    if row == both or times[row] != others[row]:
        decided = [row < len(record) and record[row] == bar for record in (times, others)]
        words = ["decided" if did else "no decision" for did in decided]
        return DecisionDifference(bar, expected.symbol, "bar", "bar", *words)
    return _describe(expected, found, row, fields)


def _state(leg: Leg, before: _LegState) -> _LegState:
    """Return the state of a leg; an unchanged part is the same object as before."""
    state = []
    for part, old in zip(_PARTS, before, strict=True):
        new = array("d", part.read(leg)).tobytes()
        state.append(old if new == old else new)
    return tuple(state)


def _until(times: NDArray[np.int64], until: int | None) -> NDArray[np.int64]:
    return times if until is None else times[: times.searchsorted(until, side="right")]


def _first(differs: NDArray[np.bool_]) -> int:
    """Return the index of the first true element, the length without any."""
    return int(differs.argmax()) if differs.any() else len(differs)


def _first_part(expected: DecisionRecord, found: DecisionRecord, part: int, rows: int) -> int:
    """Return the first of the rows at which a part of either leg differs, `rows` without any."""
    for row in range(rows):
        (long, short), (other_long, other_short) = expected.legs[row], found.legs[row]
        if long[part] != other_long[part] or short[part] != other_short[part]:
            return row
    return rows


def _bar_time(times: NDArray[np.int64], others: NDArray[np.int64], row: int) -> int | None:
    """Return the time of a row, the earlier one where the runs are out of step; None after the last."""
    return min((int(record[row]) for record in (times, others) if row < len(record)), default=None)


def _first_trade(expected: DecisionRecord, found: DecisionRecord, end: int) -> DecisionDifference | None:
    """Return the first difference of the trades closed up to a bar that opens at `end`, ms."""
    closed = [[trade for trade in record.trades if trade.close_time <= end] for record in (expected, found)]
    for index in range(max(map(len, closed))):
        pair = [trades[index] if index < len(trades) else None for trades in closed]
        if pair[0] != pair[1]:
            time = min(trade.close_time for trade in pair if trade is not None)
            words = [_trade_in_words(trade) for trade in pair]
            return DecisionDifference(time, expected.symbol, "trade", f"closed trade {index + 1}", *words)
    return None


def _trade_in_words(trade: ClosedTrade | None) -> str:
    if trade is None:
        return "none"
    return (
        f"{trade.side.name} fill {trade.trade_id}: {trade.qty:,} from {trade.entry:,} to {trade.exit:,} "
        f"({trade.label}), net {trade.net:,}"
    )


def _describe(expected: DecisionRecord, found: DecisionRecord, row: int, fields: set[str]) -> DecisionDifference:
    """Return the first field, in the order of `STEPS`, that differs at a row."""
    time = int(expected.time[row])
    for field in STEPS:
        if field not in fields or field == "trade":
            continue
        if field in _PART_OF:
            difference = _leg_difference(expected, found, row, _PART_OF[field])
            if difference is not None:
                return DecisionDifference(time, expected.symbol, field, *difference)
            continue
        a, b = float(expected.column(field)[row]), float(found.column(field)[row])
        if a != b and not (a != a and b != b):
            return DecisionDifference(time, expected.symbol, field, field, _number(field, a), _number(field, b))
    raise ValueError(f"row {row} is alike")


def _leg_difference(
    expected: DecisionRecord, found: DecisionRecord, row: int, index: int
) -> tuple[str, str, str] | None:
    part = _PARTS[index]
    for side, a, b in zip((PositionSide.LONG, PositionSide.SHORT), expected.legs[row], found.legs[row], strict=True):
        if a[index] == b[index]:
            continue
        ours, theirs = _rows(part, a[index]), _rows(part, b[index])
        keys = sorted(ours.keys() | theirs.keys(), key=lambda key: [abs(x) for x in key])
        key = next((key for key in keys if ours.get(key) != theirs.get(key)), keys[0])  # else only their order differs
        words = [part.value(side, *rows[key]) if key in rows else "none" for rows in (ours, theirs)]
        return f"{side.name} {part.name(*key)}", *words
    return None


def _rows(part: _Part, content: bytes) -> dict[tuple[float, ...], tuple[float, ...]]:
    numbers = array("d")
    numbers.frombytes(content)
    rows: Sequence[tuple[float, ...]] = [tuple(numbers[i : i + part.width]) for i in range(0, len(numbers), part.width)]
    return {row[: part.keys]: row[part.keys :] for row in rows}


def _number(field: str, value: float) -> str:
    if field == "regime":
        return Regime(int(value)).name
    if field == "halted":
        return "halted" if value else "trading"
    return "unknown" if value != value else f"{value:,}"
