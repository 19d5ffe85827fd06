"""A QkdKey does not let its bytes out by accident."""

import copy
import pickle

import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.messages import Key
from qkms_qkd.kme.channel_messages import OfferedKey
from qkms_qkd.link import QkdKey

SECRET = b"canary-canary-canary-canary-cana"


@pytest.mark.parametrize("render", [repr, str, "{}".format, "{!r:>5}".format])
def test_no_rendering_shows_the_key(render: object) -> None:
    assert callable(render)
    for holder in (QkdKey("id-1", SECRET), Key("id-1", SECRET.decode()), OfferedKey("id-1", 1, SECRET, 0.0)):
        shown = render(holder)
        assert "id-1" in shown
        assert "canary" not in shown


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, hash])
def test_no_pickle_copy_or_hash(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError):
        leak(QkdKey("id-1", SECRET))


def test_no_comparison() -> None:
    with pytest.raises(TypeError, match="compare_digest"):
        QkdKey("id-1", SECRET) == QkdKey("id-1", SECRET)  # noqa: B015


def test_the_error_names_kme_and_code() -> None:
    error = LinkError("kme-7", "KEY_STALE", "too old")
    assert str(error) == "KME kme-7: too old [KEY_STALE]"
    assert (error.kme, error.code, error.message) == ("kme-7", "KEY_STALE", "too old")
