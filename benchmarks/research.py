"""Measure what drives the result: `python benchmarks/research.py` writes docs/research-numbers.md and its pictures.

One rule at a time off, the width of the spread, the grid of 375 points around the defaults, 200 sets of a wide space,
what the guards against overfitting say of them, the three regime filters in one wallet, and random walks as wild as the
markets, by the compiled sweep over ../shared/data. It takes some eight minutes of one core. docs/research.md says what
it means.
"""

import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from results import BUSY_CONFIG, CASH, CHOSEN, DEFAULTS, EVERY, ROOT, SHARED, defaults_but, files_of, rules_file
from searches import SEED, candles_of, walk

from gridv4_bt.backtest import make_feeds
from gridv4_bt.config import GridConfig
from gridv4_bt.metrics.performance import sharpe
from gridv4_bt.sweep import SweepMarket, SweepResult, SweepWallet, sweep
from gridv4_bt.validation.overfitting import bootstrap_return, deflated_sharpe, overfitting_probability, sharpe_ratio

RULES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "z_halt off": {"z_halt": -999.0},
    "adx_min 0": {"adx_min": 0.0},
    "adx_min 100": {"adx_min": 100.0},
    "trend_slope 0.1": {"trend_slope": 0.1},
    "Kelly off": {"kelly_floor": 1.0, "kelly_cap": 1.0},
    "funding tilt off": {"funding_tilt": 0.0},
    "deviance off": {"deviance_atr": 0.0},
    "oldest off": {"max_age_hours": 0.0},
    "gap off": {"gap_spacings": 0.0},
    "funding cut off": {"funding_share": 0.0},
    "offset off": {"offset_spacings": 0.0},
    "stops far away": {"stop1_atr": 900.0, "stop2_atr": 999.0},
    "VaR limit off": {"var_pct": 10.0},
    "levels reopen at once": {"reopen_bars": 0},
    "nudge off": {"nudge_pct": 0.0},
    "trailing off": {"trail_share": 0.0},
    "gamma 0": {"gamma": 0.0},
    "gamma 20": {"gamma": 20.0},
}
KAPPAS = {f"kappa {kappa}": {"kappa": float(kappa)} for kappa in (20, 30, 40, 50, 60, 100, 200)}
GRID = [
    {"k": k, "floor_pct": floor, "levels": levels, "kappa": kappa}
    for k, floor, levels, kappa in product(
        (0.4, 0.6, 0.8, 1.0, 1.3), (0.002, 0.003, 0.004, 0.005, 0.007), (10, 15, 20), (25.0, 30.0, 35.0, 40.0, 50.0)
    )
]
OURS = GRID.index({name: getattr(DEFAULTS, name) for name in GRID[0]})
FIRST_DAY, LAST_DAY = np.datetime64("2022-01-04"), np.datetime64("2026-05-16")
CHOSEN_UNTIL = 2023  #: the last year on which the defaults were chosen
SEARCHED = 2_300  #: sets that the first search tried
YEARS = np.arange(FIRST_DAY, LAST_DAY + 1).astype("datetime64[Y]").astype(int) + 1970  #: of each day
FROM = date(2022, 1, 1)
WALKS = 32  #: random walks of each symbol
WALKED = {"defaults": DEFAULTS, "regime none": defaults_but(regime="none"), "busy preset": BUSY_CONFIG}
KAPPA_RANGES = ((10, 60), (60, 200), (200, 3_000))
PAGE = ROOT / "docs" / "research-numbers.md"
PICTURES = ROOT / "docs" / "img"


def wide_sets(count: int = 200) -> list[dict[str, Any]]:
    """Return parameter sets drawn from a wide space, always the same ones."""
    draw = random.Random(11)

    def spread(low: float, high: float) -> float:
        return float(np.exp(draw.uniform(np.log(low), np.log(high))))

    found = []
    for _ in range(count):
        stop = draw.uniform(3.0, 12.0)
        found.append(
            {
                "k": spread(0.4, 8.0),
                "floor_pct": spread(0.002, 0.02),
                "levels": draw.randint(3, 20),
                "gamma": spread(0.1, 20.0),
                "kappa": spread(10.0, 3_000.0),
                "horizon": draw.choice((15, 30, 96)),
                "stop1_atr": stop,
                "stop2_atr": stop + draw.uniform(1.0, 6.0),
                "var_pct": draw.uniform(0.03, 0.15),
                "order_pct": draw.uniform(0.02, 0.1),
                "regime": draw.choice(("kama", "none")),
            }
        )
    return found


def swept(market: SweepMarket, sets: Iterable[Mapping[str, Any]]) -> list[SweepResult]:
    """Return the results of parameter sets, all else by default."""
    return list(sweep(market, [GridConfig(**values) for values in sets], CASH))


def daily(results: list[SweepResult]) -> NDArray[np.float64]:
    """Return the return of every day from `FIRST_DAY` to `LAST_DAY`, a column a result."""
    days = np.arange(FIRST_DAY, LAST_DAY + 1).astype(int)
    table = np.zeros((len(days), len(results)))
    for column, result in zip(table.T, results, strict=True):
        known = (result.days >= days[0]) & (result.days <= days[-1])
        column[result.days[known] - days[0]] = result.daily_returns[known]
    return table


def total(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the compound return of each column."""
    return np.prod(1.0 + returns, axis=0) - 1.0


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def variants_table(markets: Mapping[str, SweepMarket], variants: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what each of some parameter sets makes of each symbol."""
    columns = []
    for symbol in CHOSEN:
        results = swept(markets[symbol], variants.values())
        columns.append(
            [
                f"{one.net_return:+.1%}, {one.max_drawdown:.1%}, {sharpe(one.daily_returns) or 0.0:.2f}, {one.fills:,}"
                for one in results
            ]
        )
    rows = ([name, *cells] for name, *cells in zip(variants, *columns, strict=True))
    return table(["return, drawdown, Sharpe, fills", *CHOSEN], rows)


def grid_row(name: str, totals: NDArray[np.float64]) -> list[str]:
    """Return how the points of the grid end, and the rank of the defaults."""
    figures = (np.median(totals), totals.min(), totals.max(), totals[OURS])
    earn, rank = np.sum(totals > 0.0), np.sum(totals > totals[OURS]) + 1
    return [name, f"{earn} of {len(totals)}", *(f"{one:+.1%}" for one in figures), f"{rank}"]


def guards_lines(grid: NDArray[np.float64], wide: NDArray[np.float64]) -> list[str]:
    """Return what the guards say of daily returns, a column a parameter set."""
    lines: list[str] = []
    say = lines.append
    years = YEARS
    for year in range(2023, 2027):
        best = int(np.argmax(total(grid[years < year])))
        now = total(grid[years == year])
        point = ", ".join(f"{name} {value:g}" for name, value in GRID[best].items())
        earn = f"{np.sum(now > 0)} of {len(GRID)} earn"
        say(f"* {year}: the best before it ({point}) {now[best]:+.1%}; the defaults {now[OURS]:+.1%}; {earn}")
    for name, columns in (("grid", grid), ("grid and wide sets", np.hstack((grid, wide)))):
        found = overfitting_probability(columns, 16)
        loses = f"the best of a half loses in {found.loss:.0%}"
        say(f"* probability of overfitting, {name}: {found.probability:.2f}; {loses}")
    for name, columns in (("grid", grid), ("wide sets", wide)):
        ratios = [sharpe_ratio(column) for column in columns.T]
        for trials in (len(GRID), SEARCHED + len(GRID)):
            chance = deflated_sharpe(grid[:, OURS], ratios, trials)
            say(f"* deflated Sharpe of the defaults, {trials:,} trials like the {name}: {chance:.3f}")
    for name, part in (("all", years > 0), ("later", years > CHOSEN_UNTIL)):
        found = bootstrap_return(grid[part, OURS], seed=1)
        say(f"* bootstrap, {name}: {found.low:+.1%} to {found.high:+.1%}; {found.loss:.0%} lose")
    return [*lines, ""]


def wide_row(name: str, ends: NDArray[np.float64]) -> list[str]:
    """Return how the wide sets of a range of kappa end."""
    return [name, f"{np.sum(ends > 0)} of {len(ends)}", f"{np.median(ends):+.1%}"]


# --- pictures


def draw_spread(markets: Mapping[str, SweepMarket]) -> None:
    """Draw the Sharpe ratio of each symbol by half the spread, in the years of the search and after them."""
    kappas = np.geomspace(15.0, 150.0, 17)
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for symbol, market in markets.items():
        returns = daily(swept(market, ({"kappa": float(kappa)} for kappa in kappas)))
        for panel, part in zip(panels, (YEARS <= CHOSEN_UNTIL, YEARS > CHOSEN_UNTIL), strict=True):
            ratios = [sharpe(column[part]) or 0.0 for column in returns.T]
            panel.plot(100.0 / kappas, ratios, marker=".", label=symbol)
    for panel, title in zip(
        panels, ("2022 and 2023, on which it was chosen", "2024 to 2026-05, after it"), strict=True
    ):
        panel.set(xscale="log", xlabel="half the spread, % (1 / kappa)", title=title)
        panel.set_xticks([1, 2, 3, 5], ["1", "2", "3", "5"])
        panel.minorticks_off()
        panel.axhline(0.0, color="grey", linewidth=0.8)
        panel.axvline(100.0 / DEFAULTS.kappa, color="grey", linestyle=":", label="the defaults")
    panels[0].set_ylabel("Sharpe ratio, each symbol by itself")
    panels[0].legend()
    save(figure, "research-spread.png")


def draw_grid(returns: NDArray[np.float64]) -> None:
    """Draw the mean Sharpe ratio of the grid's points by k and kappa, in both spans of years."""
    ks, kappas = (sorted({one[name] for one in GRID}) for name in ("k", "kappa"))
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2))
    for panel, part, title in zip(
        panels, (YEARS <= CHOSEN_UNTIL, YEARS > CHOSEN_UNTIL), ("2022 and 2023", "2024 to 2026-05"), strict=True
    ):
        ratios = np.array([sharpe(column[part]) or 0.0 for column in returns.T])
        points = [(one["k"], one["kappa"]) for one in GRID]
        cells = np.array([[ratios[[point == (k, kappa) for point in points]].mean() for k in ks] for kappa in kappas])
        image = panel.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
        panel.set_xticks(range(len(ks)), [f"{k:g}" for k in ks])
        panel.set_yticks(range(len(kappas)), [f"{kappa:g}" for kappa in kappas])
        panel.set(xlabel="k, ATR between two levels", ylabel="kappa", title=title)
        for (row, column), value in np.ndenumerate(cells):
            is_bright = value > cells.min() + 0.6 * np.ptp(cells)
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", color="black" if is_bright else "white")
        figure.colorbar(image, ax=panel, label="mean Sharpe ratio")
    save(figure, "research-grid.png")


def draw_regimes(wallet: SweepWallet) -> list[str]:
    """Draw the equity of the three regime filters in one wallet, and return their table."""
    figure, panel = plt.subplots(figsize=(11, 4.2))
    rows = []
    for name in ("kama", "none", "gmm"):
        [one] = sweep(wallet, [GridConfig(regime=name)], CASH)
        panel.plot(one.days.astype("datetime64[D]"), one.equity / CASH * 100.0 - 100.0, label=name)
        ratio = sharpe(one.daily_returns) or 0.0
        rows.append([name, f"{one.net_return:+.1%}", f"{one.max_drawdown:.1%}", f"{ratio:.2f}", f"{one.fills:,}"])
    panel.set(ylabel="return, %", title=f"The defaults with each regime filter, {', '.join(CHOSEN)} in one wallet")
    panel.axhline(0.0, color="grey", linewidth=0.8)
    panel.legend()
    save(figure, "research-regime.png")
    return table(["regime", "return", "drawdown", "Sharpe", "fills"], rows)


def walks_table() -> list[str]:
    """Return what parameter sets make of each symbol, and of random walks that are as wild as it bar by bar."""
    rows = []
    for symbol in CHOSEN:
        candles = candles_of(symbol)
        made = (walk(candles, np.random.default_rng([SEED, number, *symbol.encode()])) for number in range(WALKS))
        real, *walks = (_walked(symbol, one) for one in (candles, *made))
        for place, name in enumerate(WALKED):
            one, others = real[place], [results[place] for results in walks]
            ends = np.array([other.net_return for other in others])
            before_fees = np.mean([(other.gross - other.funding) / CASH for other in others])
            low, high = np.quantile(ends, (0.05, 0.95))
            fills = round(np.mean([other.fills for other in others]))
            rows.append(
                [
                    symbol, name, f"{one.net_return:+.1%}, {one.fills:,} fills", f"{ends.mean():+.1%}, {fills:,} fills",
                    f"{before_fees:+.1%}", f"{low:+.1%} to {high:+.1%}", str(np.sum(ends >= one.net_return)),
                ]
            )  # fmt: skip
    head = ["", "", "the market", "mean of the walks", "before fees", "9 of 10 walks", f"as good, of {WALKS}"]
    return table(head, rows)


def _walked(symbol: str, candles: pd.DataFrame) -> list[SweepResult]:
    data = replace(files_of(SHARED, symbol), candles=candles)
    return list(sweep(SweepMarket.of(make_feeds([data])[0]), list(WALKED.values()), CASH))


def save(figure: Figure, name: str) -> None:
    """Write a picture of the page."""
    figure.tight_layout()
    figure.savefig(PICTURES / name, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory() as place:
        rules = rules_file(Path(place))
        markets = {name: SweepMarket.of(make_feeds([files_of(SHARED, name)])[0], rules) for name in EVERY}
        wallet = SweepWallet.of(
            [
                SweepMarket.of(feed, rules)
                for feed in make_feeds([files_of(SHARED, name) for name in CHOSEN], start=FROM)
            ]
        )
    lines = [
        "# What drives the result: the numbers",
        "",
        "Written by `python benchmarks/research.py`; [the research page](research.md) says what they mean and has",
        "their costs, candles and span.",
        "",
        "## One rule at a time off, and the width of the spread",
        "",
        *variants_table(markets, RULES | KAPPAS),
        "## The regime filters, BTC, ETH and SOL in one wallet",
        "",
        *draw_regimes(wallet),
        "## The grid of 375 points around the defaults",
        "",
    ]
    draw_spread(markets)
    grids, rows, sets = [], [], wide_sets()
    for symbol, market in markets.items():
        results = swept(market, GRID)
        rows.append(grid_row(symbol, np.array([one.net_return for one in results])))
        if symbol in CHOSEN:
            grids.append(daily(results))
    grid = np.mean(grids, axis=0)
    draw_grid(grid)
    for name, part in (("2022-23", YEARS <= CHOSEN_UNTIL), ("2024-26", YEARS > CHOSEN_UNTIL), ("all", YEARS > 0)):
        rows.append(grid_row(f"mean of three, {name}", total(grid[part])))
    lines += table(["", "earn", "median", "worst", "best", "defaults", "their rank"], rows)
    wide = np.mean([daily(swept(markets[symbol], sets)) for symbol in CHOSEN], axis=0)
    kappas, ends = np.array([one["kappa"] for one in sets]), total(wide)
    parts = ((f"{low} to {high:,}", ends[(kappas >= low) & (kappas < high)]) for low, high in KAPPA_RANGES)
    lines += ["## 200 sets of a wide space, by kappa", ""]
    lines += table(["kappa", "earn", "median"], (wide_row(*part) for part in parts))
    lines += ["## What the guards say", "", *guards_lines(grid, wide)]
    lines += ["## Random walks as wild as the markets, 2022 to 2026", "", *walks_table()]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
