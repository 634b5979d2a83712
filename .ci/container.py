"""Do what deploy/Dockerfile does where Docker cannot run, and hold the example alerts to what that bot serves.

The RUN lines of the Dockerfile's first stage are executed one after another in a folder of their own, in its /opt and
/src; what the second stage copies then trades on paper, from a folder that is all it may write to. Every metric and
label that deploy/prometheus-rules.yml names must be among the figures that it serves.

    container.py PYTHON FOLDER

PYTHON is the interpreter in the place of the image's, FOLDER is made anew.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120.0  # in which a bot on paper serves all its figures


def run_lines(dockerfile: str) -> list[str]:
    """Return the commands of RUN in the stage that builds; the second one only adds a user, which needs a container."""
    stages = re.split(r"^FROM .*$", dockerfile, flags=re.MULTILINE)[1:]
    return re.findall(r"^RUN (.*)$", stages[0], re.MULTILINE)


def build(python: str, folder: Path) -> Path:
    """Execute the RUN lines and return the environment that they make."""
    source, opt = folder / "src", folder / "opt"
    opt.mkdir(parents=True)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    names = listed.stdout.split("\n")
    for name in filter(None, names):
        if name.partition("/")[0] not in ignored:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name, follow_symlinks=False)  # a link stays one, as in COPY
    binaries = folder / "bin"  # `python` is what the image calls it
    binaries.mkdir()
    (binaries / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (binaries / "python").chmod(0o755)
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    for line in run_lines((ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")):
        began = time.monotonic()
        command = line.replace("/opt/", f"{opt}/")
        subprocess.run(["sh", "-c", command], cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S607
        print(f"{time.monotonic() - began:6.1f} s  RUN {line}", flush=True)
    return opt / "gridv4"


def files_of(folder: Path) -> dict[Path, tuple[int, float]]:
    """Return size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime) for path in folder.rglob("*") if path.is_file()}


def serve(program: Path, data: Path) -> str:
    """Let the bot trade on paper in a folder of its own and return the figures it serves once there are fills."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"HOME": str(data), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    words = [str(program), "live", "--paper", "--config", "busy", "--days", "20", "--metrics", str(port), "--quiet"]
    with (data / "log").open("w") as log:
        bot = subprocess.Popen(
            words, cwd=data, stdout=log, stderr=log, env=environment | {"XDG_CACHE_HOME": f"{data}/cache"}
        )
        text, until = "", time.monotonic() + SECONDS
        while bot.poll() is None and "gridv4_fills_total{" not in text and time.monotonic() < until:
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
            except urllib.error.URLError:
                continue
        bot.terminate()
        code = bot.wait(60)
    if code:
        sys.exit(f"the bot ended with {code}: {(data / 'log').read_text()[-2_000:]}")
    return text


def missing(rules: str, served: str) -> list[str]:
    """Return what the rules name that is not served: metrics, and labels of an alert's metric."""
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(r"^(gridv4_\w+)(?:\{(.*)\})? ", served, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', inside))
    found = []
    for alert in re.split(r"^ *- alert: ", rules, flags=re.MULTILINE)[1:]:
        metrics = set(re.findall(r"\bgridv4_\w+", alert))
        found += sorted(metrics - set(labels))
        for label in set(re.findall(r"\$labels\.(\w+)", alert)) - {"instance", "job"}:  # which Prometheus adds
            found += [f"{name}{{{label}}}" for name in sorted(metrics) if label not in labels.get(name, ())]
    return found


def main(python: str, folder: Path) -> None:
    """Build, trade, compare; end with what is wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    environment = build(python, folder)
    size = sum(size for size, _ in files_of(environment).values())
    print(f"the environment of the image has {size / 1e6:,.0f} MB")
    data = folder / "data"
    data.mkdir()
    before = files_of(environment)
    served = serve(environment / "bin" / "gridv4", data)
    if files_of(environment) != before:
        sys.exit("the bot has written beside /data, which a read-only root does not allow")
    if wrong := missing((ROOT / "deploy" / "prometheus-rules.yml").read_text(encoding="utf-8"), served):
        sys.exit(f"deploy/prometheus-rules.yml names what a bot does not serve: {', '.join(wrong)}")
    print("a bot on paper wrote in /data alone and serves all that the example alerts name")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
