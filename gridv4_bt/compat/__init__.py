"""Every place where Backtrader 1.9.78.123 itself is adapted; elsewhere it is used as documented.

None of it changes a result of Backtrader's own: lines, orders and analyses of its feeds and brokers are the same with
and without. Importing `brokers` or `feeds` is enough.
"""

import gridv4_bt.compat.default_plot
import gridv4_bt.compat.hedge_books  # noqa: F401
from gridv4_bt.compat.fast_loops import (
    EPOCH_DAYS,
    FastAdvance,
    FastCerebro,
    FastIndicator,
    FastStrategy,
    LineReader,
    RunningAnalyzers,
    epoch_ms,
    is_preloaded,
    takes_params,
    times_ms,
)
from gridv4_bt.compat.time_frames import NamedByOpening
from gridv4_bt.compat.todays_python import Count, UtcDatetime, product

__all__ = [
    "EPOCH_DAYS",
    "Count",
    "FastAdvance",
    "FastCerebro",
    "FastIndicator",
    "FastStrategy",
    "LineReader",
    "NamedByOpening",
    "RunningAnalyzers",
    "UtcDatetime",
    "epoch_ms",
    "is_preloaded",
    "product",
    "takes_params",
    "times_ms",
]
