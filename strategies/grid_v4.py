"""GridStrategyV4: a hedge-mode grid. `GridStrategyV4.next` is its eleven steps."""

from array import array
from collections import Counter, deque
from struct import Struct

from gridv4_bt.compat import FastStrategy, LineReader
from gridv4_bt.config import backtrader_params, make_config
from gridv4_bt.core.grid import grid_spacing
from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.risk import portfolio_var
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.exits import shared_slack, wanted_exit
from gridv4_bt.engine.guards import (
    COOLDOWN_BARS,
    COOLDOWN_FACTOR,
    COOLDOWN_STOPS,
    beyond_stop1,
    cools_down,
    entry_blocks,
    must_delever,
    must_halt,
    stays_halted,
    stop1_qty,
    stop2_price,
    trailed,
)
from gridv4_bt.engine.ladder import PLACED
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.engine.pruning import DEVIANCE, FUNDING, GAP, MAX_AGE_MS, OLDEST, deviates, offset_index, prune_reason
from gridv4_bt.engine.types import ClosedTrade, PositionSide, TradeLabel
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators import KAMA, GMMRegime, RegimeFSM, RollingVolatility, WilderADX, WilderATR, ZScore
from strategies.ladder_plan import LadderPlan
from strategies.side import SideState

NOISE = int(Regime.NOISE)

PRUNE_LABELS = {
    DEVIANCE: TradeLabel.DEVIANCE,
    OLDEST: TradeLabel.OLDEST,
    GAP: TradeLabel.GAP,
    FUNDING: TradeLabel.FUNDING,
}

# array.extend() takes four times as long.
_pack_row = Struct(f"{len(LOG_COLUMNS)}d").pack


class Bar:
    """What one closed bar tells the eleven steps, and what they find out on the way."""

    __slots__ = (
        "atr",
        "centre",
        "close",
        "equity",
        "kama",
        "kelly",
        "liquidation_down",
        "liquidation_up",
        "maintenance",
        "notional",
        "q",
        "regime",
        "shift",
        "sigma",
        "spacing_pct",
        "time",
        "var",
        "z",
    )  # fmt: skip


class GridStrategyV4(FastStrategy):
    """Trade one feed with a grid on each side. Add it once for each symbol that shares the wallet.

    Parameters
    ----------
    symbol : name of the feed to trade; None takes the first one.
    The others are those of `gridv4_bt.config`; they are validated there when the strategy is made.

    Raises
    ------
    ConfigError
        A parameter is out of bounds or contradicts another.
    """

    params = (("symbol", None), *backtrader_params())

    def __init__(self) -> None:
        self.config = make_config({name: getattr(self.p, name) for name, _ in backtrader_params()})
        if self.p.symbol is not None and self.p.symbol not in self.getdatanames():
            raise ConfigError(f"symbol: no feed named {self.p.symbol}, only {', '.join(self.getdatanames())}")
        data = self.data if self.p.symbol is None else self.getdatabyname(self.p.symbol)
        self.feed = data
        self.kama = KAMA(data)
        self.atr = WilderATR(data)
        self.adx = WilderADX(data)
        self.regime_fsm = RegimeFSM(
            data,
            self.kama,
            self.atr,
            self.adx,
            breakout_slope=self.p.breakout_slope,
            trend_slope=self.p.trend_slope,
            hysteresis=self.p.hysteresis,
        )
        self.zscore = ZScore(data, self.atr)
        self.sigma = RollingVolatility(data, period=self.p.sigma_bars)
        self.regime_gmm: GMMRegime | None = None
        if self.p.regime == "gmm":
            self.regime_gmm = GMMRegime(data, self.sigma, hysteresis=self.p.hysteresis, **self.config.mixture)

    def start(self) -> None:
        config, data = self.config, self.feed
        self._state = self.broker.state(data)
        self.market = self._state.market
        self.long = SideState(self.broker.leg(data, PositionSide.LONG), config)
        self.short = SideState(self.broker.leg(data, PositionSide.SHORT), config)
        self.sides = (self.long, self.short)
        self.plan = LadderPlan((self.long.leg, self.short.leg), self.market, config)
        self.ticks = [(0, self.market.tick)]  #: from when (ms) on which price step ruled
        self.anchor: float | None = None
        self.halted = False
        self.halts = 0
        self.stops = 0
        self.margin_calls = 0
        regime = self.regime_fsm if self.regime_gmm is None else self.regime_gmm
        self.warnings: Counter[str] = Counter() if self.regime_gmm is None else self.regime_gmm.warnings
        self.log = array("d")
        self.min_liquidation_distance = INFINITY  #: fraction of the price
        self.funding_log = array("d")  #: triples: time, funding paid so far by the open LONG and SHORT fills
        self._alone = len(self.datas) == 1  # no other symbol in the wallet
        self._bar = Bar()
        self._feed_bars = 0
        periods = zip(self.datas, self._minperiods, strict=True)
        needed = next(period for data, period in periods if data is self.feed)
        self._first_bar = max(needed, config.warm_up + 1)
        self._count = 0  # bars traded, the clock of cooldowns
        self._stop_bars: deque[int] = deque(maxlen=COOLDOWN_STOPS + 1)
        self._returns: dict[int, list[float]] = {}
        self._kelly: dict[int, float] = {}  # by regime, as long as no trade of it closes
        self._closed = self.broker.closed_trades()
        self._trades_seen = 0
        self._settlements_seen = 0
        self._day = 0
        self._realized_today = 0.0
        self._regime = NOISE
        self._confirmed: int | None = None  # regime the broker was told last
        self._var_limited = False
        self._clock = data.lines.datetime
        self._reader = LineReader(
            self.atr.lines.atr,
            self.zscore.lines.z,
            self.sigma.lines.sigma,
            before=(self.kama.lines.kama, regime.lines.regime),
        )

    def prenext(self) -> None:
        # Backtrader waits for every feed; a symbol whose indicators are ready need not wait for one that starts later.
        if len(self.feed) >= self._first_bar:
            self.next()

    def next(self) -> None:
        bars = self._clock.lencount
        if bars == self._feed_bars or bars < self._first_bar:
            return  # another symbol's bar, or still warming up
        bar = self.read_bar()
        self.update_regime(bar)  # 1
        self.check_circuit_breaker(bar)  # 2
        self.check_stop_loss(bar)  # 3
        self.check_liquidation(bar)  # 4
        self.prune(bar)  # 5
        self.trail_anchor(bar)  # 6
        self.check_var(bar)  # 7
        self.generate_grid(bar)  # 8
        self.match_orders(bar)  # 9
        self.record_funding(bar)  # 10
        self.log_equity(bar)  # 11

    def read_bar(self) -> Bar:
        """Take the closed bar's values and the trades that closed in it."""
        bar = self._bar
        market = self._state.market
        if market is not self.market:  # the exchange has changed its rules
            self.market = market
            self.plan.obey(market)
            self.ticks.append((self._state.bar.time, market.tick))
        self._count += 1
        self._feed_bars = self._clock.lencount
        bar.time, bar.close = self._state.bar.time, self._state.bar.close
        bar.atr, bar.z, bar.sigma, bar.kama, before = self._reader.read()
        bar.equity = self.broker.getvalue()
        bar.regime = int(before) if before == before else NOISE  # NaN: not known yet
        day = bar.time // DAY_MS
        if day != self._day:
            self._day = day
            self._realized_today = 0.0
        closed = self._closed
        if len(closed) > self._trades_seen:
            for index in range(self._trades_seen, len(closed)):
                self._learn(closed[index])
            self._trades_seen = len(closed)
        for side in self.sides:
            if side.tracker.version != side.seen_version:
                side.refresh()
        return bar

    def update_regime(self, bar: Bar) -> None:
        """1. The regime of the bar before decides who may add now."""
        self._regime = NOISE if self.p.regime == "none" else bar.regime

    def check_circuit_breaker(self, bar: Bar) -> None:
        """2. Halt on a crash by z-score; exits and stops stay."""
        if self.halted:
            if not stays_halted(bar.z):
                self.halted = False
                self.anchor = None
        elif must_halt(bar.z):
            self.halted = True
            self.halts += 1
            for side in self.sides:
                self.broker.cancel_entries(self.feed, side.side)

    def check_stop_loss(self, bar: Bar) -> None:
        """3. Half of a leg on a close beyond stage 1, all of it at the resting stop of stage 2."""
        for side in self.sides:
            tracker = side.tracker
            if not tracker.ids:
                side.stage1_done = False
                continue
            average = tracker.cost / tracker.qty
            if not beyond_stop1(side.sign, average, bar.close, bar.atr, self.p.stop1_atr):
                side.stage1_done = False
            elif not side.stage1_done:
                side.stage1_done = True
                self._count_stop()
                for index in range(len(tracker)):
                    self._close(side, index, stop1_qty(tracker.qtys[index], self.market.step), TradeLabel.STOP1)
            # Without any range a stop at the average would fire on the spot; the one before stays.
            if bar.atr > 0.0:
                price = stop2_price(side.sign, average, bar.atr, self.p.stop2_atr, self.market.tick)
                self._rest_stop(side, bar, price)

    def check_liquidation(self, bar: Bar) -> None:
        """4. Margin call: close the worst fills before the exchange does."""
        bar.maintenance = 0.0
        bar.liquidation_down = bar.liquidation_up = INFINITY
        flat = not self.long.tracker.ids and not self.short.tracker.ids
        if flat and self._alone:
            return
        bar.maintenance = self.broker.maintenance_margin()
        if flat:
            return  # other symbols of the wallet bind margin, but there is nothing to close here
        down, up = self.broker.liquidation_range(self.feed)
        if down > 0.0:
            bar.liquidation_down = 1.0 - down / bar.close
        bar.liquidation_up = up / bar.close - 1.0
        distance = min(bar.liquidation_down, bar.liquidation_up)
        self.min_liquidation_distance = min(self.min_liquidation_distance, distance)
        if distance < self.p.liquidation_warning:
            self.warnings["liquidation_near"] += 1
        if bar.maintenance <= self.p.margin_call * bar.equity:
            return
        self.margin_calls += 1
        self._deleverage(bar, bar.maintenance - self.p.margin_target * max(bar.equity, 0.0))

    def prune(self, bar: Bar) -> None:
        """5. Cut single fills by the five methods, then the worst fill near the VaR limit."""
        if not self.long.tracker.ids and not self.short.tracker.ids:
            return
        for side in self.sides:
            tracker = side.tracker
            if not tracker.ids:
                continue
            deviated = deviates(side.sign, bar.close, bar.kama, bar.atr)
            if deviated or side.may_prune(bar.close, bar.time - MAX_AGE_MS, self._state.settlements):
                self._prune_fills(side, bar, deviated)
        if self._realized_today > 0.0:
            self._offset_worst(bar)
        unrealized = self.long.tracker.unrealized(bar.close) + self.short.tracker.unrealized(bar.close)
        if must_delever(unrealized, bar.equity, self.p.var_pct):
            side, index = self._worst_fill(bar)
            self._close(side, index, side.tracker.qtys[index], TradeLabel.DELEVER)

    def trail_anchor(self, bar: Bar) -> None:
        """6. Follow an uptrend that left the ladder; start anew where the ladder was left otherwise."""
        spacing = grid_spacing(bar.atr, bar.close, self.p.k, self.p.floor_pct)
        bar.spacing_pct = spacing / bar.close
        if self.anchor is None:
            self.anchor = bar.close
        self.anchor = trailed(self.anchor, bar.close, bar.spacing_pct, self.p.levels, self._regime)

    def check_var(self, bar: Bar) -> None:
        """7. No new entries while a day's value at risk exceeds its limit."""
        net = self.long.tracker.qty - self.short.tracker.qty
        bar.var = portfolio_var(net * bar.close, bar.sigma) if net else 0.0
        self._var_limited = bar.var > self.p.var_pct * bar.equity

    def generate_grid(self, bar: Bar) -> None:
        """8. Centre the ladder by the inventory, size its levels and plan the entries of the sides that may add."""
        long, short = self.long, self.short
        long_block, short_block = entry_blocks(self.halted, self._var_limited, self._regime)
        for side, block in ((long, long_block), (short, short_block)):
            if side.blocked != block:
                self._block(side, block)
            if self._count >= side.look_again:
                self.plan.look_around(side.leg, side.cooling_prices(self._count))
        bar.kelly = self._kelly.get(self._regime) or self._kelly_now()
        cooldown = self._cooldown() if self._stop_bars else 1.0
        bar.notional = bar.equity * self.p.order_pct * bar.kelly * cooldown
        self._entries_change, bar.q, bar.shift = self.plan.change(
            long_block, short_block, self.anchor, bar.spacing_pct, bar.close, bar.sigma, bar.equity,
            long.tracker.qty, short.tracker.qty, bar.notional, self._state.funding_rate,
        )  # fmt: skip
        bar.centre = self.anchor + bar.shift

    def match_orders(self, bar: Bar) -> None:
        """9. Hand the wanted orders to the broker, which changes only what differs."""
        if self._regime != self._confirmed:
            self._confirmed = self._regime
            self.broker.confirm(self.feed, self, self._regime)
        if self._entries_change:
            refused = self.broker.rest_entries(self.feed)
            if refused:
                self.plan.refused(refused)
        for side in self.sides:
            if side.tracker.ids:
                self._rest_exits(side, bar)

    def record_funding(self, bar: Bar) -> None:
        """10. Note what the open fills have paid whenever the broker has settled."""
        settlements = self._state.settlements
        if settlements != self._settlements_seen:
            self._settlements_seen = settlements
            self.funding_log.extend(
                (bar.time, plain_sum(self.long.tracker.fundings), plain_sum(self.short.tracker.fundings))
            )

    def log_equity(self, bar: Bar) -> None:
        """11. One row with all a person needs to see why; see `LOG_COLUMNS`."""
        long, short = self.long, self.short
        wallet = self.broker.getcash()
        row = _pack_row(
            bar.time, bar.equity, wallet, bar.equity - wallet, long.tracker.qty, short.tracker.qty,
            self._regime, self.halted, bar.z, bar.sigma, bar.q, self.anchor, bar.centre, bar.var,
            bar.maintenance / bar.equity if bar.equity > 0.0 else INFINITY,
            long.leg.resting_orders() + short.leg.resting_orders(), bar.liquidation_down, bar.liquidation_up,
            bar.spacing_pct, bar.kelly, bar.notional,
        )  # fmt: skip
        self.log.frombytes(row)

    def blocked_reasons(self) -> Counter[str]:
        """Return how many level-bars had no order so far, by reason."""
        return Counter({reason.name.lower(): count for reason, count in self.plan.reasons().items()})

    # --- what the steps are made of

    def _learn(self, trade: ClosedTrade) -> None:
        if trade.symbol != self.market.symbol:
            return
        self._realized_today += trade.net
        self._returns.setdefault(trade.regime, []).append(trade.net / (trade.entry * trade.qty))
        self._kelly.pop(trade.regime, None)
        side = self.long if trade.side > 0 else self.short
        if trade.label is not TradeLabel.GRID and trade.net < 0.0:
            side.cool(trade.entry, self._count + self.p.reopen_bars)
        if trade.label is TradeLabel.STOP2 and side.stop_rests:
            side.stop_rests = False
            self._count_stop()

    def _count_stop(self) -> None:
        self.stops += 1
        self._stop_bars.append(self._count)

    def _cooldown(self) -> float:
        stops = self._stop_bars
        if stops[-1] <= self._count - COOLDOWN_BARS:
            stops.clear()  # none counts any more
            return 1.0
        return COOLDOWN_FACTOR if cools_down(len(stops), stops[0], self._count) else 1.0

    def _kelly_now(self) -> float:
        p = self.p
        value = kelly_multiplier(
            self._returns.get(self._regime, ()),
            window=p.kelly_window,
            min_trades=p.kelly_min_trades,
            floor=p.kelly_floor,
            cap=p.kelly_cap,
        )
        self._kelly[self._regime] = value
        return value

    def _rest_stop(self, side: SideState, bar: Bar, price: float) -> None:
        if side.sign * (bar.close - price) > 0.0:
            side.stop_rests = True
            self.broker.set_stop(self.feed, side.side, price)
            return
        # The market is through the stop already: an exchange would refuse it, so close at once.
        side.stop_rests = True
        self.broker.set_stop(self.feed, side.side, None)
        for index in range(len(side.tracker)):
            self._close(side, index, side.tracker.qtys[index], TradeLabel.STOP2)

    def _close(self, side: SideState, index: int, qty: float, label: TradeLabel) -> bool:
        return self.broker.close_fill(self.feed, side.side, side.tracker.ids[index], qty, label)

    def _worst_fill(self, bar: Bar) -> tuple[SideState, int]:
        worst = []
        for side in self.sides:
            if side.tracker.ids:
                index = side.tracker.worst(bar.close)
                loss = side.sign * (side.tracker.prices[index] - bar.close) * side.tracker.qtys[index]
                worst.append((loss, side, index))
        _, side, index = max(worst, key=lambda item: item[0])
        return side, index

    def _deleverage(self, bar: Bar, excess: float) -> None:
        # Worst first; each close frees the maintenance margin of its notional at the leg's mean rate.
        rate = bar.maintenance / ((self.long.tracker.qty + self.short.tracker.qty) * bar.close)
        fills = [
            (side.sign * (bar.close - price) * qty, side, index, qty)
            for side in self.sides
            for index, (price, qty) in enumerate(zip(side.tracker.prices, side.tracker.qtys, strict=True))
        ]
        for _, side, index, qty in sorted(fills, key=lambda fill: fill[0]):
            if excess <= 0.0:
                break
            self._close(side, index, qty, TradeLabel.MARGIN_CALL)
            excess -= rate * qty * bar.close

    def _prune_fills(self, side: SideState, bar: Bar, deviated: bool) -> None:
        tracker = side.tracker
        for index in range(len(tracker)):
            reason = prune_reason(
                side.sign,
                bar.close,
                bar.time,
                deviated,
                tracker.prices[index],
                tracker.qtys[index],
                tracker.times[index],
                tracker.spacings[index],
                tracker.fundings[index],
            )
            if reason:
                self._close(side, index, tracker.qtys[index], PRUNE_LABELS[reason])

    def _offset_worst(self, bar: Bar) -> None:
        if not (self.long.is_under_water(bar.close) or self.short.is_under_water(bar.close)):
            return
        side, _ = self._worst_fill(bar)
        tracker = side.tracker
        index = offset_index(
            side.sign, bar.close, self._realized_today, self.p.offset_spacings, self.p.taker_fee,
            tracker.prices, tracker.qtys, tracker.spacings, tracker.fundings, tracker.fees, len(tracker),
        )  # fmt: skip
        if index >= 0:
            self._close(side, index, tracker.qtys[index], TradeLabel.OFFSET)

    def _block(self, side: SideState, reason: int) -> None:
        side.blocked = reason
        if reason != PLACED:
            self.broker.cancel_entries(self.feed, side.side)

    def _rest_exits(self, side: SideState, bar: Bar) -> None:
        """Let every fill have its exit; one within the tolerance stays."""
        shift = min(bar.shift, 0.0) if side.sign > 0 else max(bar.shift, 0.0)
        if side.exits_stand(shift, bar.close):
            return
        tracker, resting = side.tracker, side.leg.exits
        wanted: dict[int, float] = {}
        slack, tick = INFINITY, self.market.tick
        for index, fill_id in enumerate(tracker.ids):
            wanted[fill_id], room = wanted_exit(
                side.sign,
                tracker.prices[index],
                tracker.spacings[index],
                shift,
                self.p.maker_fee,
                bar.close,
                tick,
                self.p.keep_price,
                resting.get(fill_id, 0.0),
            )
            slack = min(slack, room)
        self.broker.set_exits(self.feed, side.side, wanted)
        side.exits_placed(shift, shared_slack(slack, tick))
