"""SAE keys sealed for the ledger."""

from dataclasses import replace

import pytest

from qkms_node.keys.errors import WrapRejected
from qkms_node.keys.sae_key import OVERHEAD, SaeKeyBinding, open_sae_key, seal_sae_key
from qkms_node.keys.secret import KeyEncryptionKey

KEK = KeyEncryptionKey(bytes(range(32)))
BOUND = SaeKeyBinding("0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b11", "enc-a", ("enc-b", "enc-c"), 3)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_a_sealed_key_opens_again(size: int) -> None:
    key = bytes(range(size))
    sealed = seal_sae_key(KEK, key, BOUND)
    assert len(sealed) == size + OVERHEAD
    assert key not in sealed
    assert open_sae_key(KEK, sealed, BOUND) == key


@pytest.mark.parametrize(
    "other",
    [
        replace(BOUND, key_id="0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b12"),
        replace(BOUND, master="enc-x"),
        replace(BOUND, slaves=("enc-b",)),
        replace(BOUND, slaves=("enc-c", "enc-b")),
        replace(BOUND, slaves=("enc-benc-c",)),
        replace(BOUND, epoch=4),
    ],
)
def test_moved_to_another_record_it_does_not_open(other: SaeKeyBinding) -> None:
    with pytest.raises(WrapRejected):
        open_sae_key(KEK, seal_sae_key(KEK, bytes(32), BOUND), other)


def test_under_another_root_or_altered_it_does_not_open() -> None:
    sealed = seal_sae_key(KEK, bytes(32), BOUND)
    with pytest.raises(WrapRejected):
        open_sae_key(KeyEncryptionKey(bytes(32)), sealed, BOUND)
    for place in (0, len(sealed) - 1):
        with pytest.raises(WrapRejected):
            open_sae_key(KEK, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], BOUND)
