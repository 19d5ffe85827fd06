"""A secret does not leak by accident, and is gone once wiped."""

import copy
import gc
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import InvalidInput
from qkms_node.keys.errors import SecretWiped
from qkms_node.keys.secret import (
    EncryptionKey,
    KeyEncryptionKey,
    LocalSealKey,
    QkdSecret,
    RootSecret,
    Secret,
    VersionSecret,
    _Buffer,
)

KINDS = [RootSecret, KeyEncryptionKey, VersionSecret, EncryptionKey, QkdSecret, LocalSealKey]
CANARY = b"canary-of-the-secret-32-bytes-ok"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Secret]:
    found: type[Secret] = request.param
    return found


def test_every_kind_is_a_type_of_its_own(kind: type[Secret]) -> None:
    assert kind.__bases__ == (Secret,)
    assert not hasattr(kind(CANARY), "__dict__")


@given(st.binary(min_size=32, max_size=32))
def test_reveals_what_it_holds(data: bytes) -> None:
    assert bytes(RootSecret(data).reveal()) == data
    assert bytes(RootSecret(bytearray(data)).reveal()) == data
    assert bytes(RootSecret(memoryview(data)).reveal()) == data


@pytest.mark.parametrize("size", [0, 31, 33])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not VersionSecret])
def test_other_lengths_are_refused(kind: type[Secret], size: int) -> None:
    with pytest.raises(InvalidInput, match=f"{kind.__name__} has 32 bytes, not {size}"):
        kind(bytes(size))
    with pytest.raises(InvalidInput, match=f"{kind.__name__} has 32 bytes, not {size}"):
        kind.filled(len, size)


@pytest.mark.parametrize("size", [0, 31, 4097])
def test_version_material_has_32_to_4096_bytes(size: int) -> None:
    for fitting in (32, 64, 4096):
        secret = VersionSecret.filled(len, fitting)
        window = secret.reveal()
        assert window == bytes(fitting)
        longer = VersionSecret(b"x" * fitting)
        window = longer.reveal()
        longer.wipe()
        assert window == bytes(fitting)
    with pytest.raises(InvalidInput, match=f"VersionSecret has 32 to 4096 bytes, not {size}"):
        VersionSecret(bytes(size))


def test_it_is_a_copy_and_read_only() -> None:
    data = bytearray(CANARY)
    secret = RootSecret(data)
    data[0] ^= 1
    assert secret.reveal() == CANARY
    with pytest.raises(TypeError):
        secret.reveal()[0] = 0


def test_all_printing_is_redacted(kind: type[Secret]) -> None:
    secret, shown = kind(CANARY), f"{kind.__name__}(redacted)"
    assert repr(secret) == str(secret) == f"{secret}" == f"{secret:>3}" == f"{secret!r:s}" == shown
    assert f"{[secret]}" == f"[{shown}]"
    stream = io.StringIO()
    logging.StreamHandler(stream).emit(logging.LogRecord("", 0, "", 0, "%s %r", (secret, secret), None))
    assert "canary" not in stream.getvalue()
    assert repr(secret.reveal()).startswith("<memory at")


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, hash, json.dumps, bytes, list, len])
def test_ways_out_are_refused(kind: type[Secret], leak: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leak(kind(CANARY))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol_works(protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(RootSecret(CANARY), protocol)


def test_comparison_is_refused_also_with_other_types(kind: type[Secret]) -> None:
    secret = kind(CANARY)
    for other in (secret, kind(CANARY), CANARY, None):
        with pytest.raises(TypeError, match="constant time"):
            assert secret == other
        with pytest.raises(TypeError, match="constant time"):
            assert secret != other


def test_traceback_with_local_variables_is_redacted() -> None:
    def fail() -> None:
        secret = RootSecret(CANARY)
        view = secret.reveal()
        raise RuntimeError(f"{secret} {view}")

    with pytest.raises(RuntimeError) as caught:
        fail()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "RootSecret(redacted)" in shown
    assert "canary" not in shown
    assert CANARY.hex() not in shown


def test_wiping_zeroes_the_buffer_and_ends_its_use() -> None:
    secret = RootSecret(CANARY)
    view = secret.reveal()
    secret.wipe()
    secret.wipe()
    assert view == bytes(32)
    with pytest.raises(SecretWiped, match="RootSecret has been wiped") as caught:
        secret.reveal()
    assert caught.value.code == "SECRET_WIPED"


def test_leaving_the_context_wipes_also_on_an_error() -> None:
    with RootSecret(CANARY) as secret:
        view = secret.reveal()
        assert view == CANARY
    assert view == bytes(32)
    failing = RootSecret(CANARY)
    with pytest.raises(KeyError), failing:
        raise KeyError
    with pytest.raises(SecretWiped):
        failing.reveal()


def test_a_window_on_a_temporary_secret_shows_the_secret() -> None:
    """Wiping with the temporary would hand a cipher an all-zero key, without any error."""
    assert bytes(RootSecret(CANARY).reveal()) == CANARY
    window = RootSecret(CANARY).reveal()
    gc.collect()
    assert bytes(window) == CANARY
    plaintext = AESGCM(CANARY).decrypt(
        bytes(12), AESGCM(RootSecret(CANARY).reveal()).encrypt(bytes(12), b"x", None), None
    )
    assert plaintext == b"x"


def test_a_buffer_is_wiped_when_nothing_needs_it_any_more() -> None:
    seen: list[bytes] = []

    class Watched(_Buffer):
        def __del__(self) -> None:
            super().__del__()
            seen.append(bytes(self))

    secret = RootSecret(CANARY)
    secret._buffer = Watched(CANARY)
    window = secret.reveal()
    del secret
    assert seen == []
    del window
    assert seen == [bytes(32)]


def test_the_buffer_itself_is_redacted() -> None:
    buffer = _Buffer(CANARY)
    assert repr(buffer) == str(buffer) == "_Buffer(redacted)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(buffer)


def test_filled_writes_into_the_buffer_itself() -> None:
    buffers: list[bytearray] = []

    def write(buffer: bytearray) -> int:
        buffers.append(buffer)
        buffer[:] = CANARY
        return 32

    secret = VersionSecret.filled(write)
    assert isinstance(secret, VersionSecret)
    assert secret.reveal() == CANARY
    secret.wipe()
    assert [bytes(buffer) for buffer in buffers] == [bytes(32)]


def test_filled_wipes_when_writing_fails() -> None:
    buffers: list[bytearray] = []

    def fail(buffer: bytearray) -> int:
        buffers.append(buffer)
        buffer[:] = CANARY
        raise RuntimeError("no")

    def write_less(buffer: bytearray) -> int:
        buffers.append(buffer)
        buffer[:] = CANARY
        return 31

    with pytest.raises(RuntimeError, match="no"):
        VersionSecret.filled(fail)
    with pytest.raises(InvalidInput, match="31 were written"):
        VersionSecret.filled(write_less)
    assert [bytes(buffer) for buffer in buffers] == [bytes(32), bytes(32)]
