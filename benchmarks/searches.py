"""Run the searches behind the presets, on real candles or on such that hold nothing to find.

`python benchmarks/searches.py SPACE... [--on real|shuffled|walk] [--out runs/searches] [--jobs N] [--write]`

SPACE is a name in presets/spaces. `shuffled` puts the UTC days of all symbols in another order, the same for all, so
that nothing follows from the day before; `walk` keeps how wild each bar was and draws its path as a random walk, so
that no move comes back. `--write` makes the winner the preset of its name. A space of three symbols takes half an hour
of two cores.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from results import ROOT, SHARED

from gridv4_bt.optimise.space import load_space

STEPS = 60  #: of the walk inside a bar
SEED = 7
BARS_A_DAY = 96
#: Spaces that differ in their limits alone choose among the same trials.
SAME_TRIALS = dict.fromkeys(("active-low", "active-medium", "active-high"), "active")
PRICES = ["open", "high", "low", "close"]


def shuffled(candles: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Return the candles with their whole days in another order, each begun where the one before ended."""
    begin = int(np.flatnonzero(candles["time"].dt.hour.eq(0) & candles["time"].dt.minute.eq(0))[0])
    days = (len(candles) - begin) // BARS_A_DAY
    order = draw.permutation(days)
    rows = (begin + order[:, None] * BARS_A_DAY + np.arange(BARS_A_DAY)).ravel()
    before = np.r_[candles["open"].iloc[0], candles["close"].to_numpy()[:-1]]
    shapes = np.log(candles[PRICES].to_numpy() / before[:, None])[rows]
    return _chained(candles.iloc[begin : begin + len(rows)], shapes, candles["volume"].to_numpy()[rows])


def walk(candles: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Return candles that are as wild as the given ones, bar by bar, and a random walk otherwise."""
    # M. Parkinson, Journal of Business 53 (1980): the variance of a walk is its squared log range / (4 ln 2)
    sigmas = np.log(candles["high"].to_numpy() / candles["low"].to_numpy()) / np.sqrt(4.0 * np.log(2.0))
    shapes = np.empty((len(candles), 4))
    for first in range(0, len(candles), 10_000):
        part = sigmas[first : first + 10_000]
        steps = draw.standard_normal((len(part), STEPS)) * part[:, None] / np.sqrt(STEPS)
        path = np.concatenate([np.zeros((len(part), 1)), np.cumsum(steps, axis=1)], axis=1)
        shapes[first : first + len(part)] = np.stack(
            [path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]], axis=1
        )
    return _chained(candles, shapes, candles["volume"].to_numpy())


def _chained(candles: pd.DataFrame, shapes: NDArray[np.float64], volume: NDArray[np.float64]) -> pd.DataFrame:
    """Return candles made of log prices relative to the close before, rounded to six digits of the first price."""
    first = float(candles["open"].iloc[0])
    ends = np.cumsum(shapes[:, 3])
    prices = first * np.exp(shapes + np.r_[0.0, ends[:-1]][:, None])
    digits = 5 - int(np.floor(np.log10(first)))
    prices = np.round(prices, digits)
    made = pd.DataFrame(prices, columns=PRICES)
    made.insert(0, "time", candles["time"].to_numpy())
    return made.assign(high=made[PRICES].max(axis=1), low=made[PRICES].min(axis=1), volume=volume)


def source_of(symbol: str) -> Path:
    """Return the file of a symbol's real candles."""
    return SHARED / "candles" / f"{symbol}-15m.parquet"


def candles_of(symbol: str) -> pd.DataFrame:
    """Return a symbol's real candles from 2022 on."""
    candles = pd.read_parquet(source_of(symbol))
    return candles[candles["time"] >= pd.Timestamp("2022-01-01", tz="UTC")].reset_index(drop=True)


def files_of(symbol: str, kind: str, folder: Path) -> list[str]:
    """Return the options that give a symbol's candles and funding."""
    source = source_of(symbol)
    if kind != "real":
        make = shuffled if kind == "shuffled" else walk
        # The same days change places in all symbols that have the same days.
        seed = [SEED] if kind == "shuffled" else [SEED, *symbol.encode()]
        source = folder / f"{symbol}-15m.parquet"
        make(candles_of(symbol), np.random.default_rng(seed)).to_parquet(source)
    return ["--data", str(source), "--funding", str(SHARED / "funding" / f"{symbol}-funding.parquet")]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spaces", nargs="+", metavar="SPACE")
    parser.add_argument("--on", choices=("real", "shuffled", "walk"), default="real")
    parser.add_argument("--out", type=Path, default=Path("runs/searches"))
    parser.add_argument("--jobs", default="0")
    parser.add_argument("--trials", help="in place of the space's number")
    parser.add_argument("--write", action="store_true", help="make the winner the preset")
    arguments = parser.parse_args()
    if arguments.write and (arguments.on != "real" or arguments.trials):
        parser.error("--write: a preset is what the whole search of real candles has found")
    for name in arguments.spaces:
        path = ROOT / "presets" / "spaces" / f"{name}.toml"
        searched = SAME_TRIALS.get(name, name)
        folder = arguments.out / (searched if arguments.on == "real" else f"{searched}-{arguments.on}")
        made = arguments.out / f"candles-{arguments.on}"
        made.mkdir(parents=True, exist_ok=True)
        files = [word for one in load_space(path).symbols for word in files_of(one.name, arguments.on, made)]
        command = ["optimize", "--space", str(path), *files, "--out", str(folder), "--jobs", arguments.jobs]
        command += ["--trials", arguments.trials] if arguments.trials else []
        subprocess.run([sys.executable, "-m", "gridv4_bt", *command], check=True, cwd=Path.cwd())
        if arguments.write:
            (ROOT / "presets" / f"{name}.toml").write_text((folder / "finalist-1.toml").read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    main()
