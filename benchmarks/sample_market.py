"""Print the statistics of the sample market beside those of BTC, ETH and SOL, as in docs/sample-market.md.

    python benchmarks/sample_market.py            # the table
    python benchmarks/sample_market.py --seeds    # which of 40 seeds gives the most ordinary year

Both read ../shared/data. "sample, long" is the mean of 24 seeds of 1,600 days, the length of the real files;
"sample" is the default market of one year. The most ordinary year is the one whose statistics are nearest to the middle
one of the three real markets; each is weighed by how much it differs between the years of the seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from feeds.synthetic import sample_market
from gridv4_bt.validation.market_statistics import as_table, average, measure

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LONG_SEEDS = range(101, 125)  # none of them served the fit
LONG_DAYS = 1_600
YEAR_SEEDS = range(1, 41)


def real():
    """Return the statistics of the three real markets by name."""
    found = {}
    for name in ("BTC", "ETH", "SOL"):
        candles = pd.read_parquet(SHARED / "candles" / f"{name}USDT-15m.parquet")
        found[name] = measure(candles, pd.read_parquet(SHARED / "funding" / f"{name}USDT-funding.parquet"))
    return found


def invented(**options):
    """Return the statistics of a sample market."""
    market = sample_market(**options)
    return measure(market.candles, market.funding)


def numbers(market):
    """Return the statistics as a row of numbers: frequencies as logarithms, the spread of the hours in their place."""
    funding = market.funding
    row = [
        market.volatility, *market.range_to_sigma, market.tail_index, market.skewness, market.return_autocorrelation,
        market.variance_ratio, *market.range_autocorrelation, *market.return_size_autocorrelation, market.weekend,
        market.daily_volatility_spread, np.std(market.hourly), market.volume_to_range, funding.mean, *funding.quantiles,
        funding.at_interest, funding.negative, *funding.rank_autocorrelation, funding.momentum,
    ]  # fmt: skip
    for moves in market.moves.values():
        row += [np.log(max(moves.per_year, 1.0)), *moves.back]
    return row


def distances():
    """Return how far the year of each seed is from the middle of the real markets, in deviations between seeds."""
    middle = np.median([numbers(one) for one in real().values()], axis=0)
    years = np.array([numbers(invented(seed=seed)) for seed in YEAR_SEEDS])
    away = np.sqrt((((years - middle) / years.std(axis=0)) ** 2).mean(axis=1))
    return dict(zip(YEAR_SEEDS, away.tolist(), strict=True))


def main():
    if "--seeds" in sys.argv:
        for seed, away in sorted(distances().items(), key=lambda pair: pair[1]):
            sys.stdout.write(f"{seed:>3} {away:.3f}\n")
        return
    columns = real()
    columns["sample, long"] = average([invented(seed=seed, days=LONG_DAYS) for seed in LONG_SEEDS])
    columns["sample"] = invented()
    sys.stdout.write(as_table(columns))


if __name__ == "__main__":
    main()
