"""A real start, with keys and without a network, in a process of its own: no key, secret or signature shows anywhere."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
psutil = pytest.importorskip("psutil")

from gridv4_bt.cli.live import _without_secrets
from gridv4_bt.exchange.server import ServerThread  # noqa: F401 (a server is what the started session talks to)
from gridv4_bt.live.client import KEY, SECRET
