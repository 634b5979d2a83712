"""The gate: nothing is sent in a silence; where only orders are limited, entries and exits alone wait."""

from types import SimpleNamespace

from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure
from gridv4_bt.live.gate import Gate


def a_gate():
    clock = SimpleNamespace(time=1_000_000)
    clock.now = lambda: clock.time
    return Gate(clock), clock


def failed(reaction, wait):
    return Failure(reaction, None, "text", wait)


def test_a_silence_holds_for_everything_until_its_end():
    gate, clock = a_gate()
    ends = []
    gate.on_silence = ends.append
    gate.note(failed(Reaction.WAIT, 30.0), can_wait=False)
    assert (gate.wait(), gate.wait(can_wait=True), gate.is_open) == (30.0, 30.0, False)
    clock.time += 30_000
    assert gate.is_open and ends == [1_030_000]


def test_a_shorter_silence_does_not_end_a_longer_one():
    gate, _ = a_gate()
    gate.note(failed(Reaction.WAIT, 3600.0), can_wait=False)
    gate.note(failed(Reaction.WAIT, 5.0), can_wait=False)
    assert gate.wait() == 3600.0


def test_a_limit_on_orders_lets_stops_and_closes_pass():
    gate, _ = a_gate()
    gate.note(failed(Reaction.WAIT_ORDERS, 5.0), can_wait=True)
    assert gate.is_open and gate.wait(can_wait=True) == 60.0  # orders are sent once a minute at most


def test_each_further_refusal_doubles_the_pause_of_orders_and_one_that_is_taken_resets_it():
    gate, clock = a_gate()
    pauses = []
    for _ in range(6):
        gate.note(failed(Reaction.WAIT, 1.0), can_wait=True)
        pauses.append(gate.wait(can_wait=True))
        clock.time = gate.no_orders_until
    assert pauses == [60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    gate.passed()
    gate.note(failed(Reaction.WAIT, 1.0), can_wait=True)
    assert gate.wait(can_wait=True) == 60.0


def test_other_failures_leave_it_open():
    gate, _ = a_gate()
    for reaction in set(Reaction) - {Reaction.WAIT, Reaction.WAIT_ORDERS}:
        gate.note(failed(reaction, 30.0), can_wait=True)
    assert gate.is_open and gate.wait(can_wait=True) == 0.0
