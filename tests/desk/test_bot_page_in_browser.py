"""What the page of a bot shows in a browser: the chart's words, the why of a bar, the log; bots that come and go."""

import json
import os
import shutil
import time

import pytest

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no Chromium", allow_module_level=True)

from live_market import events

from gridv4_bt.desk.access import READS
from gridv4_bt.live.folder_lock import FolderLock


@pytest.fixture
def page():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": 1280, "height": 900})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        yield page
        assert page.problems == []
        started.close()


def open_page(page, desk, name=""):
    page.goto(f"http://127.0.0.1:{desk.port}/")
    page.fill("#token", desk.rights.tokens[READS])
    page.click("text=log in")
    page.wait_for_selector("tr.row")
    if name:
        page.goto(f"http://127.0.0.1:{desk.port}/#bot/{name}")
        page.wait_for_selector(".chart canvas")
        page.wait_for_selector("tr.LONG")


def words_under_the_pointer(page):
    """Move over the candles and return all that the tooltip has said."""
    chart = page.locator(".chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    said = []
    for share in range(10, 470):
        page.mouse.move(box["x"] + box["width"] * share / 500, box["y"] + box["height"] / 2)
        said.append(page.locator(".chart .tip").inner_text())
    for share in range(2, 92):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * share / 100)
        said.append(page.locator(".chart .tip").inner_text())
    return "\n".join(said)


def test_the_chart_names_fills_with_their_reason_and_the_lines_of_the_legs(page, desk, traded):
    open_page(page, desk(traded.folder), "busy")
    said = words_under_the_pointer(page)
    for fill in events(traded, "fill"):
        bought = "bought" if fill["buy"] else "sold"
        assert f"{fill['side']} {bought} {fill['qty']:g} at {fill['price']:,.10g}: " in said
    assert ": grid" in said and "average entry" in said and "break-even" in said


def test_the_why_of_an_earlier_bar_is_the_decision_of_that_bar(page, desk, traded):
    open_page(page, desk(traded.folder), "busy")
    decided = events(traded, "decision")
    shown = playwright.expect(page.locator("#bar"))
    shown.to_have_value(decided[-1]["bar"][:16])
    page.click("button:text-is('earlier')")
    shown.to_have_value(decided[-2]["bar"][:16])
    page.click("text=the figures of the bar")
    figures = page.locator("details:has-text('figures')")
    playwright.expect(figures).to_contain_text(f"{decided[-2]['close']:,.8g}")


def test_the_log_shows_alerts_funding_and_everything(page, desk, traded, tmp_path):
    folder = tmp_path / "told"
    shutil.copytree(traded.folder, folder)
    alert = {"at": "2024-02-19T00:00:00Z", "kind": "alert", "clock": "2024-02-19T00:00:00Z", "what": "stop_lost"}
    with (folder / "orders.jsonl").open("a") as orders, (folder / "events.jsonl").open("a") as all_events:
        for file in (orders, all_events):
            file.write(json.dumps(alert | {"text": "<b>LONG</b> has no stop"}) + "\n")
    open_page(page, desk(folder), "told")
    page.wait_for_selector("td:text-is('<b>LONG</b> has no stop')")  # as text, not as markup
    page.select_option("select[aria-label=show]", "funding")
    page.wait_for_selector("th:text-is('received')")
    page.select_option("select[aria-label=show]", "all events")
    page.wait_for_selector("td:text-is('decision')")


def test_a_bot_appears_unaided_and_killed_turns_stale(page, desk, traded, tmp_path):
    place = tmp_path / "bots"
    shutil.copytree(traded.folder, place / "first")
    page.clock.install()
    open_page(page, desk(place))
    shutil.copytree(traded.folder, tmp_path / "second")
    (tmp_path / "second" / "heartbeat.json").write_text(json.dumps({"at": time.time(), "bars": 1}))
    lock = FolderLock(tmp_path / "second")
    os.rename(tmp_path / "second", place / "second")
    page.wait_for_selector("tr.row:has-text('second') >> text=running")
    lines = (place / "second" / "events.jsonl").read_text().splitlines(keepends=True)
    (place / "second" / "events.jsonl").write_text("".join(line for line in lines if '"stopped"' not in line))
    lock.release()  # as the kernel does it for a process that is killed
    page.clock.run_for(21_000)
    page.wait_for_selector("tr.row:has-text('second') >> text=stale")


def test_what_is_looked_at_stays_when_a_bar_comes(page, desk, traded, tmp_path):
    """What was opened stays open, and the equity of the new bar comes by itself."""
    folder = tmp_path / "live"
    shutil.copytree(traded.folder, folder)
    open_page(page, desk(folder), "live")
    page.click("text=the figures of the bar")
    row = (folder / "equity.csv").read_text().splitlines()[-1].split(",")
    time.sleep(1.2)
    with (folder / "equity.csv").open("a") as file:
        file.write(",".join(["2024-02-19T12:00:00Z", "12345.5", *row[2:]]) + "\n")
    page.wait_for_selector("text=12,345.50", timeout=15_000)
    assert page.locator("details:has-text('figures of the bar')").get_attribute("open") is not None
