"""Clocks that have stepped: the exchange's own, and that of the client which reads `/gridv4/state`."""


class WrongClocks:
    """By how much the server's and the client's clock are ahead of the market's time."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[int, int | None]] = {}  # ms ahead and end, by whose clock it is

    def step(self, whose: str, ms: int, until: int | None) -> None:
        """Put a clock, "server" or "client", some ms ahead until a time, ms; for good without one."""
        self._steps[whose] = (ms, until)

    def clear(self) -> None:
        """Put all clocks right."""
        self._steps.clear()

    def ahead(self, whose: str, now: int) -> int:
        """Return by how many ms a clock is ahead."""
        ms, until = self._steps.get(whose, (0, None))
        return ms if until is None or now < until else 0
