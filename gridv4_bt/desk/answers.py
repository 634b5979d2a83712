"""What the desk's REST interface answers: the fields of each route, as `openapi.json` describes them.

Amounts are quote, quantities base units, shares and distances fractions; times in ms or ISO 8601 UTC. None is a number
that is not known, or that there is not.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

#: Time, open, high, low, close, volume.
Candle = tuple[str, float, float, float, float, float]


class Answer(BaseModel):
    """An object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Pong(Answer):
    """That the desk answers."""

    status: str


class Version(Answer):
    """The version of the desk."""

    version: str


class BotHealth(Answer):
    """How a bot is, and what is wrong with it."""

    state: str
    reason: str


class Health(Answer):
    """Whether all bots are well, how many are and are not; `bots` for a visitor with a token."""

    healthy: bool
    ok: int
    stale: int
    bots: dict[str, BotHealth] | None = None


class SymbolStatus(Answer):
    """The last row of equity.csv of a symbol."""

    bar: str
    regime: str
    halted: bool
    long_qty: float
    short_qty: float
    resting_orders: int
    margin_ratio: float | None


class BotLine(Answer):
    """A bot at a glance; before its first decision only its name, folder and state."""

    bot: str
    folder: str
    state: str
    reason: str
    version: str  #: changes when the bot has written something
    place: str | None = None
    symbols: dict[str, SymbolStatus] = {}
    equity: float | None = None
    profit: float | None = None
    drawdown: float | None = None
    exposure_long: float = 0.0
    exposure_short: float = 0.0
    margin_ratio: float | None = None
    liquidation_distance: float | None = None
    liquidation_warning: str = ""
    last_decision_age_s: int | None = None
    last_bar: str | None = None
    pauses: dict[str, Any] = {}
    mismatches: int = 0
    last_alert: str | None = None


class Profit(Answer):
    """The profit in five parts, net of transfers, and by how much they miss the change of the recorded equity."""

    realized_grid: float
    fees: float
    funding: float
    unrealized: float
    total: float
    start: float  #: first wallet and transfers
    equity: float
    difference: float


class SymbolRisk(Answer):
    """Liquidation prices of a symbol, the others staying where they are; distances are fractions of the close."""

    symbol: str
    close: float
    down: float | None
    up: float | None
    down_distance: float | None
    up_distance: float | None


class Together(Answer):
    """By which share all symbols may fall or rise alike until the account is liquidated."""

    down: float | None
    up: float | None


class Risk(Answer):
    """How far the account is from liquidation."""

    wallet: float
    equity: float
    maintenance: float
    margin_ratio: float
    symbols: list[SymbolRisk]
    together: Together
    distance: float | None
    warning: str


class Event(BaseModel):
    """An event of a bot; what it has beside its time and kind depends on the kind."""

    model_config = ConfigDict(extra="allow")

    at: str
    kind: str


class AuditFigures(Answer):
    """What the latest daily audit has found."""

    clock: str | None = None
    at: str | None = None
    kind: str | None = None
    drift: float | None
    matched: int
    missed: int
    extra: int
    causes: dict[str, int]


class OneBot(BotLine):
    """A bot with where its profit comes from, its risk, where exchange and bot have differed, and its last audit."""

    pnl: Profit | None
    risk: Risk | None
    mismatch: list[Event]
    audit: AuditFigures | None
    symbol_names: list[str]


class Cut(Answer):
    """A rule that may cut a fill: at a price, a time or an amount."""

    rule: str
    due: bool
    price: float | None = None
    distance: float | None = None
    hours_left: float | None = None
    paid: float | None = None
    limit: float | None = None
    cost: float | None = None
    realized_today: float | None = None


class OpenFill(Answer):
    """A fill that is open."""

    id: int
    qty: float
    price: float
    opened: str
    age_hours: float
    regime: str
    unrealized: float
    fee: float
    funding: float
    exit: float | None
    cut_now: str
    cuts: list[Cut]


class LegRow(Answer):
    """A leg, or the net of a symbol, whose amounts are the sum of its legs."""

    symbol: str
    side: str  #: LONG, SHORT or NET
    qty: float
    unrealized: float
    fees: float
    funding: float
    exposure: float
    fills: int
    entries: int
    exits: int
    close: float | None = None
    bar: str | None = None
    average: float | None = None
    break_even: float | None = None
    stop: float | None = None
    liquidation: float | None = None
    paused: list[str] = []
    bullets: list[OpenFill] = []
    closing: list[list[Any]] = []


class OpenOrder(Answer):
    """An open order, or one of which it is not known whether it is open."""

    id: str
    symbol: str
    side: str
    kind: str  #: entry, exit, stop, close; open, reduce: of a strategy of the user's own
    ref: int  #: level of an entry, fill of an exit or close
    opens: bool
    qty: float | None  #: of the stop of a leg None: whatever the leg holds
    price: float
    filled: float
    status: str  #: open, unknown


class LadderLevel(Answer):
    """A level of the ladder: planned, open, or why not."""

    side: str
    level: int
    price: float | None
    planned: bool
    qty: float | None
    open: bool
    open_price: float | None
    reason: str | None
    why: str


class Orders(Answer):
    """Open orders, and the ladder of a symbol."""

    open: list[OpenOrder]
    ladder: list[LadderLevel]


class LevelReason(Answer):
    """What was decided for a level."""

    side: str
    level: int
    reason: str
    why: str


class Why(Answer):
    """What was decided at a bar: its row of equity.csv, the numbers, the levels, and what was ordered then."""

    symbol: str
    bar: str | None
    row: dict[str, str] | None
    decision: Event | None
    levels: list[LevelReason]
    events: list[Event]


class EventPage(Answer):
    """Some of many events, the newest first."""

    total: int
    first: int
    rows: list[Event]


class ExecutionRow(Event):
    """An execution."""

    symbol: str
    trade: int
    order: str | None
    side: str
    buy: bool
    qty: float
    price: float
    fee: float | None
    time: int
    maker: bool
    reason: str  #: level of an entry, label of a closing


class ExecutionPage(Answer):
    """Some of many executions, the newest first."""

    total: int
    first: int
    rows: list[ExecutionRow]


class ChartLeg(Answer):
    """The prices of a leg."""

    side: str
    qty: float
    average: float | None
    break_even: float | None
    liquidation: float | None
    stop: float | None


class ChartOf(Answer):
    """Candles of a symbol with open orders and executions; `left_out` older ones are not there."""

    symbol: str
    candles: list[Candle]
    orders: list[OpenOrder]
    fills: list[ExecutionRow]
    left_out: int
    legs: list[ChartLeg]


class LegCycle(Answer):
    """A leg from flat to flat."""

    symbol: str
    side: str
    begin: str
    end: str
    closings: int
    net: float


class ProfitRow(Answer):
    """The profit of a day, symbol or side; of days `open` is what is not closed yet."""

    day: str | None = None
    symbol: str | None = None
    side: str | None = None
    realized_grid: float
    fees: float
    funding: float
    unrealized: float
    trades: float
    total: float


class ProfitTable(Answer):
    """The profit in all, and by day, symbol or side."""

    total: Profit | None
    rows: list[ProfitRow]


class EquityCurve(Answer):
    """Equity and drawdown over the bot's life, and what was paid in or out."""

    time: list[int]
    equity: list[float]
    drawdown: list[float]
    bars: int
    transfers: list[tuple[int, float]]


class Exposure(Answer):
    """What was held of a symbol at a bar."""

    time: str
    symbol: str
    long_qty: float
    short_qty: float
    margin_ratio: float | None
    var: float | None


class Comparison(AuditFigures):
    """Equity of bot and backtest at the bars of the latest daily audit, and the fills that differ."""

    times: list[int]
    live: list[float]
    backtest: list[float]
    differences: list[dict[str, Any]]
