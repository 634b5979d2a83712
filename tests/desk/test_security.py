"""Attacks on the desk, and its answers; each route refuses a visitor without a token."""

import http.client
import json
import os
import shutil
import time
import zipfile
from io import BytesIO

import pytest

pytest.importorskip("fastapi")

from gridv4_bt.desk.access import COMMANDS, READS, Access
from gridv4_bt.desk.app import make_app
from gridv4_bt.desk.health import health
from gridv4_bt.desk.incident import masked
from gridv4_bt.desk.state_dirs import StateDirs
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.folder_lock import FolderLock


@pytest.fixture
def visited(desk, traded):
    """A browser that has logged in with the token that may command."""
    browser = desk(traded.folder)
    assert browser.log_in(browser.rights.tokens[COMMANDS])[0] == 200
    return browser


def all_routes():
    """Return method and path of every route of the interface, with names in place of what is in braces."""
    app = make_app(StateDirs([]), None, frozenset())
    return [
        (method.upper(), path.replace("{name}", "busy").replace("{command}", "x"))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


ROUTES = all_routes()
READING = [path for method, path in ROUTES if method == "GET"]
OPEN = {"/api/v1/login", "/api/v1/health"}  # to get in; in numbers alone


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[1] not in OPEN])
def test_a_route_refuses_a_visitor_without_a_token(desk, traded, method, path):
    browser = desk(traded.folder)
    assert browser.ask(method, path, {} if method == "POST" else None)[0] == 401


@pytest.mark.parametrize("path", [path for path in READING if not path.endswith("/stream")])
def test_a_route_that_reads_answers_the_token_that_reads_as_it_is_described(desk, traded, path):
    """What is answered is checked by its described fields before it is sent: one more or one less is a failure."""
    browser = desk(traded.folder)
    browser.headers = {"Authorization": f"Bearer {browser.rights.tokens[READS]}"}
    status, headers, text = browser.ask("GET", path)
    assert status == 200
    if not path.endswith("/bundle"):
        json.loads(text, parse_constant=pytest.fail)  # strict JSON: no NaN, no Infinity
    described = browser.get("/openapi.json")[1]["paths"][path.replace("/busy", "/{name}")]["get"]
    content = described["responses"]["200"]["content"]
    assert content[headers["content-type"].partition(";")[0]]["schema"] != {}


def test_the_routes_are_those_that_others_rely_on():
    of_bots = {path.removeprefix("/api/v1/bots/busy/") for path in READING if path.startswith("/api/v1/bots/busy/")}
    assert of_bots >= {
        "legs", "orders", "fills", "cycles", "pnl", "equity", "exposure", "funding", "events", "config", "logs", "risk",
        "chart", "candles", "why", "alerts", "comparison", "bundle", "commands", "preview",
    }  # fmt: skip
    assert set(READING) >= {
        f"/api/v1/{name}" for name in ("ping", "health", "version", "bots", "stream", "openapi.json")
    }


def first_event(browser, **headers):
    """Return status and first event of the stream."""
    line = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=10)
    line.request("GET", "/api/v1/stream", headers=headers)
    answer = line.getresponse()
    try:
        return answer.status, [answer.readline(), answer.readline()]
    finally:
        line.close()


def test_the_stream_is_for_a_token_and_for_a_session(visited):
    expected = 200, [b"event: changed\n", b'data: ["busy"]\n']
    assert first_event(visited, Cookie=visited.headers["Cookie"]) == expected
    assert first_event(visited, Authorization=f"Bearer {visited.rights.tokens[READS]}") == expected
    assert first_event(visited)[0] == 401
    assert first_event(visited, Cookie="gridv4_desk=guess")[0] == 401


def test_the_health_has_no_names_for_a_visitor_without_a_token(desk, traded):
    browser = desk(traded.folder)
    assert browser.get("/health") == (200, {"healthy": True, "ok": 1, "stale": 0, "bots": None})
    token = f"Bearer {browser.rights.tokens[READS]}"
    assert browser.get("/health", Authorization=token)[1]["bots"] == {"busy": {"state": "stopped", "reason": ""}}
    assert browser.get("/health", Authorization="Bearer guess")[0] == 401


@pytest.fixture
def held(traded, tmp_path):
    """A state directory whose lock this process holds, as of a bot that has decided a moment ago."""
    shutil.copytree(traded.folder, tmp_path / "held")
    lock = FolderLock(tmp_path / "held")
    beat = json.loads((tmp_path / "held" / "heartbeat.json").read_text())
    (tmp_path / "held" / "heartbeat.json").write_text(json.dumps(beat | {"at": time.time()}))
    os.utime(tmp_path / "held" / "config.toml", (0, 0))  # it has begun long ago
    yield lock, tmp_path / "held"
    lock.release()


def test_a_frozen_bot_makes_the_health_answer_503_with_the_reason(desk, held):
    """A bot renews its lock file every 20 seconds; this one has not for 100, and its decision is no older than that."""
    lock, folder = held
    browser = desk(folder)
    token = f"Bearer {browser.rights.tokens[READS]}"
    assert browser.get("/health", Authorization=token)[0] == 200
    since = time.time() - 100.0
    (folder / "heartbeat.json").write_text(json.dumps({"at": since, "bars": 1}))
    os.utime(folder / "lock", (since, since))
    later = desk(folder)  # an answer is kept for some seconds
    status, found = later.get("/health", Authorization=f"Bearer {later.rights.tokens[READS]}")
    assert (status, found["stale"]) == (503, 1)
    assert found["bots"]["held"]["state"] == "stale" and "no sign of life for 100 s" in found["bots"]["held"]["reason"]
    missing = [level for level in later.get("/bots/held/orders", Authorization=token)[1]["ladder"] if not level["open"]]
    assert missing and all("frozen, no sign of life for 100 s" in level["why"] for level in missing)
    assert later.get("/health") == (503, {"healthy": False, "ok": 0, "stale": 1, "bots": None})
    lock.renew()
    assert desk(folder).get("/health")[0] == 200


def test_a_bot_that_has_begun_a_moment_ago_is_not_stale_before_its_first_bar(held):
    lock, folder = held
    (folder / "heartbeat.json").write_text(json.dumps({"at": time.time() - 9_000.0, "bars": 1}))
    lock.renew()
    bots = StateDirs([folder])
    [stale] = health(bots)["bots"].values()
    assert stale == {"state": "stale", "reason": f"process {os.getpid()} has decided nothing for 150 minutes"}
    os.utime(folder / "config.toml")  # written at each start
    assert health(bots)["bots"]["held"]["state"] == "starting"


def test_the_tokens_are_made_once_and_only_the_owner_may_read_them(tmp_path):
    first, second = Access(tmp_path), Access(tmp_path)
    assert first.tokens == second.tokens and len(set(first.tokens.values())) == 2
    assert all(len(token) >= 43 for token in first.tokens.values())
    for name in ("token", "read-token"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name == "nt", reason="rights are lists there")
def test_a_token_that_others_may_read_is_refused(tmp_path):
    Access(tmp_path)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        Access(tmp_path)


def test_a_wrong_token_is_refused_and_the_sixth_is_not_looked_at(desk, traded):
    browser = desk(traded.folder)
    assert [browser.log_in("wrong")[0] for _ in range(6)] == [401] * 5 + [429]
    assert browser.log_in(browser.rights.tokens[COMMANDS])[0] == 429  # nor is a right one, for a minute
    assert browser.get("/ping", Authorization="Bearer guess")[0] == 429


def test_after_a_minute_tokens_are_looked_at_again(tmp_path):
    now = [0.0]
    rights = Access(tmp_path, lambda: now[0])
    for _ in range(5):
        rights.check("wrong")
    assert rights.wait() == 60.0
    now[0] = 60.0
    assert rights.wait() == 0.0


def test_a_session_ends_after_half_a_day_and_at_logout(visited, tmp_path):
    assert visited.get("/ping")[0] == 200
    assert visited.post("/logout")[0] == 200
    assert visited.get("/ping")[0] == 401
    now = [0.0]
    rights = Access(tmp_path / "other", lambda: now[0])
    session = rights.log_in(rights.tokens[READS]).session
    now[0] = 12 * 3600.0 - 1.0
    assert rights.visitor(session).role == READS
    now[0] += 1.0
    assert rights.visitor(session) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(desk, traded):
    browser = desk(traded.folder)
    _, cookie = browser.log_in(browser.rights.tokens[READS])
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
    assert browser.rights.tokens[READS] not in cookie
    behind_tls = desk(traded.folder, is_tls=True)
    assert "Secure" in behind_tls.log_in(behind_tls.rights.tokens[READS])[1]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8720", "127.0.0.1.evil.example", "", "[::bad"])
def test_another_name_that_leads_to_the_desk_is_refused(visited, host):
    assert visited.get("/ping", Host=host)[0] == 421


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
def test_a_request_from_a_foreign_page_is_refused(visited, origin):
    assert visited.get("/ping", Origin=origin)[0] == 403
    assert visited.ask("POST", "/api/v1/login", {"token": "x"}, Origin=origin)[0] == 403


def test_a_request_that_the_browser_calls_foreign_is_refused(visited):
    assert visited.get("/ping", Origin=None, Sec_Fetch_Site="cross-site")[0] == 403


def test_every_answer_has_a_strict_policy(visited):
    for path in ("/", "/assets/desk.js", "/api/v1/ping", "/nothing"):
        _, headers, _ = visited.ask("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../access.py", "/assets/..%2f..%2faccess.py", "/assets/%2e%2e/setup.cfg", "/assets/vendor/LICENSE",
        "/api/v1/bots/..%2fdesk/legs", "/api/v1/bots/nobody/legs", "/docs", "/openapi.json",
        "/api/v1/bots/busy/candles?symbol=../../token", "/api/v1/bots/busy/why?symbol=%2e%2e",
    ],
)  # fmt: skip
def test_no_address_leads_out_of_what_is_served(visited, path):
    assert visited.ask("GET", path)[0] == 404


def test_a_long_request_is_refused(visited):
    assert visited.ask("POST", "/api/v1/login", {"token": "x" * 20_000})[0] == 413
    assert visited.ask("POST", "/api/v1/login", {"token": "x" * 300})[0] == 422


def test_the_page_puts_no_text_in_as_markup():
    """What a bot or an exchange has written could be markup; the page makes texts of it."""
    from importlib.resources import files

    scripts = [one for one in (files("gridv4_bt.desk") / "assets").iterdir() if one.name.endswith(".js")]
    assert len(scripts) >= 3
    for path in scripts:
        script = path.read_text()
        assert not any(
            word in script for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )


SECRETS = {
    "GRIDV4_NOTIFY=tgram://123456:AAtoken/chat": "AAtoken",
    'failed: {"apiKey": "abcKEYdef"}': "abcKEYdef",
    "signature=deadbeef1234": "deadbeef1234",
    "mailto://user:hunter2@host": "hunter2",
    "https://user:hunter3@host/x": "hunter3",
    "password = hunter4": "hunter4",
    "header 0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijABCDEFGHIJxyz1 sent": "0123456789abcdefghij",
}


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_what_looks_like_a_secret_is_masked(text, secret):
    assert secret not in masked(text)


def test_the_incident_bundle_holds_the_planted_fault_and_no_planted_secret(desk, traded, tmp_path):
    folder = tmp_path / "faulty"
    shutil.copytree(traded.folder, folder)
    with (folder / "events.jsonl").open("a") as file:
        for number, text in enumerate(SECRETS):
            file.write(json.dumps({"at": "2026-01-01", "kind": "alert", "what": f"fault{number}", "text": text}) + "\n")
    (folder / ".env").write_text("BINANCE_API_SECRET=in-a-file\n")
    browser = desk(folder)
    browser.log_in(browser.rights.tokens[READS])
    status, _, data = browser.ask("GET", "/api/v1/bots/faulty/bundle")
    assert status == 200
    with zipfile.ZipFile(BytesIO(data)) as archive:
        names = set(archive.namelist())
        content = "\n".join(archive.read(name).decode() for name in names)
    assert {"events.jsonl", "config.toml", "state.json", "orders.jsonl"} <= names and ".env" not in names
    assert all(f"fault{number}" in content for number in range(len(SECRETS)))
    assert not any(secret in content for secret in [*SECRETS.values(), "in-a-file"])
    logs = json.dumps(browser.get("/bots/faulty/logs")[1])
    assert "fault0" in logs and not any(secret in logs for secret in SECRETS.values())


def test_a_bot_that_has_not_come_to_its_parameters_yet_is_starting(tmp_path):
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "events.jsonl").touch()
    lock = FolderLock(tmp_path / "fresh")
    assert health(StateDirs([tmp_path / "fresh"]))["bots"]["fresh"]["state"] == "starting"
    lock.release()
