"""Backtrader indicators with the same bits bar by bar (`next`) and vectorised (`once`)."""

from gridv4_bt.indicators.adx import WilderADX
from gridv4_bt.indicators.atr import RollingVolatility, WilderATR, ZScore
from gridv4_bt.indicators.gmm import GMMRegime
from gridv4_bt.indicators.kama import KAMA, EfficiencyRatio, RegimeFSM

__all__ = [
    "KAMA",
    "EfficiencyRatio",
    "GMMRegime",
    "RegimeFSM",
    "RollingVolatility",
    "WilderADX",
    "WilderATR",
    "ZScore",
]  # fmt: skip
