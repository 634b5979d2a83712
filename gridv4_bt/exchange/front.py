"""What control requests and faults may do with the api that serves an exchange."""

from typing import Protocol

from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Faults
from gridv4_bt.exchange.limits import Limits
from gridv4_bt.exchange.messages import Request, Response
from gridv4_bt.exchange.wrong_clocks import WrongClocks


class Front(Protocol):
    """The api of one exchange (see `gridv4_bt.exchange.api.Api`)."""

    exchange: Exchange
    faults: Faults
    limits: Limits
    clocks: WrongClocks
    pages: dict[str, bytes]  #: last answer of each path that lists orders, trades or income

    @property
    def speed(self) -> float:
        """Seconds of the market in a second, 0 if it waits for control requests."""

    def serve(self, request: Request, skew: int = 0) -> Response:
        """Return the exchange's answer; `skew` is by how much its clock is ahead for this request, ms."""

    def restart(self) -> None:
        """Drop the state in memory and load the stored one, as a new process would."""
