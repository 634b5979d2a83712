"""Print docs/licences.md: the licence of every package in requirements-live.lock and requirements.lock."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Licences

GridStrategyV4 is free software under the GNU General Public License, version 3 or later (`LICENSE`). What it installs,
by the packages' own words; "bot" is what a live bot alone needs. `make licences` writes this page.

| package | licence | bot |
|---|---|---|
"""


def locked(name: str) -> list[str]:
    """Return the names of the packages in a lock file."""
    return re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


def licence_of(package: str) -> str:
    """Return the licence as the package names it: its SPDX expression, its classifiers, or the first line it has."""
    about = metadata(package)
    if expression := about.get("License-Expression"):
        return expression
    kinds = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or () if one.startswith("License ::")]
    first = (about.get("License") or "").strip().splitlines()
    return ", ".join(kinds) or (first[0] if first else "not named")


def rows() -> str:
    """Return the table's rows; a package that this Python does not install is left out."""
    bot, text = set(locked("requirements-live.lock")), ""
    for package in dict.fromkeys(sorted(locked("requirements.lock"), key=str.lower)):
        try:
            text += f"| {package} | {licence_of(package)} | {'yes' if package in bot else ''} |\n"
        except PackageNotFoundError:
            continue
    return text


if __name__ == "__main__":
    print(HEAD + rows(), end="")
