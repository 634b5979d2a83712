"""`gridv4 status` over state directories as sessions leave them."""

import json
import sys
import time

import pytest

from gridv4_bt.__main__ import main
from gridv4_bt.live.folder_lock import FolderLock

EQUITY = "time,equity,regime,halted,long_qty,short_qty,resting_orders,margin_ratio\n"


@pytest.fixture
def session(tmp_path):
    """session(age) -> a state directory whose last decision is so many seconds old."""

    def make(age, *rows):
        beat = {"at": int(time.time()) - age, "time": 0, "bars": 7, "equity": 99.5, "adding": True}
        (tmp_path / "heartbeat.json").write_text(json.dumps(beat))
        (tmp_path / "state.json").write_text(json.dumps({"place": "binance", "bot": "g4abcd"}))
        (tmp_path / "candles-ETHUSDT.csv").write_text("")
        (tmp_path / "equity.csv").write_text(EQUITY + "".join(f"{row}\n" for row in rows))
        alerts = [{"at": "2024-01-01", "kind": "alert", "what": "drawdown"}, {"at": "2024-01-02", "kind": "fill"}]
        (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in alerts))
        return tmp_path

    return make


@pytest.fixture
def status(monkeypatch, capsys):
    def call(folder, *arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", "status", "--state-dir", str(folder), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def test_a_session_that_works_is_told_with_what_it_holds(session, status):
    folder = session(60, "2024-01-01T00:00:00Z,99.5,1,0,0.25,0,8,0.01")
    lock = FolderLock(folder)
    try:
        code, out, _ = status(folder, "--json")
    finally:
        lock.release()
    found = json.loads(out)
    assert code == 0 and found["working"] and found["pid"]
    assert 60 <= found["last_decision_age_s"] < 90
    assert (found["place"], found["bot"], found["equity"]) == ("binance", "g4abcd", 99.5)
    assert found["last_alert"] == "2024-01-01 drawdown"
    assert found["symbols"] == {
        "ETHUSDT": {
            "bar": "2024-01-01T00:00:00Z", "regime": "UPTREND", "halted": False, "long_qty": 0.25, "short_qty": 0.0,
            "resting_orders": 8, "margin_ratio": 0.01,
        }
    }  # fmt: skip


def test_a_session_without_a_process_does_not_work(session, status):
    code, out, _ = status(session(60))
    assert code == 1 and out.startswith("working: no\n")


def test_a_session_whose_last_decision_is_old_does_not_work(session, status):
    folder = session(1300)
    lock = FolderLock(folder)
    try:
        assert status(folder)[0] == 1  # older than 20 minutes
        assert status(folder, "--max-age", "30")[0] == 0
    finally:
        lock.release()


def test_a_folder_without_a_session_is_bad_input(tmp_path, status):
    code, out, err = status(tmp_path)
    assert (code, out) == (2, "") and "--state-dir" in err
