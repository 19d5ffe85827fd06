"""One request id, one body."""

from dataclasses import dataclass

import pytest

from qkms_chaos.checking.history import Op, Outcome, Value
from qkms_chaos.checking.request_bodies import breaches


@dataclass(frozen=True)
class Second:
    """What the second request under the id differs in."""

    call: str = "disable"
    key: str = "k"
    version: int = 1
    request_id: str = "r"
    outcome: Outcome = Outcome.OK


def history(second: Second) -> list[Op]:
    args: dict[str, Value] = {"request_id": second.request_id, "version": second.version}
    return [
        Op("c1", "disable", "k", 0.0, 1.0, Outcome.OK, {"request_id": "r", "version": 1}),
        Op("c2", second.call, second.key, 2.0, 3.0, second.outcome, args),
    ]


@pytest.mark.parametrize("second", [Second(version=2), Second(key="other"), Second(call="enable")])
def test_another_body_that_was_answered_is_found(second: Second) -> None:
    [words] = breaches(history(second))
    assert "c1 disable k" in words
    assert f"c2 {second.call} {second.key}" in words


@pytest.mark.parametrize(
    "second",
    [
        Second(),
        Second(version=2, request_id="another"),
        Second(version=2, outcome=Outcome.REFUSED),
        Second(version=2, outcome=Outcome.UNKNOWN),
    ],
)
def test_what_comes_near_passes(second: Second) -> None:
    assert breaches(history(second)) == []
