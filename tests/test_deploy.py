"""The files under `deploy` are accepted by the programs that they are for, and name what is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.live.monitor import Limits, Monitor
from gridv4_bt.live.prometheus import metrics
from gridv4_bt.live.systemd import SECONDS

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
UNIT = (DEPLOY / "gridv4.service").read_text()
ROW = {
    "time": 0.0, "equity": 1.0, "wallet": 1.0, "unrealized": 0.0, "long_qty": 0.0, "short_qty": 0.0, "halted": 0.0,
    "margin_ratio": 0.0, "liquidation_down": 1.0, "liquidation_up": 1.0, "resting_orders": 0.0, "regime": 0.0,
}  # fmt: skip


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "gridv4.service"
    unit.write_text(UNIT.replace("/opt/gridv4/bin/gridv4", "/bin/true"))
    done = run("systemd-analyze", "verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_waits_for_several_signs_of_life_and_starts_again_but_for_a_person():
    [minutes] = re.findall(r"^WatchdogSec=(\d+)min$", UNIT, re.MULTILINE)
    assert int(minutes) * 60 >= 3 * SECONDS
    assert "\nRestart=on-failure\n" in UNIT and "\nRestartPreventExitStatus=2 3\n" in UNIT


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_prometheus_accepts_the_rules_and_they_fire_as_their_test_says():
    assert run("promtool", "check", "rules", str(DEPLOY / "prometheus-rules.yml")).returncode == 0
    done = run("promtool", "test", "rules", str(DEPLOY / "prometheus-rules-test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_name_metrics_that_are_served(tmp_path):
    monitor = Monitor(tmp_path, Limits(), lambda title, text: None)
    monitor.bar("BTCUSDT", ROW, 1, 0)
    served = {one.name for one in metrics(monitor, Account(1.0))}
    named = set(re.findall(r"\bgridv4_\w+", (DEPLOY / "prometheus-rules.yml").read_text()))
    assert named and named <= served


def test_the_container_is_not_root_and_writes_in_its_volume_alone():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    final = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM")) :]
    assert [line for line in final if line.startswith("USER")] == ["USER gridv4"]
    assert "read_only: true" in (DEPLOY / "compose.yaml").read_text()
