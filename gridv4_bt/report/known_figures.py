"""Every figure the page knows: where it stands, its words, its unit and its definition, which shows on hover."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One figure of summary.json."""

    section: str  #: the table it stands in
    path: str  #: keys of summary.json, joined by dots
    name: str
    kind: str  #: of `gridv4_bt.report.numbers.number`
    meaning: str


#: Sections of each tab, in their order.
TABS = {
    "periods": ("Days and months", "Under water"),
    "trades": ("Trades", "Cycles"),
    "risk": ("Exposure", "Margin", "Guards", "Co-movement"),
    "execution": ("Orders", "Costs", "The grid"),
}

FIGURES = tuple(
    Figure(*row)
    for row in (
        ("Days and months", "returns.days", "days traded", "count", "UTC days with at least one bar."),
        ("Days and months", "returns.positive_days", "days with a gain", "percent", "Share of UTC days that ended higher than the day before."),
        ("Days and months", "returns.positive_months", "months with a gain", "percent", "Share of UTC months that ended higher than the month before."),
        ("Days and months", "returns.best_day.return", "best day", "percent", "Largest return of a UTC day."),
        ("Days and months", "returns.worst_day.return", "worst day", "percent", "Smallest return of a UTC day."),
        ("Days and months", "risk.expected_shortfall_5pct", "mean loss of the worst 5 % of days", "percent", "Mean of the lowest twentieth of daily returns, as a loss (expected shortfall)."),
        ("Days and months", "risk.expected_shortfall_1pct", "mean loss of the worst 1 % of days", "percent", "Mean of the lowest hundredth of daily returns, as a loss."),
        ("Days and months", "risk.omega", "Omega", "ratio", "Sum of the daily gains over the sum of the daily losses."),
        ("Under water", "recovery.longest_days", "longest time under water", "days", "From a high until it is reached again, or until the end."),
        ("Under water", "recovery.current_days", "under water at the end", "days", "Since the last high; 0 at a new one."),
        ("Under water", "recovery.mean_days", "mean time under water", "days", "Mean of all times under water, short ones too."),
        ("Under water", "recovery.times", "times under water", "count", "How often the equity fell below a high."),
        ("Under water", "recovery.under_water", "bars under water", "percent", "Share of bars below the highest equity so far."),
        ("Under water", "risk.mean_drawdown", "mean drawdown", "percent", "Mean of all bars' distance below the highest equity so far."),
        ("Under water", "risk.ulcer_index", "ulcer index", "percent", "Root mean square of the drawdown of every bar."),
        ("Trades", "trades", "trades", "count", "Fills that are closed; one closed in parts counts once."),
        ("Trades", "win_rate", "trades with a profit", "percent", "After fees and funding."),
        ("Trades", "profit_factor", "profit factor", "ratio", "Sum of all profits over the sum of all losses of trades."),
        ("Trades", "open_fills", "fills still open", "count", "Entries not yet closed, or not wholly, when the run ended."),
        ("Trades", "holding.all.median", "held, median", "hours", "Half of the closings came sooner after their entry. Times are those of bars."),
        ("Trades", "holding.all.p95", "held, 95 % shorter than", "hours", "One closing in twenty came later."),
        ("Trades", "holding.all.max", "held, longest", "hours", "Longest time from an entry to its closing."),
        ("Trades", "time_in_market", "bars with a position", "percent", "Share of bars at whose close something was held."),
        ("Cycles", "cycles.cycles", "cycles", "count", "A cycle is a leg from its first fill until it is flat again."),
        ("Cycles", "cycles.open", "cycles still open", "count", "Legs not flat when the run ended."),
        ("Cycles", "cycles.win_rate", "cycles with a profit", "percent", "By the net of their closings."),
        ("Cycles", "cycles.median_hours", "length, median", "hours", "Half of the cycles were shorter."),
        ("Cycles", "cycles.longest_hours", "length, longest", "hours", "One still open counts to the end of the run."),
        ("Cycles", "cycles.worst_unrealized", "worst unrealised loss of a cycle", "percent", "Of the wallet at its begin, at the worst price of its bars."),
        ("Exposure", "exposure.long.max", "most LONG", "percent", "Largest notional held LONG over the equity, at a close."),
        ("Exposure", "exposure.short.max", "most SHORT", "percent", "Largest notional held SHORT over the equity, at a close."),
        ("Exposure", "exposure.gross.max", "most LONG plus SHORT", "percent", "Largest sum of both notionals over the equity, at a close."),
        ("Exposure", "exposure.net.max", "most net LONG", "percent", "Largest LONG minus SHORT over the equity, at a close."),
        ("Exposure", "exposure.net.min", "most net SHORT", "percent", "Smallest LONG minus SHORT over the equity, at a close."),
        ("Exposure", "exposure.gross.mean", "mean of all bars", "percent", "Mean LONG plus SHORT over the equity; the benchmark of equal exposure holds as much."),
        ("Exposure", "exposure.gross_when_held", "mean when held", "percent", "The same mean over the bars with a position."),
        ("Exposure", "exposure.hedged", "bars with both sides", "percent", "Share of bars with something LONG and something SHORT."),
        ("Margin", "max_margin_ratio", "highest margin ratio", "percent", "Maintenance margin over equity; at 100 % the exchange liquidates."),
        ("Margin", "margin.ratio.p99", "margin ratio, 99 % below", "percent", "Over the bars with a position."),
        ("Margin", "min_liquidation_distance", "nearest liquidation price", "percent", "How far the price was from liquidating the account, at the nearest."),
        ("Margin", "margin.distance.p01", "liquidation price, 99 % farther", "percent", "Over the bars with a position that had such a price."),
        ("Margin", "margin_calls", "margin calls", "count", "How often the strategy closed fills to lower the margin ratio."),
        ("Margin", "liquidations", "liquidations", "count", "How often the exchange closed everything."),
        ("Guards", "halts", "halts by the circuit breaker", "count", "How often z fell below its limit, so that new entries stopped."),
        ("Guards", "stops", "stops", "count", "Stage 1 when ordered, stage 2 when executed, both sides."),
        ("Co-movement", "co_movement.bets", "independent bets", "count", "Fills of any symbol at least a day after the one before: those of one move win or lose together."),
        ("Co-movement", "co_movement.prices.correlation", "correlation of prices", "ratio", "Mean over all pairs of symbols, of daily changes."),
        ("Co-movement", "co_movement.prices.effective", "as many symbols without correlation", "ratio", "n / (1 + (n - 1) × correlation): ten symbols that move as one are one."),
        ("Co-movement", "co_movement.profits.correlation", "correlation of profits", "ratio", "Mean over all pairs of symbols, of what each made a day, open fills included."),
        ("Co-movement", "co_movement.profits.effective", "as many bets without correlation", "ratio", "The same of the profits."),
        ("Orders", "bars", "bars", "count", "Bars of the span, of all symbols."),
        ("Orders", "activity.fills", "entries", "count", "Orders of the grid that filled."),
        ("Orders", "activity.fills_per_day", "entries a day", "ratio", "Over the days of the run."),
        ("Orders", "activity.closings_per_day", "closings a day", "ratio", "Parts of a fill count one by one."),
        ("Orders", "activity.turnover_per_day", "turnover a day", "percent", "Notional of all entries and closings of a day over the mean equity."),
        ("Orders", "maker_ratio", "executions as maker", "percent", "Share of executions that paid the maker fee."),
        ("Orders", "ambiguous_bars", "bars whose inside was uncertain", "count", "Bars in which the unknown order of prices decided what filled."),
        ("Costs", "costs.gross_profit", "profits before costs", "money", "Sum of all closings that gained before costs."),
        ("Costs", "costs.grid_profit", "of the grid's own exits", "money", "The same of closings by label grid."),
        ("Costs", "costs.fee_drag", "fees of the profits", "percent", "All fees over the profits before costs."),
        ("Costs", "costs.fees_of_grid_profit", "fees of the grid's profit", "percent", "All fees over the profit of the grid's own exits."),
        ("Costs", "costs.funding_of_grid_profit", "funding of the grid's profit", "percent", "All funding over the profit of the grid's own exits."),
        ("The grid", "grid.pairs", "fills closed by their own exit", "count", "Such a pair is what a grid lives on."),
        ("The grid", "grid.pairs_of_fills", "of all entries", "percent", "Share of the entries that their own exit closed."),
        ("The grid", "grid.pairs_per_day", "pairs a day", "ratio", "Over the days of the run."),
        ("The grid", "grid.pair_profit", "profit of a pair", "money", "Mean net profit."),
        ("The grid", "grid.pair_return", "return of a pair", "percent", "Net profit of all pairs over their entry notional."),
        ("The grid", "grid.profit_of_fill", "profit of a fill, all in all", "money", "Net of all closings over the number of entries."),
        ("The grid", "grid.fills_of_reached", "reached levels that filled", "percent", "Entries over how often the market came to a level, with an order there or without."),
        ("The grid", "grid.pairs_of_reached", "reached levels that became a pair", "percent", "Pairs over how often the market came to a level."),
    )
)  # fmt: skip

#: Result beside the benchmarks: key, name, kind, definition.
COMPARED = (
    ("net_return", "net return", "percent", "Change of the equity, unrealised profit included."),
    ("annual_return", "return a year", "percent", "Compound, a year of 365 days."),
    ("max_drawdown", "largest drawdown", "percent", "Farthest the equity fell below its highest so far, at a close; unrealised losses included."),
    ("volatility", "volatility a year", "percent", "Deviation of daily returns times √365."),
    ("sharpe", "Sharpe", "ratio", "Mean over deviation of daily returns, times √365; no risk-free rate."),
    ("sortino", "Sortino", "ratio", "Mean of daily returns over the root mean square of the losses, times √365."),
    ("calmar", "Calmar", "ratio", "Return a year over the largest drawdown."),
)  # fmt: skip

#: Of these, what so few days as `gridv4_bt.report.sentences.FEW_DAYS` say nothing about.
OF_A_YEAR = ("annual_return", "calmar")

#: Columns of tables of trades: key, name, kind, definition.
TRADED = (
    ("trades", "trades", "count", "Fills that are closed."),
    ("win_rate", "won", "percent", "Share with a profit after fees and funding."),
    ("net", "net", "money", "Price moves minus fees minus funding."),
    ("gross", "price moves", "money", "Profit before costs."),
    ("fees", "fees", "money", "Of entry and exit."),
    ("funding", "funding", "money", "Paid while open; negative: received."),
)

#: Columns of the table of legs.
LEG = (
    ("realized", "price moves", "money", "Profit of what closed, before costs."),
    ("fees", "fees", "money", "Of entries and exits, those of open fills too."),
    ("funding", "funding", "money", "Paid; negative: received."),
    ("unrealized", "unrealised", "money", "Profit of what is still open at the last close."),
    ("total", "total", "money", "Price moves − fees − funding + unrealised. The totals add up to the change of the equity."),
    ("slippage", "of it slippage", "money", "Part of the price moves: what market and stop orders lost against the price they were sent at."),
    ("trades", "trades", "count", "Fills that are closed."),
    ("win_rate", "won", "percent", "Share with a profit."),
)  # fmt: skip

#: Rows of the table of excursions: key, name, kind, definition.
EXCURSION = (
    ("adverse_price", "MAE, of the price", "percent", "Farthest the price went against a fill while it was held, of its entry price."),
    ("favourable_price", "MFE, of the price", "percent", "Farthest it went for the fill, of its entry price."),
    ("adverse_levels", "MAE, levels", "ratio", "Farthest the price went against a fill while it was held, in spacings of the ladder."),
    ("favourable_levels", "MFE, levels", "ratio", "Farthest it went for the fill, in spacings."),
    ("adverse_wallet", "MAE, of the wallet", "percent", "Loss of the whole fill at that price, of the wallet at the entry."),
    ("favourable_wallet", "MFE, of the wallet", "percent", "Profit of the whole fill at its best price."),
)  # fmt: skip

#: Columns of the table of cuts.
PRUNED = (
    ("trades", "closings", "count", "Fills cut by this method."),
    ("net", "net", "money", "What the cut fills realised, costs included."),
    ("held", "if held", "money", "What they would have realised held for another day with their own take-profit. Hindsight: no other guard acts meanwhile."),
    ("saved", "saved", "money", "The difference; positive where the cut was better."),
    ("came_back", "came back", "percent", "Share that would have reached the take-profit within the day."),
)  # fmt: skip

#: Told elsewhere on the page, or said again under another name; the seconds are not the run's.
ELSEWHERE = {
    "strategy", "symbols", "from", "to", "seconds", "departs_from_definition", "flags", "start_equity", "end_equity", "gross", "fees",
    "funding", "unrealized", "by_label", "by_side", "by_regime", "levels", "legs", "open_legs", "benchmark", "passivbot",
    "blocked", "blocked_share", "adverse_selection", "pruning", "excursions", "funding_by_side", "returns.monthly",
    "returns.yearly", "returns.best_day", "returns.worst_day", "recovery.worst", "cycles.by_deepest", "activity.maker_ratio",
    "costs.fees", "costs.funding", "grid.fills", "grid.reached", "risk.sharpe", "risk.sortino", "risk.calmar",
    "risk.max_drawdown", "risk.volatility", "holding", "exposure", "margin", "rules", "warnings", "by_intrabar",
    *(key for key, *_ in COMPARED),
}  # fmt: skip
