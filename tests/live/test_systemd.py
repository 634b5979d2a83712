"""What systemd hears of a bot."""

import socket

import pytest

from gridv4_bt.live import systemd


class Clock:
    """Keeps the tasks that a clock would run."""

    def __init__(self):
        self.tasks = []

    def every(self, seconds, task, in_pauses=False):
        self.tasks.append((seconds, task, in_pauses))


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """Returns the next message at the socket of which systemd tells its services."""
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(place)
        server.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        yield lambda: server.recv(100).decode()


def test_a_bot_is_ready_and_then_lives_while_it_waits(heard):
    clock = Clock()
    systemd.report_life(clock)
    assert heard() == "READY=1"
    [(seconds, task, in_pauses)] = clock.tasks
    assert (seconds, in_pauses) == (60.0, True)
    task()
    assert heard() == "WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.tell("READY=1")
