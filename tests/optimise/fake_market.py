"""Markets whose result is a formula, so that a search takes no time and its answer is known."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gridv4_bt.config import GridConfig
from gridv4_bt.errors import DataError
from gridv4_bt.optimise.figures import FIGURES, Evaluation
from gridv4_bt.optimise.markets import Markets
from gridv4_bt.optimise.space import Space
from gridv4_bt.optimise.workers import Result, Values, attempt

FIRST_DAY = 19_723  # 2024-01-01
DAYS = 200


@dataclass(frozen=True)
class FormulaMarket:
    """Earns most at k = 3, risks more the more levels there are, cannot run kappa = 13."""

    seed: int = 0
    seconds: float = 0.0

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        pass

    def evaluate(self, config: GridConfig) -> Evaluation:
        time.sleep(self.seconds)
        if config.kappa == 13.0:
            raise DataError("no such market")
        rng = np.random.default_rng((self.seed, int(config.k * 1_000), config.levels))
        returns = 0.01 * rng.standard_normal(DAYS) + 0.002 * (1.0 - abs(config.k - 3.0))
        figures = dict.fromkeys(FIGURES, 0.0) | {
            "net_return": float(np.prod(1.0 + returns) - 1.0),
            "sharpe": 2.0 - abs(config.k - 3.0),
            "max_drawdown": 0.01 * config.levels,
            "fills_per_day": 6.0 / config.k,
            "calmar": None,
        }
        return Evaluation(figures, np.arange(FIRST_DAY, FIRST_DAY + DAYS), returns)


def space(search: dict | None = None, **changes) -> Space:
    """A space of k, levels and regime."""
    content = {
        "symbols": [{"name": "TEST", "candles": "TEST.csv"}],
        "windows": [{"name": "main"}],
        "objectives": [{"figure": "sharpe"}],
        "parameters": {
            "k": {"low": 1.0, "high": 6.0, "log": True},
            "levels": {"low": 2, "high": 12, "step": 2},
            "regime": {"choices": ["kama", "none"]},
        },
        "limits": ["max_drawdown < 0.10"],
        "search": {"trials": 24, "batch": 8, "seed": 5, **(search or {})},
    }
    return Space(**content | changes)


class Here:
    """Workers that are this very process."""

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        yield from enumerate(attempt(markets, values) for values in sets)

    def close(self) -> None:
        pass


MARKETS = {("TEST", "main"): FormulaMarket()}


@dataclass(frozen=True)
class LoggedMarket(FormulaMarket):
    """Writes down which process it is unpickled in."""

    log: str = ""

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")
