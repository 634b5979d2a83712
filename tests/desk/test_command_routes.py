"""Commands given at the desk: previewed, confirmed, given once, and obeyed by a bot."""

import shutil

import pytest

pytest.importorskip("fastapi")

from gridv4_bt.desk.access import COMMANDS, READS
from gridv4_bt.live.command_files import FOLDER, read_command


@pytest.fixture
def folder(traded, tmp_path):
    shutil.copytree(traded.folder, tmp_path / "busy")
    return tmp_path / "busy"


@pytest.fixture
def visited(desk, folder):
    browser = desk(folder)
    browser.log_in(browser.rights.tokens[COMMANDS])
    return browser


PLACE = "/bots/busy/commands"


def test_a_command_is_a_file_that_the_bot_understands(visited, folder, traded):
    symbol = traded.data[0].symbol
    status, given = visited.post(PLACE, {"action": "flatten", "scope": f"{symbol} LONG", "confirm": f"{symbol} LONG"})
    assert (status, given["state"]) == (202, "waits")
    [path] = (folder / FOLDER).glob("*.json")
    command = read_command(path.read_text(), [symbol])
    assert (command.id, command.scope, path.stem) == (given["id"], f"{symbol} LONG", given["id"])
    assert [one["state"] for one in visited.get(PLACE)[1]] == ["waits"]


def test_a_flatten_must_be_confirmed_by_its_scope(visited, folder):
    for confirm in ("", "yes", "Account"):
        assert visited.post(PLACE, {"action": "flatten", "confirm": confirm})[0] == 422
    assert not (folder / FOLDER).exists()


def test_the_same_key_gives_one_command(visited, folder):
    answers = [visited.post(PLACE, {"action": "pause"}, Idempotency_Key="once-0001") for _ in range(3)]
    assert {one["id"] for _, one in answers} == {"once-0001"} and len([*(folder / FOLDER).iterdir()]) == 1
    assert visited.post(PLACE, {"action": "pause"}, Idempotency_Key="../../etc")[0] == 422


@pytest.mark.parametrize("scope", ["../x", "DOGEUSDT", "account LONG", ""])
def test_an_unknown_scope_is_refused(visited, folder, scope):
    assert visited.post(PLACE, {"action": "pause", "scope": scope})[0] == 422
    assert not (folder / FOLDER).exists()


def test_the_token_that_reads_may_not_command(desk, folder):
    browser = desk(folder)
    browser.log_in(browser.rights.tokens[READS])
    assert browser.get(PLACE)[0] == 200
    assert browser.post(PLACE, {"action": "pause"})[0] == 403
    browser.headers = {"Authorization": f"Bearer {browser.rights.tokens[READS]}"}
    assert browser.post(PLACE, {"action": "pause"})[0] == 403
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize(
    "change", [{"X-CSRF-Token": None}, {"X-CSRF-Token": "guess"}, {"Origin": "https://evil.example"}]
)
def test_a_forged_command_is_refused(visited, folder, change):
    """The browser sends the cookie with it, but another page has neither the session's word nor our origin."""
    visited.headers |= change
    assert visited.post(PLACE, {"action": "pause"})[0] == 403
    assert not (folder / FOLDER).exists()


def test_a_script_with_the_token_needs_no_session(desk, folder):
    browser = desk(folder)
    browser.headers = {"Authorization": f"Bearer {browser.rights.tokens[COMMANDS]}"}
    assert browser.post(PLACE, {"action": "pause"})[0] == 202


def test_a_preview_says_what_a_flatten_would_do_and_does_nothing(visited, folder):
    legs = [row for row in visited.get("/bots/busy/legs")[1] if row["side"] != "NET" and row["qty"]]
    assert legs
    leg = legs[0]
    scope = f"{leg['symbol']} {leg['side']}"
    status, found = visited.get(f"/bots/busy/preview?action=flatten&scope={scope.replace(' ', '%20')}")
    taker = visited.get("/bots/busy/config")[1]["taker_fee"]
    assert status == 200 and found["legs"] == [scope] and found["confirm"] == scope
    assert [(one["side"], one["qty"]) for one in found["closes"]] == [(leg["side"], leg["qty"])]
    assert found["fee"] == pytest.approx(leg["exposure"] * taker)
    assert found["realizes"] == pytest.approx(leg["unrealized"] - leg["fees"] - leg["funding"] - found["fee"])
    assert not (folder / FOLDER).exists()
