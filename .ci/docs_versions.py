"""Write index.html of the site: the versions whose documentation it has, the newest first.

docs_versions.py SITE
"""

import re
import sys
from pathlib import Path

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GridStrategyV4: documentation</title>
<style>body {font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem}</style>
<h1>GridStrategyV4: documentation</h1>
<p>Read the one of the version that you run; <code>gridv4 --version</code> prints it.</p>
<ul>
"""


def number(name: str) -> tuple[int, ...]:
    """Return a version as numbers: 1.10.0 is newer than 1.9.0."""
    return tuple(int(part) for part in re.findall(r"\d+", name))


def page(names: list[str]) -> str:
    """Return the page for these versions."""
    lines = [f'<li><a href="{name}/index.html">{name}</a>\n' for name in sorted(names, key=number, reverse=True)]
    return HEAD + "".join(lines) + "</ul>\n"


if __name__ == "__main__":
    site = Path(sys.argv[1])
    versions = [path.parent.name for path in site.glob("*/index.html") if number(path.parent.name)]
    (site / "index.html").write_text(page(versions), encoding="utf-8")
