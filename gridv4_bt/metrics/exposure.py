"""Notional held relative to the equity, the margin ratio and the distance to liquidation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridv4_bt.metrics.whole_run import WholeRun
from gridv4_bt.record.run_record import SymbolRecord


def exposure(run: WholeRun) -> dict[str, Any]:
    """Return mean and extremes of the notional over the equity, of all symbols together, at every bar.

    ``net`` is LONG minus SHORT, ``gross`` their sum; ``held`` is the share of bars with anything held, ``hedged``
    with something on both sides; ``gross_when_held`` is the mean over the first. Bars without equity are left out.
    """
    times, equity = run.curve
    if not len(times) or not any(len(record.close) for record in run.records):
        return {}
    long, short = run.notionals
    solvent = equity > 0.0
    if not solvent.any():
        return {}
    long, short = long[solvent] / equity[solvent], short[solvent] / equity[solvent]
    net, gross = long - short, long + short
    held = gross > 0.0
    return {
        "long": {"mean": float(long.mean()), "max": float(long.max())},
        "short": {"mean": float(short.mean()), "max": float(short.max())},
        "net": {"mean": float(net.mean()), "min": float(net.min()), "max": float(net.max())},
        "gross": {"mean": float(gross.mean()), "max": float(gross.max())},
        "gross_when_held": float(gross[held].mean()) if held.any() else 0.0,
        "held": float(held.mean()),
        "hedged": float(np.mean((long > 0.0) & (short > 0.0))),
    }


def margin_safety(records: Sequence[SymbolRecord]) -> dict[str, Any]:
    """Return the margin ratio and the distance to the nearest liquidation price.

    ``ratio`` is maintenance margin over equity: at 1 the account is liquidated. ``distance`` is to the nearer
    of the two liquidation prices, a fraction of the price, over the bars that had one (``priced`` of the bars with
    anything held). ``p99`` and ``p01`` are percentiles, so one bar in a hundred was worse. Both only over bars
    with a position.
    """
    ratios, distances, bars = [], [], 0
    for record in records:
        held = (record.column("long_qty") > 0.0) | (record.column("short_qty") > 0.0)
        ratio = record.column("margin_ratio")[held]
        if np.isnan(ratio).any():
            continue  # not recorded
        distance = np.minimum(record.column("liquidation_down"), record.column("liquidation_up"))[held]
        bars += len(ratio)
        ratios.append(ratio)
        distances.append(distance[np.isfinite(distance)])
    if not bars:
        return {}
    ratio, distance = np.concatenate(ratios), np.concatenate(distances)
    found: dict[str, Any] = {
        "ratio": {"max": float(ratio.max()), "p99": float(np.percentile(ratio, 99)), "mean": float(ratio.mean())},
        "priced": len(distance) / bars,
        "distance": None,
    }
    if len(distance):
        found["distance"] = {
            "min": float(distance.min()),
            "p01": float(np.percentile(distance, 1)),
            "mean": float(distance.mean()),
        }
    return found
