"""The desk's page in a browser, over a session that trades meanwhile."""

import shutil
import threading

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no Chromium", allow_module_level=True)

from live_market import Market

from gridv4_bt.desk.access import COMMANDS, READS


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


def test_a_running_bot_obeys_pause_and_resume(page, desk, tmp_path):
    """The bot waits at a bar until the page has given the command, and the page then shows that it has obeyed."""
    scene = Market(tmp_path / "busy", bars=24)
    steps = {6: threading.Event(), 10: threading.Event()}
    reached = {bar: threading.Event() for bar in (*steps, 14)}
    ends = threading.Event()
    done = []

    def between(session):
        seen = session._on_bar

        def on_bar(symbol):
            seen(symbol)
            if session.bars in reached:
                reached[session.bars].set()
                steps.get(session.bars, ends).wait(30)

        session._on_bar = on_bar

    bot = threading.Thread(target=lambda: done.append(scene.live(between=between)), daemon=True)
    bot.start()
    assert reached[6].wait(60)
    browser = desk(tmp_path)
    log_in(page, browser, browser.rights.tokens[COMMANDS])
    page.click("tr.row")

    def give(action, bar, following):
        page.click(f"button:text-is('{action}')")
        page.wait_for_selector("#go")
        page.click("#go")
        page.wait_for_selector("text=waiting for the bot")
        steps[bar].set()
        assert reached[following].wait(60)

    give("Pause", 6, 10)
    page.wait_for_selector("summary:has-text('pause account, done')")
    page.wait_for_selector("tr.LONG >> text=paused")
    give("Resume", 10, 14)
    page.wait_for_selector("summary:has-text('resume account, done')")
    ends.set()
    bot.join(60)
    assert done and page.problems == []
