"""A session that audits itself."""

import json

import pytest
from live_market import InProcess, Market, rows

from gridv4_bt.audit.daily import DailyAudit


def alerts_of(folder, max_drift, **more):
    """Trade across a midnight with a daily audit; return the alerts and the session."""
    scene = Market(folder / "state", bars=24, first=4_600, **more)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        watcher = DailyAudit(session, max_drift)
        session._on_bar = watcher.carried_out
        session.run()
    return scene


def test_silent_where_live_is_as_the_backtest(tmp_path):
    scene = alerts_of(tmp_path, 1e-12)
    assert scene.alerts == []
    assert '"kind": "audit"' in (scene.folder / "orders.jsonl").read_text()


def test_drift_beyond_the_bound_is_told_with_its_causes(tmp_path):
    by_hand = {
        "kind": "by_hand",
        "on": "GET /fapi/v1/openOrders",
        "skip": 4,
        "symbol": "SAMPLEUSDT",
        "side": "BUY",
        "positionSide": "LONG",
        "quantity": 0.02,
    }
    scene = alerts_of(tmp_path, 1e-6, faults=[by_hand])
    [alert] = [alert for alert in scene.alerts if "drift" in alert]
    assert "max_drift 1e-06" in alert and "manual_trade" in alert


def test_what_it_has_found_is_a_file_with_the_equity_of_both_sides_and_what_differs(tmp_path):
    by_hand = {"kind": "by_hand", "on": "GET /fapi/v1/openOrders", "skip": 4, "symbol": "SAMPLEUSDT", "side": "BUY",
               "positionSide": "LONG", "quantity": 0.02}  # fmt: skip
    scene = alerts_of(tmp_path, 1e-6, faults=[by_hand])
    path = scene.folder / "audit.json"
    found = json.loads(path.read_text())
    ours = [float(row["equity"]) for row in rows(scene.folder / "equity.csv")]
    assert found["live"] == ours[: len(found["live"])] and len(found["live"]) > 5
    drifts = [abs(one - other) for one, other in zip(found["live"], found["backtest"], strict=True)]
    assert max(drifts) / 10_000.0 == pytest.approx(found["drift"], abs=1e-8) and found["drift"] > 1e-6
    bought = next(one for one in found["differences"] if one["cause"] == "manual_trade")
    assert (bought["differs"], bought["live_qty"], bought["backtest_qty"]) == ("extra", 0.02, None)
    assert path.stat().st_mode & 0o077 == 0
