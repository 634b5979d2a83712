"""Reading a state directory: what a session wrote, and what is refused."""

import json
import shutil

import pytest

from gridv4_bt.audit.session import read_session
from gridv4_bt.errors import DataError


@pytest.fixture
def folder(calm, tmp_path):
    """A copy of a session's state directory that may be damaged."""
    return shutil.copytree(calm.session.folder, tmp_path / "state")


def test_reads_what_was_traded(calm, folder):
    session = read_session(folder)
    assert (session.place, session.wallet, session.symbols) == ("paper", 10_000.0, ("SAMPLEUSDT",))
    assert session.fills == calm.session.fills and session.payments == calm.session.payments
    [data] = session.data
    assert data.candles.time[session.config.warm_up] == session.rows["SAMPLEUSDT"].index[0]
    assert data.candles.time[-1] == session.rows["SAMPLEUSDT"].index[-1]


def test_a_trade_told_twice_after_a_crash_counts_once_and_a_line_cut_by_one_is_none(folder):
    path = folder / "orders.jsonl"
    lines = path.read_text().splitlines()
    fill = next(line for line in lines if json.loads(line)["kind"] == "fill")
    before = read_session(folder)
    path.write_text("\n".join([*lines, fill, fill[:40]]))
    after = read_session(folder)
    assert sum(one.qty for one in after.fills) == sum(one.qty for one in before.fills)


def test_funding_is_what_the_exchange_has_paid_where_the_books_had_computed_otherwise(folder):
    path = folder / "orders.jsonl"
    lines = path.read_text().splitlines()
    first = next(json.loads(line) for line in lines if json.loads(line)["kind"] == "funding")
    told = first | {"kind": "alert", "what": "funding_differs", "computed": first["paid"], "paid": 1.25}
    path.write_text("\n".join([*lines, json.dumps(told), json.dumps(told)]) + "\n")
    payments = {(one.symbol, one.time): one for one in read_session(folder).payments}
    assert payments[first["symbol"], first["time"]].paid == 1.25
    assert payments[first["symbol"], first["time"]].rate == first["rate"]


def test_only_what_belongs_to_the_last_decision_is_held_against_the_backtest(folder):
    path = folder / "equity.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-60]) + lines[-60][:25])  # as if it were being written
    session = read_session(folder)
    last = session.rows["SAMPLEUSDT"].index[-1]
    assert len(session.rows["SAMPLEUSDT"]) == len(lines) - 61
    assert session.data[0].candles.time[-1] == last
    assert all(fill.bar <= last for fill in session.fills)


def test_a_bar_that_was_never_received_stays_missing(folder):
    path = folder / "candles-SAMPLEUSDT.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:50] + lines[51:]))
    assert len(read_session(folder).data[0].candles) == len(lines) - 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("orders.jsonl", None, "holds no live session .orders.jsonl is missing"),
        ("orders.jsonl", "{}\n{}\n", "orders.jsonl: damaged: line 1"),
        ("orders.jsonl", "", "does not begin with the start of a session"),
        ("equity.csv", "time,equity\n", "equity.csv: damaged: column wallet is missing"),
        ("equity.csv", "", "equity.csv: damaged"),
        ("candles-SAMPLEUSDT.csv", None, "holds no live session .candles-SYMBOL.csv is missing"),
        ("candles-SAMPLEUSDT.csv", "time,open\n2024-01-01T00:00:00Z,1\n", "column high, low, close, volume is missing"),
        ("config.toml", "levels = ten", "not valid TOML"),
    ],
)
def test_folders_that_are_not_whole_are_refused(folder, name, content, message):
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_session(folder)


def test_a_session_that_has_not_decided_yet_is_refused(folder):
    path = folder / "equity.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match="no bar was traded yet"):
        read_session(folder)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read_session(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="not a folder"):
        read_session(tmp_path / "file")


def test_a_session_without_a_grid_has_no_backtest(folder):
    lines = (folder / "orders.jsonl").read_text()
    assert '"kind": "session"' in lines
    (folder / "orders.jsonl").write_text(lines.replace('"grid": true', '"grid": false'))
    with pytest.raises(DataError, match="strategies of your own"):
        read_session(folder)
