"""A plain second opinion on the ladder, exits and stop: SPEC sections 3, 4 and 6 in their own words, no shortcuts."""

import math
from collections import Counter


def down_to(value: float, step: float) -> float:
    """Largest multiple of the step not above the value, by way of decimal digits."""
    digits = max(0, round(-math.log10(step)))
    return round(math.floor(round(value / step, 6)) * step, digits + 2)


def up_to(value: float, step: float) -> float:
    digits = max(0, round(-math.log10(step)))
    return round(math.ceil(round(value / step, 6)) * step, digits + 2)


def nudge(price: float, is_buy: bool, pct: float) -> float:
    """A share away from the round number, on the side it is on."""
    if price >= 10_000:
        boundary = 1_000.0
    elif price >= 1_000:
        boundary = 100.0
    else:
        boundary = 10.0 ** (math.floor(math.log10(price)) - 1)
    number = round(price / boundary) * boundary
    if abs(price - number) >= pct * number:
        return price
    above = is_buy if abs(price - number) < 1e-9 * price else price > number
    return number * (1 + pct) if above else number * (1 - pct)


class BruteForce:
    """Follow a run bar by bar and say what must stand after each of them."""

    def __init__(self, config, market, trades) -> None:
        self.config = config
        self.market = market
        self.trades = trades
        self.seen = 0
        self.bars = 0
        self.anchor = None
        self.halted = False
        self.stops: list[int] = []
        self.stage1 = {1: False, -1: False}
        self.cut: list[tuple[int, float, int]] = []  # sign, price, bar
        self.returns: dict[int, list[float]] = {}
        self.parts: dict[int, list] = {}  # closings of fills that are still open, by fill
        self.reasons: Counter[str] = Counter()
        self.kept = self.replaced = 0

    def check(self, now) -> None:
        """Compare everything that stands after a bar with what SPEC asks for."""
        c, close = self.config, now.close
        self.bars += 1
        self._learn(now)
        regime = int(now.regime_before) if c.regime == "kama" else 0
        assert now.log["regime"] == regime
        self._halt(now)
        fills = {sign: now.before[sign].fills for sign in (1, -1)}
        for sign in (1, -1):
            self._check_stop(now, sign, fills[sign])
        equity = now.log["equity"]
        spacing_pct = max(c.k * now.atr, c.floor_pct * close) / close
        self._move_anchor(close, spacing_pct, regime)
        assert now.log["anchor"] == self.anchor
        held = {sign: math.fsum(fill.qty for fill in fills[sign]) for sign in (1, -1)}
        net = held[1] - held[-1]
        var = abs(net * close) * c.var_z * now.sigma * math.sqrt(96)
        assert math.isclose(now.log["var"], var, rel_tol=1e-12, abs_tol=1e-9)
        full = c.max_inventory * equity / close
        q = max(-1.0, min(1.0, net / full)) if full > 0 else float((net > 0) - (net < 0))
        decay = 1 / (c.spread_sigmas * now.sigma) if c.spread_sigmas and now.sigma else c.kappa
        gamma, kappa, sigma_abs = c.gamma / close, decay / close, now.sigma * close
        shift = -q * gamma * sigma_abs**2 * c.horizon
        spread = gamma * sigma_abs**2 * c.horizon + 2 / gamma * math.log(1 + gamma / kappa)
        assert math.isclose(now.log["q"], q, rel_tol=1e-12, abs_tol=1e-15)
        assert math.isclose(now.log["centre"], self.anchor + shift, rel_tol=1e-12)
        recent = [bar for bar in self.stops if bar > self.bars - c.cooldown_bars]
        cooldown = c.cooldown_factor if len(recent) > c.cooldown_stops else 1.0
        notional = equity * c.order_pct * self._kelly(regime) * cooldown
        bound = sum(held[sign] * close + _notional(now.before[sign].entries) for sign in (1, -1)) / c.leverage
        for sign in (1, -1):
            paid = now.rate * sign
            tilt = 1 - c.funding_tilt if paid > 0 else 1 + c.funding_tilt if paid < 0 else 1.0
            before, after = now.before[sign].entries, now.after[sign].entries
            if self.halted:
                reason = "halt"
            elif var > c.var_pct * equity:
                reason = "var"
            elif regime not in (0, sign):
                reason = "regime"
            else:
                reason = None
            if reason is not None:
                self.reasons[reason] += c.levels
                assert after == {}, (self.bars, reason)
                bound -= _notional(before) / c.leverage
                continue
            cut = [price for side, price, bar in self.cut if side == sign and self.bars < bar + c.reopen_bars]
            wanted = self._wanted(
                sign,
                self.anchor + shift,
                spacing_pct,
                close,
                close + shift - sign * spread / 2,
                notional * tilt,
                c.max_inventory * equity - held[sign] * close,
                [fill.price for fill in fills[sign]],
                cut,
                before,
            )
            expected, place = {}, {}
            for level, (price, qty, kept) in wanted.items():
                if kept:
                    expected[level] = before[level]
                    self.kept += 1
                else:
                    place[level] = (price, qty)
            bound += (_notional(expected) - _notional(before)) / c.leverage
            for level, (price, qty) in place.items():
                if price * qty / c.leverage > equity - bound:
                    self.reasons["margin"] += 1
                else:
                    expected[level] = (price, qty)
                    bound += price * qty / c.leverage
                    self.replaced += 1
            assert _rounded(after) == _rounded(expected), (self.bars, sign)
        for sign in (1, -1):
            self._check_exits(now, sign, fills[sign], shift)

    def _learn(self, now) -> None:
        stopped = set()
        closings = self.trades[self.seen : now.trades]
        still_open = {fill.id for sign in (1, -1) for fill in now.before[sign].fills}
        latest = {trade.trade_id: number for number, trade in enumerate(closings)}
        for number, trade in enumerate(closings):
            sign = int(trade.side)
            net = trade.gross - trade.fees - trade.funding
            self.parts.setdefault(trade.trade_id, []).append((net, trade.qty))
            if number == latest[trade.trade_id] and trade.trade_id not in still_open:
                nets, qtys = zip(*self.parts.pop(trade.trade_id), strict=True)
                self.returns.setdefault(trade.regime, []).append(sum(nets) / (trade.entry * sum(qtys)))
            if trade.label != "grid" and net < 0:
                self.cut.append((sign, trade.entry, self.bars))
            if trade.label == "stop2":
                stopped.add(sign)
        self.stops += [self.bars] * len(stopped)
        self.seen = now.trades

    def _halt(self, now) -> None:
        if self.halted and now.z > self.config.z_resume:
            self.halted, self.anchor = False, None
        elif not self.halted and now.z < self.config.z_halt:
            self.halted = True
        assert now.log["halted"] == self.halted

    def _check_stop(self, now, sign, fills) -> None:
        c, tick = self.config, self.market.tick
        if not fills:
            self.stage1[sign] = False
            assert now.after[sign].stop is None
            return
        average = sum(fill.qty * fill.price for fill in fills) / sum(fill.qty for fill in fills)
        beyond = sign * (average - now.close) > c.stop1_atr * now.atr
        if beyond and not self.stage1[sign]:
            self.stops.append(self.bars)
        self.stage1[sign] = beyond
        stop = average - sign * c.stop2_atr * now.atr
        stop = down_to(stop, tick) if sign > 0 else up_to(stop, tick)
        through = sign * (now.close - stop) <= 0
        assert now.after[sign].stop == (None if through else stop), self.bars

    def _move_anchor(self, close, spacing_pct, regime) -> None:
        levels = self.config.levels
        if self.anchor is None:
            self.anchor = close
            return
        top = self.anchor * (1 + spacing_pct) ** levels
        bottom = self.anchor * (1 + spacing_pct) ** -levels
        if close > top and regime in (1, 2):
            self.anchor += self.config.trail_share * (close - top)
        elif close > top or close < bottom:
            self.anchor = close

    def _kelly(self, regime) -> float:
        c = self.config
        last = self.returns.get(regime, [])[-c.kelly_window :]
        if len(self.returns.get(regime, [])) < c.kelly_min_trades:
            return 1.0
        wins = [value for value in last if value > 0]
        losses = [-value for value in last if value <= 0]
        if not any(losses):
            return c.kelly_cap if wins else c.kelly_floor
        if not wins:
            return c.kelly_floor
        rate = len(wins) / len(last)
        full = rate / (sum(losses) / len(losses)) - (1 - rate) / (sum(wins) / len(wins))
        return max(c.kelly_floor, min(c.kelly_cap, c.kelly_fraction * full))

    def _wanted(self, sign, centre, spacing_pct, close, edge, notional, room, fills, cut, before):
        c, market = self.config, self.market
        wanted, rests = {}, []
        for number in range(1, self.config.levels + 1):
            level = -sign * number
            exact = centre * (1 + spacing_pct) ** level
            price = nudge(exact, sign > 0, c.nudge_pct)
            away = sign < 0 if price == exact else price > exact  # a nudged price keeps its distance
            price = up_to(price, market.tick) if away else down_to(price, market.tick)
            near = 0.5 * spacing_pct * price
            qty = down_to(notional / price, market.step) if price > 0 and notional > 0 else 0.0
            if sign * (close - price) <= 0 or price <= 0:
                reason = "crosses"
            elif sign * (edge - price) < 0:
                reason = "inside_spread"
            elif any(abs(fill - price) <= near for fill in fills):
                reason = "occupied"
            elif any(abs(other - price) <= near for other in cut):
                reason = "cooling"
            elif qty < market.min_qty:
                reason = "min_qty"
            elif qty * price < market.min_notional:
                reason = "min_notional"
            elif qty * price > room:
                reason = "max_inventory"
            else:
                old = before.get(level)
                kept = (
                    old is not None
                    and abs(old[0] - price) <= c.keep_price * spacing_pct * price
                    and abs(old[1] - qty) <= c.keep_qty * qty
                )
                if kept and old[0] in rests:
                    kept = False
                if not kept and price in rests:
                    self.reasons["same_price"] += 1
                    continue
                rests.append(old[0] if kept else price)
                room -= qty * price
                wanted[level] = (price, qty, kept)
                continue
            self.reasons[reason] += 1
        return wanted

    def _check_exits(self, now, sign, fills, shift) -> None:
        c, tick = self.config, self.market.tick
        expected = {}
        for fill in fills:
            target = fill.price * (1 + sign * fill.spacing_pct)
            target += min(shift, 0) if sign > 0 else max(shift, 0)
            factor = (1 + c.maker_fee) / (1 - c.maker_fee)
            if sign > 0:
                price = up_to(max(target, fill.price * factor), tick)
                price = price if price > now.close else up_to(now.close + tick, tick)
            else:
                price = down_to(min(target, fill.price / factor), tick)
                price = price if price < now.close else down_to(now.close - tick, tick)
            old = now.before[sign].exits.get(fill.id)
            kept = old is not None and abs(old - price) <= c.keep_price * fill.spacing_pct * fill.price
            expected[fill.id] = old if kept else price
        actual = {key: round(price, 9) for key, price in now.after[sign].exits.items()}
        assert actual == {key: round(price, 9) for key, price in expected.items()}, (self.bars, sign)


def _notional(entries) -> float:
    return sum(price * qty for price, qty in entries.values())


def _rounded(entries):
    return {level: (round(price, 9), round(qty, 9)) for level, (price, qty) in entries.items()}
