"""Random parameter sets around the busy preset, and stretches of real markets with a crash in them."""

import random
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from busy import busy
from busy_market import busy_market

from feeds.synthetic import SYMBOL
from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import GridConfig, departures, is_defined

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
IS_REAL = SHARED.is_dir() and find_spec("pyarrow") is not None  #: whether real markets can be read
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BAR = pd.Timedelta(minutes=15)
#: When prices fell: LUNA, 3AC, FTX, the yen carry trade, tariffs, and the largest liquidation so far.
CRASHES = ("2022-05-11", "2022-06-14", "2022-11-09", "2024-08-05 04:00", "2025-02-03 02:00", "2025-10-10 21:15")

#: Every number of the definition with what it gives.
DEFINED = {name: field.default for name, field in GridConfig.model_fields.items() if is_defined(name)}

#: From, to and whether small values are as likely as large ones (log); whole numbers where both ends are.
RANGES = {
    "er_bars": (4, 30), "kama_fast": (1, 6), "kama_slow": (7, 60), "atr_bars": (4, 40), "adx_bars": (4, 30),
    "adx_min": (5.0, 45.0), "z_bars": (6, 60), "breakout_slope": (0.12, 0.6), "trend_slope": (0.01, 0.1),
    "hysteresis": (0.2, 1.0), "gmm_window": (480, 900), "gmm_refit": (48, 200), "gmm_stride": (1, 8),
    "gmm_span": (2, 32), "gmm_trend": (0.05, 0.6), "gmm_breakout": (0.7, 1.5), "gmm_dwell": (1, 8),
    "sigma_bars": (24, 200),
    "k": (0.2, 3.5), "floor_pct": (0.001, 0.01, "log"), "levels": (1, 20), "gamma": (0.2, 20.0, "log"),
    "kappa": (300.0, 1e6, "log"), "horizon": (12, 200), "reopen_bars": (1, 30), "nudge_pct": (0.0002, 0.0049),
    "trail_share": (0.1, 1.0), "keep_price": (0.02, 0.49), "keep_qty": (0.02, 0.5),
    "order_pct": (0.01, 0.3, "log"), "max_inventory": (0.3, 3.0), "kelly_fraction": (0.01, 1.0, "log"),
    "kelly_window": (20, 120), "kelly_min_trades": (1, 20), "kelly_floor": (0.1, 1.0), "kelly_cap": (1.0, 3.0),
    "funding_tilt": (0.05, 0.9), "cooldown_stops": (1, 8), "cooldown_bars": (5, 400), "cooldown_factor": (0.1, 1.0),
    "z_halt": (-8.0, -2.0), "z_resume": (-1.9, 0.0), "stop1_atr": (1.0, 9.0), "stop1_share": (0.1, 1.0),
    "margin_call": (0.15, 0.9), "liquidation_warning": (0.01, 0.3), "var_pct": (0.02, 0.3, "log"), "var_z": (0.5, 4.0),
    "delever_share": (0.05, 1.5, "log"), "deviance_atr": (1.0, 8.0), "max_age_hours": (2.0, 48.0),
    "gap_spacings": (1.0, 6.0), "funding_share": (0.005, 1.0, "log"), "offset_spacings": (0.1, 3.0),
    "maker_fee": (-0.0001, 0.0005), "taker_fee": (0.0001, 0.001), "slippage": (0.0001, 0.002),
    "liquidation_fee": (0.005, 0.02),
}  # fmt: skip
CHOICES = {
    "regime": ("kama",) * 14 + ("none",) * 5 + ("gmm",), "gmm_components": (0, 2, 3, 4, 5), "warm_up": (0, 250),
    "leverage": (1, 3, 5, 10, 20), "fill_rule": ("touch", "through"), "funding_hours": (1.0, 4.0, 8.0),
}  # fmt: skip
#: A multiple of another parameter, which keeps the order that the config asks for.
MULTIPLES = {"stop2_atr": ("stop1_atr", 1.1, 2.5), "margin_target": ("margin_call", 0.3, 0.95)}
#: Caps of the account; in most sets there is none of a kind.
CAPS = {
    "cap_leg": (0.2, 2.0), "cap_symbol": (0.3, 2.0), "cap_side": (0.3, 2.0), "cap_gross": (0.3, 3.0),
    "cap_net": (0.2, 2.0),
}  # fmt: skip
#: Half the spread in sigmas, in one set of five; else kappa gives it.
SPREAD_SIGMAS = (0.05, 2.0, "log")
#: At 0 their rule does nothing, or does it always: so once in five sets.
SWITCHES = (
    "adx_min", "gamma", "reopen_bars", "nudge_pct", "trail_share", "keep_price", "keep_qty", "funding_tilt",
    "cooldown_stops", "liquidation_warning", "deviance_atr", "max_age_hours", "gap_spacings", "funding_share",
    "offset_spacings", "taker_fee", "slippage",
)  # fmt: skip
#: In one set of six much is owed and nothing cuts early, so that margin calls and liquidations occur.
RECKLESS = {
    "k": (0.2, 0.8), "kappa": (1e5, 1e6), "gamma": (0.0, 2.0), "order_pct": (0.3, 1.0), "max_inventory": (5.0, 15.0),
    "kelly_floor": (0.5, 1.0), "stop1_atr": (20.0, 60.0), "margin_call": (0.03, 0.5), "var_pct": (1.0, 10.0),
    "delever_share": (5.0, 50.0), "z_halt": (-50.0, -5.0),
}  # fmt: skip
RECKLESS_NAMES = {"regime": "none", "leverage": 20, "deviance_atr": 0, "max_age_hours": 0, "gap_spacings": 0}


def random_set(draw: random.Random, **fixed: object) -> GridConfig:
    """Return the busy preset with another value for every parameter, within sensible ranges."""
    values = {name: _number(draw, *ends) for name, ends in RANGES.items()}
    values |= {name: draw.choice(choices) for name, choices in CHOICES.items()}
    values |= {name: 0 for name in SWITCHES if draw.random() < 0.2}
    is_reckless = draw.random() < 1 / 6
    if is_reckless:
        values |= RECKLESS_NAMES | {name: draw.uniform(*ends) for name, ends in RECKLESS.items()}
    values |= {name: values[of] * draw.uniform(*ends) for name, (of, *ends) in MULTIPLES.items()}
    capped = random.Random(repr(values))
    values |= {
        name: capped.uniform(*ends) if capped.random() < 0.3 and not is_reckless else 0.0 for name, ends in CAPS.items()
    }
    values["spread_sigmas"] = _number(capped, *SPREAD_SIGMAS) if capped.random() < 0.2 else 0.0
    return busy(**values | fixed)


def moved_set(draw: random.Random) -> GridConfig:
    """Return such a set in which every number of the definition has another value than the definition gives."""
    while True:
        config = random_set(draw)
        if departures(config).keys() == DEFINED.keys():
            return config


def _number(draw: random.Random, low: float, high: float, scale: str = "linear") -> float:
    if isinstance(low, int) and isinstance(high, int):
        return draw.randint(low, high)
    return low * (high / low) ** draw.random() if scale == "log" else draw.uniform(low, high)


@dataclass(frozen=True)
class Stretch:
    """Bars of a symbol around a crash."""

    symbol: str
    begin: pd.Timestamp  #: of the first bar
    bars: int

    def data(self) -> SymbolData:
        """Return its candles, with the funding and the hourly mark price of the symbol."""
        whole = _candles(self.symbol)
        row = int(whole["time"].searchsorted(self.begin))
        mark = SHARED / "mark" / f"{self.symbol}-mark-1h.parquet"
        return SymbolData(
            self.symbol,
            whole.iloc[row : row + self.bars].reset_index(drop=True),
            _funding(self.symbol),
            mark if mark.exists() else None,
        )


def random_stretch(draw: random.Random) -> Stretch:
    """Return bars with a crash anywhere in their second half."""
    bars = draw.randint(1_500, 3_000)
    begin = pd.Timestamp(draw.choice(CRASHES), tz="UTC") - BAR * int(bars * draw.uniform(0.5, 0.95))
    return Stretch(draw.choice(SYMBOLS), begin, bars)


def random_data(draw: random.Random) -> SymbolData:
    """Return a random stretch, of the busy market where there is no real one; every fourth without its funding."""
    seed, bare = draw.randrange(40), draw.random() < 0.25
    stretch = random_stretch(draw)
    if IS_REAL:
        data = stretch.data()
    else:
        market = _busy_market(seed)
        data = SymbolData(SYMBOL, market.candles.iloc[: stretch.bars], market.funding)
    return replace(data, funding=None) if bare else data


def rules() -> Path | None:
    """Return the file of the real markets' dated brackets, None for the packaged ones."""
    return SHARED / "brackets" / "leverage_brackets_history.json" if IS_REAL else None


@cache
def _candles(symbol: str) -> pd.DataFrame:
    return pd.read_parquet(SHARED / "candles" / f"{symbol}-15m.parquet")


@cache
def _funding(symbol: str) -> pd.DataFrame:
    return pd.read_parquet(SHARED / "funding" / f"{symbol}-funding.parquet")


@cache
def _busy_market(seed: int):
    return busy_market(seed, days=32)
