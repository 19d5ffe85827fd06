"""Which links may be drawn from and which keys may be used."""

import math

import pytest

from qkms_qkd.admission import AdmissionRules, admit, admit_link
from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey

RULES = AdmissionRules(max_age_s=60)


def status(qber: float | None = 0.03, up: bool | None = True) -> LinkStatus:
    return LinkStatus("node-2", "kme-1", "kme-2", 256, 10, 100, 10, qber, 1000.0, up)


@pytest.mark.parametrize("seen", [status(), status(qber=None), status(up=None), status(qber=0.11), status(qber=0)])
def test_a_sound_link_is_admitted(seen: LinkStatus) -> None:
    admit_link(RULES, seen)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (status(qber=0.1101), "QBER_TOO_HIGH"),
        (status(qber=math.nan), "QBER_TOO_HIGH"),
        (status(qber=0.25, up=False), "QBER_TOO_HIGH"),
        (status(up=False), "LINK_DOWN"),
        (status(qber=None, up=False), "LINK_DOWN"),
    ],
)
def test_an_unsound_link_is_refused_by_name(seen: LinkStatus, code: str) -> None:
    with pytest.raises(LinkError, match="kme-1") as caught:
        admit_link(RULES, seen)
    assert caught.value.code == code


def test_the_threshold_can_be_lower() -> None:
    admit_link(AdmissionRules(max_qber=0.05), status(qber=0.05))
    with pytest.raises(LinkError):
        admit_link(AdmissionRules(max_qber=0.05), status(qber=0.051))


@pytest.mark.parametrize("age_s", [None, 0.0, 60.0])
def test_a_sound_key_is_admitted(age_s: float | None) -> None:
    admit(RULES, QkdKey("k", bytes(32), age_s), seen={"other"}, kme="kme-1")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (QkdKey("k", bytes(31)), "KEY_WRONG_LENGTH"),
        (QkdKey("k", bytes(33)), "KEY_WRONG_LENGTH"),
        (QkdKey("k", b""), "KEY_WRONG_LENGTH"),
        (QkdKey("used", bytes(32)), "KEY_REPLAYED"),
        (QkdKey("k", bytes(32), 60.1), "KEY_STALE"),
        (QkdKey("k", bytes(32), math.nan), "KEY_STALE"),
    ],
)
def test_an_unsound_key_is_refused_by_name(key: QkdKey, code: str) -> None:
    with pytest.raises(LinkError, match="kme-1") as caught:
        admit(RULES, key, seen={"used"}, kme="kme-1")
    assert caught.value.code == code


def test_the_time_a_key_was_held_counts() -> None:
    admit(RULES, QkdKey("k", bytes(32), 30), seen=(), kme="kme-1", held_s=30)
    with pytest.raises(LinkError) as caught:
        admit(RULES, QkdKey("k", bytes(32), 30), seen=(), kme="kme-1", held_s=31)
    assert caught.value.code == "KEY_STALE"


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"max_qber": 0.1101}, "max_qber"),
        ({"max_qber": 0.0}, "max_qber"),
        ({"max_qber": math.nan}, "max_qber"),
        ({"key_bits": 255}, "key_bits"),
        ({"key_bits": 0}, "key_bits"),
        ({"max_age_s": 0.0}, "max_age_s"),
        ({"max_age_s": math.inf}, "max_age_s"),
    ],
)
def test_senseless_rules_are_refused(rules: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        AdmissionRules(**rules)  # type: ignore[arg-type]
