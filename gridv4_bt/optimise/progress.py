"""The progress bar of trials on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")


def shown(items: Iterable[Item], total: int | None, visible: bool, what: str = "trials") -> Iterator[Item]:
    """Yield the items and show their number on stderr, if it is a terminal.

    The bar is drawn when an item comes and not by a thread: what makes the items may fork, and a fork must not
    find a lock taken by a thread that it does not have.
    """
    console = Console(stderr=True)
    if not visible or not console.is_terminal:
        yield from items
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            progress.update(task, advance=1, refresh=True)
            yield item
