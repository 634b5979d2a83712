"""A bot whose process is stopped by SIGSTOP, and what the desk's health says of it; two minutes, by `make check-all`.

`python tests/desk/frozen_bot.py`
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_S = 120.0  #: within which a frozen bot must be told


def main() -> None:
    """Entry point."""
    with tempfile.TemporaryDirectory() as folder:
        place, running = Path(folder), []
        try:
            follow(place, running)
        finally:
            for process in running:
                process.kill()
                process.wait()


def follow(place: Path, running: list[subprocess.Popen]) -> None:
    """Start a bot and a desk, stop the bot's process, and wait until the desk says so; then let it go on."""
    paper = [
        "live",
        "--paper",
        "--speed",
        "60",
        "--days",
        "30",
        "--quiet",
        "--state-dir",
        str(place / "bots" / "paper"),
    ]
    running.append(subprocess.Popen([sys.executable, "-m", "gridv4_bt", *paper]))
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    (place / "bots").mkdir(exist_ok=True)
    token = place / "tokens" / "read-token"
    desk = ["desk", str(place / "bots"), "--port", str(port), "--tokens", str(place / "tokens")]
    running.append(subprocess.Popen([sys.executable, "-m", "gridv4_bt", *desk], stdout=subprocess.DEVNULL))
    await_answer(port, token, 200, 120.0, "running")
    os.kill(running[0].pid, signal.SIGSTOP)
    seconds = await_answer(port, token, 503, MOST_S, "frozen")
    os.kill(running[0].pid, signal.SIGCONT)
    back = await_answer(port, token, 200, 60.0, "running")
    print(f"a stopped process is told after {seconds:.0f} s, and that it goes on after {back:.0f} s")


def await_answer(port: int, token: Path, status: int, most: float, says: str) -> float:
    """Return after how many seconds the health answers so, about the one bot.

    Raises
    ------
    SystemExit
        It has not for so long.
    """
    began, found = time.monotonic(), (0, "")
    while time.monotonic() - began < most:
        try:
            found = health(port, token)
        except OSError:
            found = 0, "the desk does not answer yet"
        if found[0] == status and says in found[1]:
            return time.monotonic() - began
        time.sleep(1.0)
    sys.exit(f"the health was {found} for {most:.0f} s, not {status} with {says!r}")


def health(port: int, token: Path) -> tuple[int, str]:
    """Return status and what is said of the bots, asked with the token that reads."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        line.request("GET", "/api/v1/health", headers={"Authorization": f"Bearer {token.read_text().strip()}"})
        answer = line.getresponse()
        return answer.status, json.dumps(json.loads(answer.read())["bots"])
    finally:
        line.close()


if __name__ == "__main__":
    main()
