"""What loads of their own take for a breach, beyond the common checkers: each is found, and nothing near it."""

import pytest

from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.workload.revocation import KEY, RevocationRun
from qkms_chaos.workload.rotation import DESTROYED, KEYS, RotationRun

OK, REFUSED, UNKNOWN = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN
ROTATING = KEYS[0]


def decrypt(key: str, version: int, outcome: Outcome, reason: str = "") -> Op:
    return Op("c1", "decrypt", key, 1.0, 1.1, outcome, {"version": version}, {}, reason)


@pytest.mark.parametrize(
    "failed",
    [
        decrypt(ROTATING, 1, REFUSED, "TOO_STALE"),
        decrypt(ROTATING, 1, UNKNOWN, "DEADLINE_EXCEEDED"),
        decrypt(DESTROYED, 2, REFUSED, "VERSION_DESTROYED"),
    ],
)
def test_a_decryption_that_fails_for_any_reason_breaks_rotation_under_load(failed: Op) -> None:
    [breach] = RotationRun([decrypt(ROTATING, 1, OK), failed]).breaches()
    assert breach == f"a decryption failed: {failed}"


def test_what_is_destroyed_cannot_be_opened_and_an_encryption_may_be_refused() -> None:
    refused = Op("c1", "encrypt", ROTATING, 1.0, 1.1, REFUSED, reason="ROOT_NOT_READY")
    gone = decrypt(DESTROYED, 1, REFUSED, "VERSION_DESTROYED")
    assert RotationRun([gone, refused]).breaches() == []


def test_rotations_are_those_of_the_keys_under_load_that_took_effect() -> None:
    ops = [Op("r", "rotate", key, 1.0, 1.1, outcome) for key in (ROTATING, DESTROYED) for outcome in (OK, UNKNOWN)]
    assert RotationRun(ops).rotations == 1


def revoked_at(*uses: tuple[str, float, Outcome]) -> RevocationRun:
    """A version that was acknowledged as disabled at 8.2 s, and its uses from when on."""
    disabled = Op("operator", "disable", KEY, 8.0, 8.2, OK, {"version": 1})
    ops = [Op("c0@n", call, KEY, at, at + 0.1, how, {"version": 1}, {"version": 1}) for call, at, how in uses]
    return RevocationRun([disabled, *ops], max_staleness_s=3.0)


def test_the_last_use_is_counted_from_the_acknowledgement() -> None:
    run = revoked_at(("encrypt", 8.7, OK), ("decrypt", 9.0, OK), ("encrypt", 12.0, REFUSED))
    assert run.last_use_s == pytest.approx(0.8)
    assert run.breaches() == []


@pytest.mark.parametrize("call", ["encrypt", "decrypt"])
def test_a_use_past_the_bound_breaks_revocation_under_partition(call: str) -> None:
    [breach] = revoked_at((call, 11.3, OK)).breaches()
    assert "used 3.100 s after it was disabled, the bound is 3 s" in breach
