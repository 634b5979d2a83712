"""Replies as Telegram's HTML: short enough, and nothing in them is markup but the bold title."""

import html
import re

import pytest

from gridv4_bt.desk.telegram.replies import LONGEST, Reply, caption, pages


def plain(page):
    return html.unescape(re.sub("</?b>", "", page))


def test_a_short_reply_is_one_page_with_a_bold_title():
    assert list(pages(Reply("busy: profit", ["fees: 1", "total: 2"]))) == ["<b>busy: profit</b>\nfees: 1\ntotal: 2"]


@pytest.mark.parametrize("line", ["x" * 40, "&" * 700, "<b>" * 300, "y" * 20_000])
def test_a_long_reply_is_cut_in_pages_and_nothing_is_lost(line):
    lines = [f"{number} {line}" for number in range(60)]
    found = list(pages(Reply("title", lines)))
    assert all(len(page) <= LONGEST for page in found)
    said = "".join(plain(page) for page in found).replace("\n", "")
    assert said == "title" + "".join(lines)


def test_markup_of_an_exchange_is_text():
    [page] = pages(Reply("<i>t</i>", ["<a href='x'>&amp;</a>"]))
    assert page == "<b>&lt;i&gt;t&lt;/i&gt;</b>\n&lt;a href='x'&gt;&amp;amp;&lt;/a&gt;"


def test_below_a_picture_is_as_much_as_fits():
    found = caption(Reply("title", ["z" * 100] * 50, picture=b"x"))
    assert 900 < len(found) <= 1_024 and found.endswith("z")
