"""Repeated requests to a server after failures that may pass, no faster than it allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import tenacity

T = TypeVar("T")
D = TypeVar("D")

#: A server that wants a longer wait than this has banned the address; nobody should sit through it. Seconds.
LONGEST_WAIT = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds
_WEIGHT_LIMIT = 2400  # Binance's, a minute
_SOME_WEIGHT = 0.75


class Passing(Exception):
    """A failure that may pass.

    Attributes
    ----------
    retry_after: seconds the server wants to be left alone, None if it did not say
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Patience:
    """A policy of repeating a request, which must not change anything at the server.

    Parameters
    ----------
    sleep: waits for seconds
    attempts: how often one question is asked before the failure is final
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep, attempts: int = 8) -> None:
        self.sleep = sleep
        self.attempts = attempts
        self._pause = tenacity.wait_exponential(_FIRST_PAUSE, _LONGEST_PAUSE) + tenacity.wait_random(0, _FIRST_PAUSE)

    def __call__(self, question: Callable[[], T], attempts: int | None = None) -> T:
        """Return the answer.

        Raises
        ------
        Passing
            The last attempt failed too, or the server wants to be left alone for long.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(attempts or self.attempts),
            wait=self._wait,
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(question)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked = getattr(failure, "retry_after", None)
        return self._pause(state) if asked is None else asked


def retry_after(headers: Mapping[str, str] | None, default: D) -> float | D:
    """Return how many seconds the server of an HTTP answer wants to be left alone, the default if it does not say."""
    text = (headers or {}).get("Retry-After", "")
    return float(text) if text.isdigit() else default


def weight_pause(headers: Mapping[str, str] | None, now_ms: int) -> float:
    """Return how many seconds to wait for Binance's next minute, once most of the weight it allows in this one is used.

    `headers` are those of its latest answer.
    """
    used = (headers or {}).get("X-MBX-USED-WEIGHT-1M", "")
    if used.isdigit() and int(used) > _SOME_WEIGHT * _WEIGHT_LIMIT:
        return 60.0 - now_ms / 1000.0 % 60.0
    return 0.0


def _may_pass(failure: BaseException) -> bool:
    return isinstance(failure, Passing) and (failure.retry_after or 0.0) <= LONGEST_WAIT
