"""The checker of histories finds each planted breach, and nothing in a history that keeps its promises."""

import pytest

from qkms_chaos.workload.history import Change, Did, Outcome, Use, breaches, last_use_s

BOUND_S = 1.0
CREATED = Change("k", 1, Did.ACTIVATE, 0.0, 0.1)
ROTATED = Change("k", 2, Did.ACTIVATE, 5.0, 5.5)
REVOKED = Change("k", 1, Did.REVOKE, 8.0, 8.2)
DESTROYED = Change("k", 1, Did.DESTROY, 8.0, 8.2)
STAGED = Change("k", 3, Did.STAGE, 1.0, 1.1)
CHANGES = [CREATED, ROTATED, STAGED]


def use(
    version: int, begin: float, end: float, kind: str = "encrypt", outcome: Outcome = Outcome.OK, reason: str = ""
) -> Use:
    return Use("k", version, kind, begin, end, outcome, reason)


@pytest.mark.parametrize(
    ("history", "changes"),
    [
        pytest.param([use(1, 1, 2), use(2, 6, 7)], CHANGES, id="each version in its time"),
        pytest.param([use(2, 4.9, 5.1)], CHANGES, id="while it is being activated"),
        pytest.param([use(1, 8.5, 8.6)], [*CHANGES, REVOKED], id="revoked, within the bound"),
        pytest.param([use(1, 9.1, 11.0)], [*CHANGES, REVOKED], id="begun within the bound"),
        pytest.param(
            [use(1, 9, 9.1, "decrypt", Outcome.REFUSED)], [*CHANGES, DESTROYED], id="refused once destroyed"
        ),
        pytest.param(
            [use(1, 7.9, 8.1, "decrypt", Outcome.REFUSED)], [*CHANGES, REVOKED], id="refused while being revoked"
        ),
        pytest.param([use(0, 1, 2, "encrypt", Outcome.REFUSED)], CHANGES, id="an encryption may be refused"),
    ],
)
def test_what_may_happen(history: list[Use], changes: list[Change]) -> None:
    assert breaches(history, changes, BOUND_S) == []


@pytest.mark.parametrize(
    ("planted", "changes", "words"),
    [
        (use(3, 6, 7), CHANGES, "not active yet"),
        (use(2, 3, 4.9), CHANGES, "not active yet"),
        (use(1, 9.3, 9.4), [*CHANGES, REVOKED], "1.100 s after it was revoked"),
        (use(1, 9.3, 9.4, "decrypt"), [*CHANGES, DESTROYED], "after it was revoked"),
        (use(1, 9.3, 9.4), [*CHANGES, REVOKED, Change("k", 1, Did.DESTROY, 9.0, 9.1)], "1.100 s after"),
        (use(1, 1, 2, "decrypt", Outcome.WRONG), CHANGES, "another plaintext"),
        (use(1, 6, 7, "decrypt", Outcome.REFUSED, "TOO_STALE"), CHANGES, "failed: refused TOO_STALE"),
        (use(1, 6, 7, "decrypt", Outcome.UNKNOWN), CHANGES, "failed: unknown"),
        (use(1, 6, 7.9, "decrypt", Outcome.REFUSED), [*CHANGES, REVOKED], "failed: refused"),
    ],
)
def test_a_planted_breach_is_found(planted: Use, changes: list[Change], words: str) -> None:
    found = breaches([use(1, 1, 2), planted], changes, BOUND_S)
    assert len(found) == 1
    assert words in found[0]


def test_the_last_use_is_counted_from_the_acknowledgement() -> None:
    refused = use(1, 9.9, 10, "encrypt", Outcome.REFUSED)
    assert last_use_s([use(1, 1, 2), use(1, 8.7, 8.8), refused], REVOKED) == pytest.approx(0.5)
