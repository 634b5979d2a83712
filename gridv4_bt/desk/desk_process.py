"""A desk in a process of its own, for a chaos test: it is killed while commands are posted to it."""

import http.client
import json
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from gridv4_bt.desk.routes import API
from gridv4_bt.live.command_files import Command

_PATIENCE_S = 60.0  # for a command to be accepted
_PAUSE_S = 0.1
_KILL_SHARE = 0.3  # of posts
_AGAIN_SHARE = 0.3  # of accepted commands, which are posted once more as after a lost answer


class DeskProcess:
    """A desk that serves one bot, and posts to it; see `gridv4_bt.validation.command_storm.Desk`.

    Parameters
    ----------
    seed : of the kills.
    """

    def __init__(self, seed: int) -> None:
        self.kills = 0
        self.posts = 0
        self._seed = seed

    def start(self, folder: Path) -> None:
        """Begin to serve a state directory."""
        self._rng = random.Random(self._seed)
        self._folder = folder
        self._tokens = folder.parent / "desk"
        self._accepted: list[str] = []
        self._waiting: queue.Queue[Command | None] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="posts", daemon=True)
        self._thread.start()

    def post(self, command: Command) -> None:
        """Post a command in the background until it is accepted, with its id as the key."""
        self._waiting.put(command)

    def accepted(self) -> list[str]:
        """Return the ids of the commands that were accepted."""
        return list(self._accepted)

    def drain(self) -> None:
        """Wait until everything is accepted or given up."""
        self._waiting.join()

    def close(self) -> None:
        """End the process."""
        self._waiting.put(None)
        self._thread.join()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _work(self) -> None:
        while (command := self._waiting.get()) is not None:
            if self._is_accepted(command):
                self._accepted.append(command.id)
            self._waiting.task_done()

    def _is_accepted(self, command: Command) -> bool:
        content = {"action": command.action, "scope": command.scope, "confirm": command.scope,
                   "share": command.share, "limit": command.limit}  # fmt: skip
        again = 1 + (self._rng.random() < _AGAIN_SHARE)
        until = time.monotonic() + _PATIENCE_S
        while again and time.monotonic() < until:
            process = self._living()
            if self._rng.random() < _KILL_SHARE:
                self.kills += 1
                threading.Timer(self._rng.uniform(0.0, 0.02), process.kill).start()
            try:
                again -= self._ask(command.id, json.dumps(content)) == 202
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE_S)
        return not again

    def _ask(self, key: str, body: str) -> int:
        self.posts += 1
        headers = {
            "Authorization": f"Bearer {(self._tokens / 'token').read_text(encoding='ascii').strip()}",
            "Content-Type": "application/json", "Idempotency-Key": key,
        }  # fmt: skip
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            line.request("POST", f"{API}/bots/{self._folder.name}/commands", body, headers)
            answer = line.getresponse()
            answer.read()
            return answer.status
        finally:
            line.close()

    def _living(self) -> "subprocess.Popen[bytes]":
        """Return the process, a new one if it was killed."""
        if self._process is None or self._process.poll() is not None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self._port = free.getsockname()[1]
            words = ["desk", str(self._folder), "--port", str(self._port), "--tokens", str(self._tokens)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gridv4_bt", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._wait_for_answer(self._process)
        return self._process

    def _wait_for_answer(self, process: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + _PATIENCE_S
        while process.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
                return
            except OSError:
                time.sleep(_PAUSE_S)
