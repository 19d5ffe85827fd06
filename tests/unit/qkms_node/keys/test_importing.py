"""The sealed private key of an import. What imported material must be: test_encoding."""

import pytest

from qkms.wrapping import Method, WrappingPrivateKey
from qkms_node.keys.errors import WrapRejected
from qkms_node.keys.importing import ImportBinding, open_import_key, seal_import_key
from qkms_node.keys.secret import KeyEncryptionKey

KEK = KeyEncryptionKey(bytes(range(32)))
BOUND = ImportBinding("payments", "i1", Method.MLKEM768_AES_KWP, 3)
PRIVATE = WrappingPrivateKey.generate(BOUND.method)


def test_a_sealed_import_key_opens_again() -> None:
    assert open_import_key(KEK, seal_import_key(KEK, PRIVATE, BOUND), BOUND).public == PRIVATE.public
    assert BOUND.purpose == "keys/payments/imports/i1"


@pytest.mark.parametrize(
    "other",
    [
        ImportBinding("salaries", "i1", Method.MLKEM768_AES_KWP, 3),
        ImportBinding("payments", "i2", Method.MLKEM768_AES_KWP, 3),
        ImportBinding("payments", "i1", Method.RSA_OAEP_SHA256, 3),
        ImportBinding("payments", "i1", Method.MLKEM768_AES_KWP, 4),
    ],
)
def test_moved_to_another_key_or_import_it_does_not_open(other: ImportBinding) -> None:
    with pytest.raises(WrapRejected):
        open_import_key(KEK, seal_import_key(KEK, PRIVATE, BOUND), other)


def test_under_another_root_or_altered_it_does_not_open() -> None:
    sealed = seal_import_key(KEK, PRIVATE, BOUND)
    with pytest.raises(WrapRejected):
        open_import_key(KeyEncryptionKey(bytes(32)), sealed, BOUND)
    with pytest.raises(WrapRejected):
        open_import_key(KEK, sealed[:-1] + bytes([sealed[-1] ^ 1]), BOUND)
