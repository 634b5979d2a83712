"""Every command that has a result prints it as JSON on request, and nothing else; the shape is the one shown here."""

import json
import sys
from collections import Counter

import pytest
import typer
from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import COMMANDS, main, make_app
from gridv4_bt.cli.chaos import _as_dict
from gridv4_bt.cli.common import print_json
from gridv4_bt.validation.chaos import Result
from gridv4_bt.validation.laws import Law, Violation

#: Commands whose result is no figures: files that they write, a server, a schema that is JSON itself.
STRICT = ConfigDict(extra="forbid", strict=True)
WITHOUT = {"init", "backup", "compile", "desk", "telegram", "exchange", "config schema", "data download"}


@with_config(STRICT)
class Difference(TypedDict):
    time: int
    symbol: str
    field: str
    what: str
    expected: str
    found: str


@with_config(STRICT)
class Cut(TypedDict):
    last: int
    bars: int
    difference: Difference | None


@with_config(STRICT)
class Lookahead(TypedDict):
    biased: bool
    cuts: list[Cut]


@with_config(STRICT)
class WarmUp(TypedDict):
    warm_up: int
    first: int
    bars: int
    difference: Difference | None
    signals: dict[str, float | None]
    regimes: int


@with_config(STRICT)
class WarmUps(TypedDict):
    biased: bool
    enough: int | None
    warm_ups: list[WarmUp]


@with_config(STRICT)
class Seed(TypedDict):
    seed: int
    bars: int
    kills: int
    halts: int
    faults: dict[str, int]
    requests: int
    fills: int
    checks: int
    broken: list[str]
    laws: list[dict[str, str | int]]
    stops: int
    cuts: int
    closes: int
    refused_closes: int
    commands: dict[str, int]
    command_kills: int
    desk_kills: int
    desk_posts: int
    manual: int
    seconds: float


@pytest.fixture
def printed(monkeypatch, capsys):
    """printed(shape, *arguments) -> what a command prints as JSON, of that shape."""

    def call(shape, *arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, 1)
        return TypeAdapter(shape).validate_python(json.loads(capsys.readouterr().out))

    return call


@pytest.fixture(scope="module")
def candles(tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "BTCUSDT-15m.csv"
    sample_market(days=6).candles.to_csv(path, index=False)
    return path


def test_every_command_has_it_but_those_without_figures():
    found = set()
    for name in COMMANDS:
        group = typer.main.get_command(make_app([name])).commands[name]
        for word, command in getattr(group, "commands", {"": group}).items():
            if not any("--json" in option.opts for option in command.params):
                found.add(f"{name} {word}".strip())
    assert found == WITHOUT


def test_lookahead(printed, candles):
    found = printed(Lookahead, "bias", "lookahead", "--data", candles, "--cuts", 1)
    assert (found["biased"], len(found["cuts"])) == (False, 2)  # one cut of the even ones, one at random


def test_warm_up(printed, candles):
    found = printed(WarmUps, "bias", "warmup", "--data", candles, "--warm-ups", "100,200,400")
    assert [one["warm_up"] for one in found["warm_ups"]] == [100, 200, 400]
    assert found["biased"] == (found["enough"] is None)


def test_a_seed_of_chaos(capsys):
    result = Result(3, bars=25, faults=Counter(timeout=2, ban=1), broken=["equity"])
    result.laws.append(Violation(Law.STOP, 1_704_067_200_000, "GET /fapi/v1/time", "no stop"))
    print_json([_as_dict(result)])
    [seed] = TypeAdapter(list[Seed]).validate_python(json.loads(capsys.readouterr().out))
    assert (seed["seed"], seed["faults"], seed["broken"]) == (3, {"timeout": 2, "ban": 1}, ["equity"])
