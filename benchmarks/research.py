"""Print the measurements of docs/research.md that need parameters only: `python benchmarks/research.py`.

One rule at a time off, the width of the spread, the grid of 375 points around the defaults, 200 sets of a wide space,
and what the guards against overfitting say of them, by the compiled sweep over ../shared/data. It takes some five
minutes of one core.
"""

import random
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import CASH, CHOSEN, DEFAULTS, EVERY, SHARED, files_of, rules_file

from gridv4_bt.backtest import make_feeds
from gridv4_bt.config import GridConfig
from gridv4_bt.metrics.performance import sharpe
from gridv4_bt.sweep import SweepMarket, SweepResult, sweep
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


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def print_variants(symbol: str, market: SweepMarket, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what each of some parameter sets makes of a symbol."""
    for name, one in zip(variants, swept(market, variants.values()), strict=True):
        ratio = sharpe(one.daily_returns) or 0.0
        say(f"{symbol} {name}: {one.net_return:+.1%}, {one.max_drawdown:.1%}, Sharpe {ratio:.2f}, {one.fills:,} fills")


def print_grid(name: str, totals: NDArray[np.float64]) -> None:
    """Print how the points of the grid end, and the rank of the defaults."""
    ours = f"defaults {totals[OURS]:+.1%}, rank {np.sum(totals > totals[OURS]) + 1}"
    spread = f"median {np.median(totals):+.1%}, {totals.min():+.1%} to {totals.max():+.1%}"
    say(f"{name}: {np.sum(totals > 0.0)} of {len(totals)} earn, {spread}; {ours}")


def print_guards(grid: NDArray[np.float64], wide: NDArray[np.float64]) -> None:
    """Print what the guards say of daily returns, a column a parameter set."""
    years = np.arange(FIRST_DAY, LAST_DAY + 1).astype("datetime64[Y]").astype(int) + 1970
    for name, part in (("chosen on", years <= CHOSEN_UNTIL), ("later", years > CHOSEN_UNTIL), ("all", years > 0)):
        print_grid(f"mean of three, {name}", total(grid[part]))
    for year in range(2023, 2027):
        best = int(np.argmax(total(grid[years < year])))
        now = total(grid[years == year])
        say(f"{year}: best before {GRID[best]} {now[best]:+.1%}; defaults {now[OURS]:+.1%}; {np.sum(now > 0)} earn")
    for name, columns in (("grid", grid), ("grid and wide sets", np.hstack((grid, wide)))):
        found = overfitting_probability(columns, 16)
        say(
            f"probability of overfitting, {name}: {found.probability:.2f}; the best of a half loses in {found.loss:.0%}"
        )
    for name, columns in (("grid", grid), ("wide sets", wide)):
        ratios = [sharpe_ratio(column) for column in columns.T]
        for trials in (len(GRID), SEARCHED + len(GRID)):
            chance = deflated_sharpe(grid[:, OURS], ratios, trials)
            say(f"deflated Sharpe of the defaults, {trials:,} trials like the {name}: {chance:.3f}")
    for name, part in (("all", years > 0), ("later", years > CHOSEN_UNTIL)):
        found = bootstrap_return(grid[part, OURS], seed=1)
        say(f"bootstrap, {name}: {found.low:+.1%} to {found.high:+.1%}; {found.loss:.0%} lose")


def main() -> None:
    """Print everything."""
    with tempfile.TemporaryDirectory() as place:
        rules = rules_file(Path(place))
        markets = {name: SweepMarket.of(make_feeds([files_of(SHARED, name)])[0], rules) for name in EVERY}
    for symbol in CHOSEN:
        print_variants(symbol, markets[symbol], RULES | KAPPAS)
    grids, sets = [], wide_sets()
    for symbol, market in markets.items():
        results = swept(market, GRID)
        print_grid(symbol, np.array([one.net_return for one in results]))
        if symbol in CHOSEN:
            grids.append(daily(results))
    wide = np.mean([daily(swept(markets[symbol], sets)) for symbol in CHOSEN], axis=0)
    kappas, ends = np.array([one["kappa"] for one in sets]), total(wide)
    for low, high in ((10, 60), (60, 200), (200, 3_000)):
        part = ends[(kappas >= low) & (kappas < high)]
        say(f"wide sets, kappa {low}-{high}: {np.sum(part > 0)} of {len(part)} earn, median {np.median(part):+.1%}")
    print_guards(np.mean(grids, axis=0), wide)


if __name__ == "__main__":
    main()
