"""The desk's page in a browser, over a session that trades meanwhile."""

import shutil
import threading
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no Chromium", allow_module_level=True)

import pandas as pd
from live_market import LIVELY, Market

from gridv4_bt.backtest import SymbolData
from gridv4_bt.desk.access import COMMANDS, READS
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.live.command_files import FOLDER

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def page():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 390, "height": 844})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text) if "Security" in line.text else None)
        yield page
        started.close()


def log_in(page, desk, token):
    page.goto(f"http://127.0.0.1:{desk.port}/")
    page.fill("#token", token)
    page.click("text=log in")


def test_a_wrong_token_is_refused(page, desk, traded):
    log_in(page, desk(traded.folder), "wrong")
    page.wait_for_selector("text=not a token of the desk")
    assert page.query_selector("tr.row") is None


def test_equity_legs_and_pause_are_in_one_screen_of_a_phone(page, desk, traded):
    browser = desk(traded.folder)
    log_in(page, browser, browser.rights.tokens[COMMANDS])
    page.click("tr.row")
    page.wait_for_selector(".chart canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for place in ("text=equity", "tr.LONG", "tr.SHORT", "tr.NET", "button:text-is('Pause')"):
        box = page.locator(place).first.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844, place
    assert page.problems == []


def test_who_only_reads_has_no_buttons(page, desk, traded):
    browser = desk(traded.folder)
    log_in(page, browser, browser.rights.tokens[READS])
    page.click("tr.row")
    page.wait_for_selector("text=This token only reads")
    assert page.query_selector("button:text-is('Pause')") is None


def test_a_flatten_waits_for_its_scope_to_be_typed(page, desk, traded):
    browser = desk(traded.folder)
    log_in(page, browser, browser.rights.tokens[COMMANDS])
    page.click("tr.row")
    page.click("button:text-is('Flatten…')")
    page.wait_for_selector("#confirm")
    for typed, is_closed in (("", True), ("Account", True), ("account", False)):
        page.fill("#confirm", typed)
        assert page.locator("#go").is_disabled() == is_closed


class CrashOfNovember(Market):
    """SOL on 8 November 2022, from the shared data: a SHORT is filled in the third bar."""

    def _data(self):
        candles = pd.read_parquet(SHARED / "candles" / "SOLUSDT-15m.parquet")
        [begin] = candles.index[candles["time"] == pd.Timestamp("2022-11-08T06:00Z")]
        end = begin + self.bars
        return [SymbolData("SOLUSDT", candles[begin - history_bars(self.config) : end].reset_index(drop=True), None)]


class PacedBot:
    """A session that trades in a thread and stops after some of its bars until it is let go on."""

    def __init__(self, scene, stops):
        self._reached = {bar: threading.Event() for bar in stops}
        self._goes_on = {bar: threading.Event() for bar in stops}
        self._done = []
        self._thread = threading.Thread(target=lambda: self._done.append(scene.live(between=self._pace)), daemon=True)
        self._thread.start()

    def _pace(self, session):
        seen = session._on_bar

        def on_bar(symbol):
            seen(symbol)
            if session.bars in self._reached:
                self._reached[session.bars].set()
                assert self._goes_on[session.bars].wait(300)

        session._on_bar = on_bar

    def wait_at(self, bar):
        assert self._reached[bar].wait(200), f"it did not come to bar {bar}"

    def go_on(self, bar):
        self._goes_on[bar].set()

    def end(self):
        self._thread.join(200)
        assert len(self._done) == 1
        return self._done[0]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")
def test_a_session_is_watched_and_steered_without_a_reload(page, desk, tmp_path):
    """A fill appears; a flatten wants its scope typed, and then the leg is flat; resume and pause are obeyed."""
    page.set_default_timeout(90_000)
    bot = PacedBot(CrashOfNovember(tmp_path / "busy", bars=13, settings=(*LIVELY, "regime=none")), (2, 4, 7, 9, 11))
    bot.wait_at(2)
    browser = desk(tmp_path)
    log_in(page, browser, browser.rights.tokens[COMMANDS])
    page.click("tr.row")
    page.wait_for_selector("tr.SHORT")
    page.evaluate("window.before = true")
    assert page.locator("tr.SHORT td").nth(1).inner_text() == "0"

    bot.go_on(2)
    bot.wait_at(4)
    page.wait_for_selector("tr.SHORT >> text=13.33")  # the position
    page.wait_for_selector("td:text-is('sell')")  # and its fill
    page.screenshot(path=tmp_path / "held.png")

    page.click("button:text-is('Flatten…')")
    page.wait_for_selector("#go")
    says = page.locator("#ask li")
    assert "SOLUSDT SHORT: 13.33 of 13.33 is closed at market" in says.nth(2).inner_text()
    page.select_option("#ask [aria-label='how much']", "half")
    page.wait_for_selector("#ask >> text=SOLUSDT SHORT: 6.66 of 13.33 is closed at market")  # in lots of 0.01
    page.select_option("#ask [aria-label='at what price']", "at the best price, as maker")
    page.wait_for_selector("#ask >> text=by exits at")
    page.screenshot(path=tmp_path / "choices.png")
    page.select_option("#ask [aria-label='at what price']", "at market")
    page.select_option("#ask [aria-label='how much']", "all")
    page.wait_for_selector("#ask >> text=SOLUSDT SHORT: 13.33 of 13.33 is closed at market")
    for typed in ("", "yes", "ACCOUNT"):
        page.fill("#confirm", typed)
        assert page.locator("#go").is_disabled()
    page.fill("#confirm", "account")
    page.screenshot(path=tmp_path / "preview.png")
    page.click("#go")
    page.wait_for_selector("text=waiting for the bot")
    bot.go_on(4)
    bot.wait_at(7)
    page.wait_for_selector("summary:has-text('flatten account, done')")
    page.wait_for_function("document.querySelector('tr.SHORT td:nth-child(2)').textContent === '0'")
    page.wait_for_selector("tr.LONG >> text=paused")

    def give(action, bar, following):
        page.click(f"button:text-is('{action}')")
        page.wait_for_selector("#go")
        page.click("#go")
        page.wait_for_selector("text=waiting for the bot")
        bot.go_on(bar)
        bot.wait_at(following)
        page.wait_for_selector(f"summary:has-text('{action.lower()} account, done')")

    give("Resume", 7, 9)
    page.wait_for_function("!document.querySelector('tr.LONG').textContent.includes('paused')")
    give("Pause", 9, 11)
    page.wait_for_selector("tr.LONG >> text=paused")
    page.screenshot(path=tmp_path / "paused.png")
    assert page.evaluate("window.before === true")  # it is the page that was opened at the beginning
    bot.go_on(11)
    session = bot.end()
    assert all(leg.tracker.qty == 0.0 for leg in session.broker.books[0].legs)
    assert page.problems == []


def test_another_page_of_the_browser_commands_nothing(page, desk, traded, tmp_path):
    """It sends the request, as any page can; without the desk's origin it is refused."""
    shutil.copytree(traded.folder, tmp_path / "busy")
    browser = desk(tmp_path)
    log_in(page, browser, browser.rights.tokens[COMMANDS])
    page.wait_for_selector("tr.row")
    page.goto("about:blank")  # the browser keeps the session's cookie
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    place = "/api/v1/bots/busy/commands"
    page.evaluate(
        """(at) => fetch(at, {method: "POST", mode: "no-cors", credentials: "include",
                              headers: {"Content-Type": "text/plain"}, body: '{"action": "pause"}'}).catch(() => 0)""",
        f"http://127.0.0.1:{browser.port}{place}",
    )
    assert sent == ["POST"]
    [cookie] = page.context.cookies(f"http://127.0.0.1:{browser.port}")
    headers = {"Origin": "null", "Cookie": f"{cookie['name']}={cookie['value']}"}
    assert browser.ask("POST", place, {"action": "pause"}, **headers)[0] == 403
    assert not (tmp_path / "busy" / FOLDER).exists()
