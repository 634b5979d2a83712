"""The data of the report's page: the columns, trades and ladder of a run, each rounded to its own unit.

A price keeps its decimals, money its cents, see `COLUMN_UNITS`. Prices of resting orders are not stored: the page
computes them from centre and spacing as the strategy does; only where rounding moved one by a tick is that kept.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.grid import ROUND_NUMBER_PCT, level_price
from gridv4_bt.core.mixture import STATES
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.labels import KINDS, LABELS
from gridv4_bt.engine.ladder import PLACE, REPLACE, TRACE_ACTIONS, Blocked, order_price
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import MarketError
from gridv4_bt.metrics.cycles import Cycle, leg_cycles
from gridv4_bt.metrics.entries import FillTable, fill_table
from gridv4_bt.metrics.excursions import excursions
from gridv4_bt.metrics.summary import wallet_curve
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report.packing import Packer

Array = NDArray[Any]

#: Units per one of the log's columns that are the same for every run; prices, quantities and money depend on the run.
COLUMN_UNITS = {
    "regime": 1, "halted": 1, "resting_orders": 1, "z": 10**3, "sigma": 10**6, "q": 10**4,
    "margin_ratio": 10**6, "spacing_pct": 10**8, "kelly": 10**4,
}  # fmt: skip
#: The mixture's probabilities are kept to a twentieth, to stay small.
STATE_UNITS = 20
#: Regime code and column of them.
STATE_COLUMNS = [(code, f"p{code}") for code in STATES]
MONEY_COLUMNS = ("equity", "wallet", "var", "notional")
QTY_COLUMNS = ("long_qty", "short_qty")
#: The centre is kept finer than the tick, because the prices of the levels are computed from it.
CENTRE_UNITS_A_TICK = 100
#: Digits of the typical volume of a bar that are kept.
VOLUME_DIGITS = 3
#: The page draws margin and liquidation where the margin ratio came above the one, or a liquidation price nearer than
#: the other.
MATTERS_RATIO, MATTERS_DISTANCE = 0.1, 0.25
#: How far away a liquidation price is must be known well only when it is near: beyond this to a hundredth.
FAR_AWAY = 1.0
MOST_DECIMALS = 8
_BLOCK = 10_000  #: rows of the ladder looked at together: each has up to thirty orders

BLOCKED_WORDS = {
    "PLACED": "rests",
    "HALT": "halted by the circuit breaker",
    "VAR": "value at risk above its limit",
    "REGIME": "the regime does not let this side add",
    "CROSSES": "lies beyond the last price",
    "INSIDE_SPREAD": "nearer than half the optimal spread",
    "OCCUPIED": "an open fill lies there",
    "COOLING": "a fill was cut there at a loss a few bars ago",
    "MIN_QTY": "smaller than the least quantity",
    "MIN_NOTIONAL": "smaller than the least notional",
    "MAX_INVENTORY": "the side would hold more than it may",
    "MARGIN": "refused by the exchange: margin is insufficient",
    "CAP": "a cap of the account would be exceeded if all resting orders were filled",
    "MAX_POSITION": "refused by the exchange: above the largest position at this leverage",
    "PAUSED": "paused by a person",
    "MISMATCH": "exchange and bot differed at the latest close; resume adds at once",
    "SAME_PRICE": "a level nearer to the price rests at this very price",
}

#: Why a level has no order, by the number of `Blocked`.
BLOCKED = [BLOCKED_WORDS.get(code.name, code.name.lower().replace("_", " ")) for code in Blocked]


def pack_run(records: Sequence[SymbolRecord], start_equity: float, more: dict[str, Any]) -> bytearray:
    """Return all records of a run as one block; `more` is added to its description."""
    packer = Packer()
    money = money_units(start_equity)
    er_bars = int(more.get("config", {}).get("er_bars", 1))
    description: dict[str, Any] = {
        "symbols": [_pack_symbol(packer, record, money, er_bars) for record in records],
        "wallet": None,
        "money": money,
        "start_equity": start_equity,
        "kinds": [kind._asdict() for kind in KINDS],
        "labels": [
            {"name": str(label), "kind": KINDS.index(label.kind), "step": label.step, "meaning": label.meaning}
            for label in LABELS
        ],
        "margin": margin_mattered(records),
        "regimes": {regime.value: regime.name for regime in Regime},
        "states": STATE_COLUMNS if any(len(record.posteriors) for record in records) else [],
        "blocked": BLOCKED,
        **more,
    }
    if len(records) > 1:
        times, equity = wallet_curve(records)
        description["wallet"] = {"time": packer.add(times, 1, 2), "equity": packer.add(equity, money)}
    return packer.pack(description)


def margin_mattered(records: Sequence[SymbolRecord]) -> bool:
    """Return whether the account ever came so near to a liquidation that a chart of it says something."""
    for record in records:
        ratio = record.column("margin_ratio")
        distance = np.minimum(record.column("liquidation_down"), record.column("liquidation_up"))
        held = (record.column("long_qty") > 0.0) | (record.column("short_qty") > 0.0)
        if np.any(ratio >= MATTERS_RATIO) or np.any(distance[held] <= MATTERS_DISTANCE):
            return True
    return False


def money_units(start_equity: float) -> int:
    """Return the units per one quote: cents, finer for a wallet below 10,000 so that it keeps its six digits."""
    if not 0.0 < start_equity < math.inf:
        return 100
    return 10 ** min(max(2, 6 - math.floor(math.log10(start_equity))), MOST_DECIMALS)


def decimals(values: Array) -> int:
    """Return how many decimals the finite ones of the numbers have, at most `MOST_DECIMALS`."""
    values = values[np.isfinite(values)]
    for count in range(MOST_DECIMALS):
        scaled = values * 10.0**count
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(np.abs(scaled), 1.0)):
            return count
    return MOST_DECIMALS


def price_units_of(candles: dict[str, NDArray[np.float64]]) -> int:
    """Return the units per one of the candles' prices: all decimals they have, but no finer than a millionth."""
    if not candles:
        return 100
    typical = float(np.median(candles["close"]))
    finest = max(0, math.floor(6.0 - math.log10(typical))) if typical > 0.0 else MOST_DECIMALS
    return 10 ** min(finest, max(decimals(values) for values in candles.values()))


def tick_history(record: SymbolRecord) -> list[tuple[float, float]]:
    """Return the price steps of the run and from when (ms) each ruled, ascending."""
    recorded = getattr(record, "ticks", ())
    if recorded:
        return [(float(time), float(tick)) for time, tick in recorded]
    try:
        changes = load_market_history(record.symbol).changes
    except MarketError:
        return [(0.0, 10.0 ** -decimals(record.close))]
    return [(float(time), market.tick) for time, market in changes]


def ticks_by_row(times: NDArray[np.float64], history: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Return the price step at each time; before the first known one, the first."""
    starts = np.array([time for time, _ in history])
    ticks = np.array([tick for _, tick in history])
    return ticks[np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)]


def funding_paid(record: SymbolRecord) -> NDArray[np.float64]:
    """Return time, and what LONG and SHORT have paid since the run began, at each settlement; shape (n, 3).

    The record holds the funding of open fills; that of closed ones is in their trades.
    """
    paid = np.array(record.funding, dtype=np.float64).reshape(-1, 3).copy()
    for column, sign in ((1, 1), (2, -1)):
        closed = [(trade.close_time, trade.funding) for trade in record.trades if trade.side == sign]
        if closed:
            times = np.array([time for time, _ in closed])
            order = np.argsort(times, kind="stable")
            sums = np.concatenate(([0.0], np.cumsum(np.array([paid for _, paid in closed])[order])))
            paid[:, column] += sums[np.searchsorted(times[order], paid[:, 0], side="right")]
    return paid


def missed_ticks(
    sides: Array,
    levels: Array,
    exact: tuple[Array, Array],
    rounded: tuple[Array, Array],
    ticks: Array,
    nudge_pct: float = ROUND_NUMBER_PCT,
) -> NDArray[np.float64]:
    """Return by how many ticks the prices of entries differ when centre and spacing are rounded.

    The rule's price steps only where the raw price is a whole number of ticks (round numbers are), so it is asked
    only for the entries that lie near one.
    """
    powers = -sides * levels.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        raws = [centre * (1.0 + spacing) ** powers / ticks for centre, spacing in (exact, rounded)]
        near = 2.0 * np.abs(raws[0] - raws[1]) + 1e-6
        unsure = np.flatnonzero(~(np.abs(raws[0] - np.rint(raws[0])) > near))
    missed = np.zeros(len(sides))
    for i in unsure.tolist():
        side, level = int(sides[i]), int(levels[i])
        real, guess = (
            entry_price(side, level, grid[0][i], grid[1][i], ticks[i], nudge_pct) for grid in (exact, rounded)
        )
        missed[i] = np.rint((real - guess) / ticks[i])
    return missed


# The page computes the same prices in `assets/ladder.js`, because packed prices would make it larger. Measured on 4.5
# years of BTC (161,976 bars, 10 levels, 458,048 orders placed), where report.html has 4,597,905 bytes: packing the
# prices of the orders placed adds 20 %; packing every price the page shows, those of blocked levels too, adds 67 %.
# The corrections of `missed_ticks` add 0.2 %.
def entry_price(
    side_sign: int, level: int, centre: float, spacing_pct: float, tick: float, nudge_pct: float = ROUND_NUMBER_PCT
) -> float:
    """Return the price the ladder's rule wants for the entry of a level, 0 where there is none."""
    raw = level_price(centre, spacing_pct, -side_sign * level)
    return order_price(side_sign, raw, tick, nudge_pct) if raw > 0.0 else 0.0


def _pack_symbol(packer: Packer, record: SymbolRecord, money: int, er_bars: int) -> dict[str, Any]:
    history = tick_history(record)
    tick = min(tick for _, tick in history)
    rows = len(record.log)
    columns = {name: packer.add(record.column(name), units) for name, units in COLUMN_UNITS.items()}
    columns["time"] = packer.add(record.column("time"), 1, 2)
    for name in ("liquidation_down", "liquidation_up"):
        distance = record.column(name)
        distance = np.where(distance > FAR_AWAY, np.rint(distance * 100.0) / 100.0, distance)
        columns[name] = packer.add(distance, 10**4)
    for name in MONEY_COLUMNS:
        columns[name] = packer.add(record.column(name), money)
    qty_units = 10 ** max(decimals(record.column(name)) for name in QTY_COLUMNS)
    for name in QTY_COLUMNS:
        columns[name] = packer.add(record.column(name), qty_units)
    candles = _candles(record)
    price_units = price_units_of(candles)
    anchor_units = max(price_units, round(1.0 / tick) if tick <= 1.0 else 1)
    columns["anchor"] = packer.add(record.column("anchor"), anchor_units)
    centre_units = CENTRE_UNITS_A_TICK / tick
    columns["centre"] = packer.add(record.column("centre"), centre_units)
    candles = {name: np.rint(values * price_units) / price_units for name, values in candles.items()}
    if "close" in candles:
        columns["close"] = packer.add(candles["close"], price_units)
    if "open" in candles:
        before = np.concatenate(([0.0], candles["close"][:-1]))
        columns["open"] = packer.add(candles["open"] - before, price_units, 0)
    if "high" in candles:
        other = candles.get("open", candles["close"])
        columns["high"] = packer.add(candles["high"] - np.maximum(other, candles["close"]), price_units, 0)
        columns["low"] = packer.add(np.minimum(other, candles["close"]) - candles["low"], price_units, 0)
    if len(record.volume) == rows and rows:
        typical = float(np.median(record.volume)) or 1.0
        columns["volume"] = packer.add(record.volume, 10.0 ** (VOLUME_DIGITS - 1 - math.floor(math.log10(typical))), 0)
    if len(record.posteriors):
        for (_, name), values in zip(STATE_COLUMNS, record.posteriors.T, strict=True):
            columns[name] = packer.add(values, STATE_UNITS)
    ladder = None
    if rows and len(record.ladder) == rows and record.ladder.shape[1]:
        ladder = _pack_ladder(packer, record, ticks_by_row(record.column("time"), history), centre_units)
    paid = funding_paid(record)
    fills = fill_table(record)
    return {
        "symbol": record.symbol,
        "rows": rows,
        "ticks": history,
        "price_decimals": max(decimals(np.array([step])) for _, step in history),
        "qty_decimals": round(math.log10(qty_units)),
        "columns": columns,
        "ladder": ladder,
        "funding": {
            "time": packer.add(paid[:, 0], 1, 2),
            "long": packer.add(paid[:, 1], 10 * money),
            "short": packer.add(paid[:, 2], 10 * money),
        },
        "signals": _signals(record, er_bars),
        "trades": _pack_trades(packer, record),
        "entries": _pack_fills(packer, record, fills),
        "cycles": _pack_cycles(packer, leg_cycles(record, fills)),
        "open_fills": [
            {
                "id": fill.id,
                "side": int(PositionSide[side]),
                "qty": fill.qty,
                "price": fill.price,
                "time": fill.time,
                "regime": fill.regime,
                "fee": fill.fee,
                "funding": fill.funding,
            }
            for side, fill in record.open_fills
        ],
    }


def _signals(record: SymbolRecord, er_bars: int) -> dict[str, list[float]] | None:
    """Return KAMA of the first `er_bars` bars and ATR of the first, from which the page computes all later ones.

    None where they are unknown.
    """
    known = len(record.kama) == len(record.atr) == len(record.log) > 0 and len(record.open) == len(record.log)
    if not known or not np.isfinite(record.kama).all() or not np.isfinite(record.atr).all():
        return None
    return {"kama": record.kama[:er_bars].tolist(), "atr": record.atr[:1].tolist()}


def _pack_fills(packer: Packer, record: SymbolRecord, fills: FillTable) -> dict[str, Any]:
    """Pack what the list of trades needs of each fill beyond its closings."""
    found = excursions(record, fills)
    columns = {
        "id": (fills.id, 1), "level": (fills.level, 1), "spacing_pct": (fills.spacing_pct, 10**8),
        "adverse": (found.adverse, 10**8), "favourable": (found.favourable, 10**8),
    }  # fmt: skip
    return {name: packer.add(values, units) for name, (values, units) in columns.items()}


def _pack_cycles(packer: Packer, cycles: Sequence[Cycle]) -> dict[str, Any]:
    packed = {}
    for name, units in _CYCLE_UNITS.items():
        values = [getattr(one, name) for one in cycles]
        numbers = np.array([math.nan if value is None else float(value) for value in values])
        packed[name] = packer.add(numbers, units)
    return packed


def _candles(record: SymbolRecord) -> dict[str, NDArray[np.float64]]:
    """Return the columns close, high, low and open that the record has; each needs those before it."""
    found = {name: np.asarray(getattr(record, name, ())) for name in ("close", "high", "low", "open")}
    whole = {name: values for name, values in found.items() if len(values) == len(record.log) > 0}
    names = ("close", "high", "low", "open") if "low" in whole and "high" in whole else ("close",)
    return {name: whole[name] for name in names if name in whole} if "close" in whole else {}


def _pack_ladder(
    packer: Packer, record: SymbolRecord, ticks: NDArray[np.float64], centre_units: float
) -> dict[str, Any]:
    """Pack the trace, and the ticks by which prices computed from the rounded centre and spacing miss the real ones."""
    levels = record.ladder.shape[1] // 2
    nudge_pct = record.departures.get("nudge_pct", ROUND_NUMBER_PCT)
    at, ticks_missed = [], []
    for begin in range(0, len(record.ladder), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        places, missed = _missed_in(record, rows, ticks[rows], centre_units, nudge_pct)
        at.append(begin * 2 * levels + places)
        ticks_missed.append(missed)
    return {
        "levels": levels,
        "nudge_pct": nudge_pct,
        "trace": packer.add_bytes(np.asarray(record.ladder)),
        "missed_at": packer.add(np.concatenate(at), 1),
        "missed_ticks": packer.add(np.concatenate(ticks_missed), 1, 0),
    }


def _missed_in(
    record: SymbolRecord, rows: slice, ticks: NDArray[np.float64], centre_units: float, nudge_pct: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which entries of the trace's rows, counted level by level, miss their price, and by how many ticks."""
    trace = record.ladder[rows]
    levels = trace.shape[1] // 2
    actions = trace % TRACE_ACTIONS
    row, place = np.nonzero((actions == PLACE) | (actions == REPLACE))
    sides, level = np.where(place < levels, 1, -1), place % levels + 1
    centre, spacing = (record.column(name, rows)[row] for name in ("centre", "spacing_pct"))
    spacing_units = COLUMN_UNITS["spacing_pct"]
    rounded = (np.rint(centre * centre_units) / centre_units, np.rint(spacing * spacing_units) / spacing_units)
    missed = missed_ticks(sides, level, (centre, spacing), rounded, ticks[row], nudge_pct)
    wrong = np.flatnonzero(missed)
    return row[wrong] * 2 * levels + place[wrong], missed[wrong]


def _pack_trades(packer: Packer, record: SymbolRecord) -> dict[str, Any]:
    trades = record.trades
    columns = {name: np.array([getattr(trade, name) for trade in trades], dtype=np.float64) for name in _TRADE_UNITS}
    packed = {name: packer.add(values, _TRADE_UNITS[name]) for name, values in columns.items()}
    packed["label"] = packer.add(np.array([trade.label.number for trade in trades]), 1, 0)
    return packed


_CYCLE_UNITS = {
    "side": 1, "first_time": 1, "last_time": 1, "fills": 1, "deepest": 1, "most": 100, "net": 10**4, "adverse": 10**8,
    "favourable": 10**8, "adverse_levels": 10**4, "favourable_levels": 10**4, "adverse_wallet": 10**8,
    "favourable_wallet": 10**8,
}  # fmt: skip
_TRADE_UNITS = {
    "trade_id": 1, "side": 1, "regime": 1, "open_time": 1, "close_time": 1, "qty": 10**8, "entry": 10**8, "exit": 10**8,
    "gross": 10**6, "fees": 10**6, "funding": 10**6,
}  # fmt: skip
