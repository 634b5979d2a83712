from typing import Any

from .lineiterator import LineIterator

class Indicator(LineIterator):
    def __init__(self, *args: Any, **params: Any) -> None: ...
