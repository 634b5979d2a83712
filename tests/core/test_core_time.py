from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from gridv4_bt.core.time import BAR_MS, DAY_MS, day_or_time, end_ms, iso, iso_seconds, moment, time_ms

# 2024-01-01 is 19,723 days after 1970-01-01.
NEW_YEAR = 19_723 * 86_400_000


def test_lengths():
    assert (BAR_MS, DAY_MS) == (900_000, 86_400_000)


def test_a_day_begins_at_midnight_utc():
    assert time_ms(date(2024, 1, 1)) == NEW_YEAR


def test_a_time_is_utc_unless_it_names_a_zone():
    assert time_ms(datetime(2024, 1, 1, 1)) == NEW_YEAR + 3_600_000
    assert time_ms(datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == NEW_YEAR - 3_600_000


def test_milliseconds_are_kept():
    assert time_ms(datetime(2024, 1, 1, 0, 0, 0, 7_000, tzinfo=UTC)) == NEW_YEAR + 7


def test_an_end_includes_its_day_or_the_bar_that_opens_at_its_time():
    assert end_ms(date(2024, 1, 1)) == NEW_YEAR + 86_400_000
    assert end_ms(datetime(2024, 1, 1)) == NEW_YEAR + 1


def test_text_shows_milliseconds_only_where_there_are_any():
    assert iso(NEW_YEAR) == "2024-01-01T00:00:00Z"
    assert iso(NEW_YEAR + 7) == "2024-01-01T00:00:00.007Z"
    assert iso_seconds(NEW_YEAR + 1_999) == "2024-01-01T00:00:01Z"
    assert moment(NEW_YEAR + 12 * 3_600_000 + 15 * 60_000) == "2024-01-01 12:15"


def test_a_text_is_a_day_or_a_utc_time():
    assert day_or_time("2024-01-31") == date(2024, 1, 31)
    assert day_or_time("2024-01-31T12:15") == datetime(2024, 1, 31, 12, 15)
    assert day_or_time("2024-01-31T12:15+02:00") == datetime(2024, 1, 31, 10, 15)
    for text in ("yesterday", "2024-1-31", "2024-02-30"):
        with pytest.raises(ValueError, match="."):
            day_or_time(text)
