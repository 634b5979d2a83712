"""Reading the ends of growing files."""

import pytest

from gridv4_bt.live.session_status import lines_back


@pytest.mark.parametrize("block", [1, 3, 7, 64])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []), ("half", []), ("one\n", ["one"]), ("one\ntwo\n", ["two", "one"]),
        ("one\n\ntwo\nhalf", ["two", "", "one"]), ("a long line\nb\n", ["b", "a long line"]),
    ],
)  # fmt: skip
def test_whole_lines_are_read_from_the_last_one_back(tmp_path, content, expected, block):
    path = tmp_path / "log"
    path.write_text(content)
    assert [line.decode() for line in lines_back(path, block=block)] == expected


def test_a_line_that_begins_before_the_part_that_is_read_is_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_text("first\nsecond\nthird\n")
    assert [*lines_back(path, most=10)] == [b"third"]
    assert [*lines_back(tmp_path / "nothing")] == []
