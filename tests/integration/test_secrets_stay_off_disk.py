"""Canaries: plaintexts, data keys, derived keys, session keys and SAE keys are on no disk and in no log."""

import asyncio
import base64
import secrets
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from qkms_chaos.canary import search_tree
from qkms_chaos.cluster.northbound import encryptor_of
from qkms_chaos.cluster.world import World
from qkms_client.errors import QkmsError

pytestmark = pytest.mark.cluster


async def drawn_and_collected(world: World) -> dict[str, bytes]:
    """Keys of encryptors, one held for the slave and one that it has collected: as bytes and as they travelled."""
    here, there, _ = world.nodes
    async with encryptor_of(world, "sae:a") as a, encryptor_of(world, "sae:b") as b:
        held, given = (await a.draw(here, "sae:b")).keys, (await a.draw(here, "sae:b")).keys
        assert (await b.collect(there, "sae:a", *given)).keys == given
    keys = {f"SAE key {key_id}": key for key_id, key in (held | given).items()}
    return keys | {f"{name} in base64": base64.b64encode(key) for name, key in keys.items()}


def test_no_canary_is_found_in_any_file(healthy: World, new_key_id: Callable[[], str]) -> None:
    key, note = new_key_id(), secrets.token_hex(16)
    payments, ledger = healthy.payments, healthy.ledger
    context = {"tenant": secrets.token_hex(8)}
    canaries: dict[str, bytes] = {}
    payments.create_key(key, labels={"note": note})
    for round_ in range(5):
        plaintext = secrets.token_bytes(32)
        sealed = payments.encrypt(key, plaintext, context=context)
        data_key = payments.generate_data_key(key, context=context)
        canaries |= {
            f"plaintext {round_}": plaintext,
            f"data key {round_}": data_key.plaintext,
            f"derived key {round_}": payments.derive_key(key, context=context).key,
        }
        assert ledger.decrypt(key, sealed.ciphertext, context=context).plaintext == plaintext
        with pytest.raises(QkmsError):
            ledger.decrypt(key, sealed.ciphertext, context={"tenant": "other"})
        with pytest.raises(QkmsError):
            payments.encrypt("nobody-made-this", plaintext)
        payments.rotate_key(key)
    session_id = uuid.uuid4()
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(payments.open_session, ledger.principal, session=session_id)
        session = ledger.join_session(session_id, initiator=payments.principal)
        assert opening.result().fingerprint() == session.fingerprint()
    canaries |= {
        "session key of the one direction": session.send_key(),
        "session key of the other": session.receive_key(),
        "session exporter": session.exporter_key(),
    }
    canaries |= asyncio.run(drawn_and_collected(healthy))
    healthy.observer.wait_agreement()

    folder = healthy.cluster.layout.folder
    assert search_tree(folder, canaries) == []
    # The search does see the ledger on each node's disk: what is no secret is found there.
    seen = {hit.where.split("/")[0] for hit in search_tree(folder, {"a label": note.encode()})}
    assert seen >= set(healthy.nodes)
