"""Print pip constraints that pin every dependency of setup.cfg to the lowest release it allows."""

import configparser
from pathlib import Path

settings = configparser.ConfigParser()
settings.read(Path(__file__).parent.parent / "setup.cfg")
lists = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
for line in "\n".join(lists).splitlines():
    if ">=" in line or "==" in line:  # an address names its release itself
        print(line.strip().replace(">=", "=="))
