"""What `gridv4 live --check` makes of the account's rights."""

from types import SimpleNamespace

import pytest

from gridv4_bt.config import GridConfig
from gridv4_bt.live.preflight import _key


def findings(**account):
    """The findings about the key of an account that answers so, with 100 USDT in it."""
    client = SimpleNamespace(fapiPrivateGetAccountConfig=lambda: account)
    connection = SimpleNamespace(client=client, call=lambda question: question())
    executor = SimpleNamespace(connection=connection, wallet=lambda: 100.0)
    return {one.name: one for one in _key(executor, GridConfig(), "bot")}


@pytest.mark.parametrize("answer", [True, "true"])
def test_an_account_that_may_withdraw_is_a_warning_and_no_failure(answer):
    found = findings(canTrade=True, canWithdraw=answer)["withdrawals"]
    assert (found.passed, found.warns) == (True, True) and "take that right away" in found.text


def test_an_account_that_may_not_withdraw_is_in_order():
    found = findings(canTrade=True, canWithdraw=False)["withdrawals"]
    assert (found.passed, found.warns, found.text) == (True, False, "no")


def test_a_key_that_may_not_trade_has_not_passed():
    found = findings(canTrade=False)["key may trade"]
    assert not found.passed and "permission to trade futures" in found.text
