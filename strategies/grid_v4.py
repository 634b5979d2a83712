"""GridStrategyV4: a hedge-mode grid. `GridStrategyV4.next` is its eleven steps, see `strategies.steps`."""

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from typing import Any

from gridv4_bt.compat import FastStrategy, LineReader
from gridv4_bt.config import backtrader_params, make_config, plain_copy
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.guards import margin_ratio
from gridv4_bt.engine.packed_rows import PackedRows
from gridv4_bt.engine.state import REGIMES, Kelly, Memory, Now
from gridv4_bt.engine.symbol_book import SymbolBook
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators import KAMA, GMMRegime, RegimeFSM, RollingVolatility, WilderADX, WilderATR, ZScore
from strategies import steps
from strategies.ladder_plan import LadderPlan
from strategies.orders import SymbolOrders
from strategies.side import Side

NOISE = int(Regime.NOISE)
# array.extend() takes four times as long.
_pack_row = Struct(f"{len(LOG_COLUMNS)}d").pack


class GridStrategyV4(FastStrategy):
    """Trade one feed with a grid on each side. Add it once for each symbol that shares the wallet.

    Parameters
    ----------
    symbol : name of the feed to trade; None takes the first one.
    The others are those of `gridv4_bt.config`; they are validated there when the strategy is made.

    Raises
    ------
    ConfigError
        A parameter is out of bounds or contradicts another, a parameter of the exchange differs from the broker's, or
        the broker has no hedge mode.
    """

    params = (("symbol", None), *backtrader_params())

    def __init__(self) -> None:
        if not hasattr(self.broker, "terms"):
            raise ConfigError(
                "GridStrategyV4 needs a hedge-mode broker: cerebro.setbroker(brokers.hedge.HedgeBroker())"
            )
        self.config = make_config({name: getattr(self.p, name) for name, _ in backtrader_params()})
        if self.p.symbol is not None and self.p.symbol not in self.getdatanames():
            raise ConfigError(f"symbol: no feed named {self.p.symbol}, only {', '.join(self.getdatanames())}")
        data = self.data if self.p.symbol is None else self.getdatabyname(self.p.symbol)
        self.feed = data
        self._take_terms(self.broker.terms(data))
        self.kama = KAMA(data, n=self.p.er_bars, fast=self.p.kama_fast, slow=self.p.kama_slow)
        self.atr = WilderATR(data, period=self.p.atr_bars)
        self.adx = WilderADX(data, period=self.p.adx_bars)
        self.regime_fsm = RegimeFSM(
            data,
            self.kama,
            self.atr,
            self.adx,
            breakout_slope=self.p.breakout_slope,
            trend_slope=self.p.trend_slope,
            hysteresis=self.p.hysteresis,
            adx_floor=self.p.adx_min,
        )
        self.zscore = ZScore(data, self.atr, period=self.p.z_bars)
        self.sigma = RollingVolatility(data, period=self.p.sigma_bars)
        self.regime_gmm: GMMRegime | None = None
        if self.p.regime == "gmm":
            self.regime_gmm = GMMRegime(data, self.sigma, hysteresis=self.p.hysteresis, **self.config.mixture)

    def _take_terms(self, terms: Mapping[str, object]) -> None:
        """Plan with the fees, leverage, ... of the broker; refuse others that were given to the strategy."""
        other = {}
        for name, default in backtrader_params("exchange"):
            given = getattr(self.config, name)
            if given not in (default, terms[name]):
                raise ConfigError(
                    f"{name}: {given} was given to the strategy, but the broker has {terms[name]}; "
                    "give it to the broker alone"
                )
            if given != terms[name]:
                other[name] = terms[name]
        if other:
            self.config = self.config.model_copy(update=other)

    def start(self) -> None:
        config, data = self.config, self.feed
        self._state = self.broker.state(data)
        self.market = self._state.market
        self.long = Side(self.broker.leg(data, PositionSide.LONG))
        self.short = Side(self.broker.leg(data, PositionSide.SHORT))
        self.sides = (self.long, self.short)
        self.orders = SymbolOrders(self, data)
        self.plan = LadderPlan((self.long.book, self.short.book), self.market, config)
        self.now = Now()
        self.memory = Memory(source=REGIMES.index(config.regime), alone=len(self.datas) == 1)
        self.kelly = [Kelly() for _ in Regime]  #: by regime code + 2, as the next
        self.returns = [[0.0] * config.kelly_window for _ in Regime]
        self.ticks = [(0, self.market.tick)]  #: from when (ms) on which price step ruled
        regime = self.regime_fsm if self.regime_gmm is None else self.regime_gmm
        self._plain = plain_copy(config)
        self.log = PackedRows(len(LOG_COLUMNS))
        self.funding_log = array("d")  #: triples: time, funding paid so far by the open LONG and SHORT fills
        self._feed_bars = 0
        periods = zip(self.datas, self._minperiods, strict=True)
        needed = next(period for data, period in periods if data is self.feed)
        # A span that begins later than its data is warmed up by the bars before it, and they are not traded.
        self._first_bar = max(needed, config.warm_up + 1, getattr(data, "lead", 0) + 1)
        self._closed = self.broker.closed_trades()
        self._trades_seen = 0
        self._settlements_seen = 0
        self._clock = data.lines.datetime
        reader = LineReader(
            self.atr.l.atr, self.zscore.l.z, self.sigma.l.sigma, before=(self.kama.l.kama, regime.l.regime)
        )
        self._read_values = partial(_read_values, self._state, reader.read, self.broker.getvalue, self.memory, self.now)
        self._bind()
        self._live = self.broker.attend(self)

    def prenext(self) -> None:
        # Backtrader waits for every feed; a symbol whose indicators are ready need not wait for one that starts later.
        if len(self.feed) >= self._first_bar:
            self.next()

    def next(self) -> None:
        bars = self._clock.lencount
        if bars == self._feed_bars or bars < self._first_bar:
            return  # another symbol's bar, or still warming up
        if self._live is not None and not self._live.may_decide():
            return
        self._feed_bars = bars
        self.read_bar()
        step = self._steps
        step.update_regime()  # 1
        step.check_circuit_breaker()  # 2
        step.check_stop_loss()  # 3
        step.check_liquidation()  # 4
        step.prune()  # 5
        step.trail_anchor()  # 6
        step.check_var()  # 7
        step.generate_grid()  # 8
        step.match_orders()  # 9
        step.record_funding()  # 10
        step.log_equity()  # 11
        if self._live is not None:
            self._live.decided()

    def stop(self) -> None:
        if self._live is not None:
            self._live.ended()

    def obey_rules(self) -> None:
        """Obey the rules in force at the bar; the exchange may have changed them."""
        if self._state.market is not self.market:
            self.market = self._state.market
            self.plan.obey(self.market)
            self.ticks.append((self._state.bar.time, self.market.tick))
            self._bind()

    def read_bar(self) -> None:
        """Take the closed bar's values and the trades that closed in it."""
        self.obey_rules()
        self._read_values()
        if len(self._closed) > self._trades_seen:
            for index in range(self._trades_seen, len(self._closed)):
                self._learn(self._closed[index])
            self._trades_seen = len(self._closed)
        for side in self.sides:
            if side.leg.changed:
                side.reserve()
                steps.refresh(self._plain, side)

    def _bind(self) -> None:
        """Bind each step to what it works on; looking eight attributes up takes longer than most steps do."""
        p, rules, memory, now, orders, long, short = (
            self._plain, self.market, self.memory, self.now, self.orders, self.long, self.short,
        )  # fmt: skip
        brackets, plan = rules.brackets, self.plan
        self._bound: dict[str, Callable[[], None]] = {
            "update_regime": partial(steps.update_regime, memory, now),
            "check_circuit_breaker": partial(steps.check_circuit_breaker, p, memory, now, orders, long, short),
            "check_stop_loss": partial(steps.check_stop_loss, p, rules, memory, now, orders, long, short),
            "check_liquidation": partial(steps.check_liquidation, p, memory, now, orders, brackets, long, short),
            "prune": partial(steps.prune, p, memory, now, orders, long, short),
            "trail_anchor": partial(steps.trail_anchor, p, memory, now),
            "check_var": partial(steps.check_var, p, now, orders, long, short),
            "generate_grid": partial(
                steps.generate_grid, p, rules, memory, now, orders, long, short, self.kelly, self.returns, plan
            ),
            "match_orders": partial(steps.match_orders, p, rules, memory, now, orders, long, short, plan),
            "log_equity": partial(_log_equity, self.log.append, self.broker.getcash, memory, now, long, short),
        }
        # A step that no subclass overrides is called without its method; a lookup here is faster than on a strategy.
        methods = {name: getattr(self, name) for name in STEPS}
        self._steps: Any = _Steps()
        for name, method in methods.items():
            setattr(self._steps, name, self._bound.get(name, method) if _is_own(method) else method)

    def update_regime(self) -> None:
        """1. The regime of the bar before decides who may add now."""
        self._bound["update_regime"]()

    def check_circuit_breaker(self) -> None:
        """2. Halt on a crash by z-score; exits and stops stay."""
        self._bound["check_circuit_breaker"]()

    def check_stop_loss(self) -> None:
        """3. Half of a leg on a close beyond stage 1, all of it at the resting stop of stage 2."""
        self._bound["check_stop_loss"]()

    def check_liquidation(self) -> None:
        """4. Margin call: close the worst fills before the exchange does."""
        self._bound["check_liquidation"]()

    def prune(self) -> None:
        """5. Cut single fills by the five methods, then the worst fill near the VaR limit."""
        self._bound["prune"]()

    def trail_anchor(self) -> None:
        """6. Follow an uptrend that left the ladder; start anew where the ladder was left otherwise."""
        self._bound["trail_anchor"]()

    def check_var(self) -> None:
        """7. No new entries while a day's value at risk exceeds its limit."""
        self._bound["check_var"]()

    def generate_grid(self) -> None:
        """8. Centre the ladder by the inventory, size its levels and plan the entries of the sides that may add."""
        self._bound["generate_grid"]()

    def match_orders(self) -> None:
        """9. Hand the wanted orders to the broker, which changes only what differs."""
        self._bound["match_orders"]()

    def record_funding(self) -> None:
        """10. Note what the open fills have paid whenever the broker has settled."""
        if self._state.settlements != self._settlements_seen:
            self._settlements_seen = self._state.settlements
            paid = (plain_sum(side.fills.funding) for side in self.sides)
            self.funding_log.extend((self.now.time, *paid))

    def log_equity(self) -> None:
        """11. One row with all a person needs to see why; see `LOG_COLUMNS`."""
        self._bound["log_equity"]()

    @property
    def warnings(self) -> Counter[str]:
        """How often something was noteworthy, by its name."""
        found = Counter() if self.regime_gmm is None else Counter(self.regime_gmm.warnings)
        if self.memory.liquidation_near:
            found["liquidation_near"] = self.memory.liquidation_near
        return found

    def blocked_reasons(self) -> Counter[str]:
        """Return how many level-bars had no order so far, by reason."""
        return Counter({reason.name.lower(): count for reason, count in self.plan.reasons().items()})

    def _learn(self, trade: ClosedTrade) -> None:
        steps.earn(self.memory, trade.net, trade.close_time)
        if trade.symbol != self.market.symbol:
            return
        side = self.long if trade.side > 0 else self.short
        row = trade.regime + 2
        steps.learn(
            self._plain, self.memory, side, trade.label.number, trade.entry, trade.net,
            trade.bullet_qty, trade.bullet_net, self.kelly[row], self.returns[row],
        )  # fmt: skip


class _Steps:
    """What `GridStrategyV4.next` calls, by the names of the steps; a `SimpleNamespace` takes longer to read."""


def _read_values(
    state: SymbolBook,
    read_lines: Callable[[], tuple[float, ...]],
    equity_of: Callable[[], float],
    memory: Memory,
    now: Now,
) -> None:
    """Take the values of the bar, and count it."""
    now.time, now.close = state.bar.time, state.bar.close
    now.atr, now.z, now.sigma, now.kama, before = read_lines()
    now.equity = equity_of()
    now.regime = int(before) if before == before else NOISE  # NaN: not known yet
    memory.funding_rate, memory.settlements = state.funding_rate, state.settlements
    steps.begin_bar(memory, now)


def _log_equity(
    append: Callable[[bytes], None], wallet_of: Callable[[], float], memory: Memory, now: Now, long: Side, short: Side
) -> None:
    """Append the row of a bar."""
    equity, wallet = now.equity, wallet_of()
    row = _pack_row(
        now.time, equity, wallet, equity - wallet, long.leg.qty, short.leg.qty,
        now.regime, memory.halted, now.z, now.sigma, now.q, memory.anchor, now.centre, now.var,
        margin_ratio(now.maintenance, equity),
        long.book.resting_orders() + short.book.resting_orders(), now.liquidation_down, now.liquidation_up,
        now.spacing_pct, now.kelly, now.notional,
    )  # fmt: skip
    append(row)


#: The methods that are the eleven steps, each of which a subclass may override.
STEPS = {
    name: getattr(GridStrategyV4, name)
    for name in (
        "update_regime", "check_circuit_breaker", "check_stop_loss", "check_liquidation", "prune", "trail_anchor",
        "check_var", "generate_grid", "match_orders", "record_funding", "log_equity",
    )
}  # fmt: skip


def _is_own(step: Callable[[], None]) -> bool:
    """Return whether a step is the method of `GridStrategyV4` itself."""
    return getattr(step, "__func__", None) in STEPS.values()
