"""Print the statistics of the sample market beside those of BTC, ETH and SOL, as in docs/sample-market.md.

    python benchmarks/sample_market.py

The real columns need ../shared/data and are left out without it. "sample, long" is the mean of eight seeds of 1,600
days, the length of the real files; "sample" is the default market of one year, whose rarer figures are chance.
"""

import sys
from pathlib import Path

import pandas as pd

from feeds.synthetic import sample_market
from gridv4_bt.validation.market_statistics import as_table, average, measure

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = range(11, 19)
DAYS = 1_600


def main():
    columns = {}
    if SHARED.is_dir():
        for name in ("BTC", "ETH", "SOL"):
            candles = pd.read_parquet(SHARED / "candles" / f"{name}USDT-15m.parquet")
            columns[name] = measure(candles, pd.read_parquet(SHARED / "funding" / f"{name}USDT-funding.parquet"))
    markets = (sample_market(seed, DAYS) for seed in SEEDS)
    columns["sample, long"] = average([measure(one.candles, one.funding) for one in markets])
    default = sample_market()
    columns["sample"] = measure(default.candles, default.funding)
    sys.stdout.write(as_table(columns))


if __name__ == "__main__":
    main()
