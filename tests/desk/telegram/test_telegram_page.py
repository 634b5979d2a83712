"""docs/telegram.md says what the code does."""

from pathlib import Path

import pytest

from gridv4_bt.desk.telegram.chat_commands import CHAT_COMMANDS, usage
from gridv4_bt.desk.telegram.conversation import CONFIRM_S, OLD_S
from gridv4_bt.desk.telegram.notices import GATHER_S
from gridv4_bt.desk.telegram.telegram_settings import VARIABLES
from gridv4_bt.live.command_files import Action


@pytest.fixture
def page():
    return (Path(__file__).resolve().parents[3] / "docs" / "telegram.md").read_text()


def rows(page, heading):
    """Return the rows of the table under a heading."""
    part = page.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return [line for line in part.splitlines()[2:] if line.startswith("| ")]


def test_the_table_of_commands_is_that_of_the_code(page):
    assert rows(page, "command") == [f"| `{usage(one)}` | {one.meaning} |" for one in CHAT_COMMANDS]


def test_the_table_of_variables_is_that_of_the_code(page):
    assert rows(page, "variable") == [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]


def test_every_command_of_the_desk_can_be_given(page):
    needed = {Action.PAUSE, Action.RESUME, Action.TAKE_OUT, Action.FLATTEN, Action.CANCEL, Action.RESYNC}
    assert needed <= {one.action for one in CHAT_COMMANDS}


def test_the_times_are_those_of_the_code(page):
    assert (CONFIRM_S, OLD_S, GATHER_S) == (60.0, 180.0, 900.0)
    assert "for 60 seconds" in page and "more than three minutes" in page and "over a quarter of an hour" in page
