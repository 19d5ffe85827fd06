"""Waiting by looking again until a deadline, never by sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05


class NotYet(Exception):
    """Raised by a probe: what it saw instead of what is waited for."""


class WaitExpired(Exception):
    """A deadline passed; the message says what was waited for and what was seen last."""


def wait_for(
    what: str,
    probe: Callable[[], T],
    timeout_s: float,
    poll_s: float = POLL_S,
    told: Callable[[str], None] = lambda _: None,
) -> T:
    """The first value that `probe` returns instead of raising NotYet. Raises WaitExpired.

    `told` hears what each look saw instead.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return probe()
        except NotYet as seen:
            told(str(seen))
            if time.monotonic() >= deadline:
                raise WaitExpired(f"waited {timeout_s:g} s for {what}; last seen: {seen}") from None
        time.sleep(poll_s)
