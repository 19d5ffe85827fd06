"""Secrets of a cluster that its driver knows, of every kind that clients get or give: to be looked for later.

A key is made whose material can be had, and is used as services do, wrongly too: what is refused leaks as well.
Nothing of what comes out may be found in clear in what the cluster leaves (see `qkms_chaos.canary`); the label of
the key is no secret and is to be found in every node's ledger, which shows that the search sees it.
"""

import asyncio
import base64
import secrets
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from qkms_chaos.cluster.northbound import encryptor_of
from qkms_chaos.cluster.world import World
from qkms_client.errors import QkmsError

MATERIAL_BYTES = 32
CANARY_KEY = "canary"
NEWEST = 3
"""So many of the newest versions of a key are looked for, and the first."""


@dataclass(repr=False)
class Canaries:
    """`secrets` by name, and the label that is none."""

    label: str
    secrets: dict[str, bytes] = field(default_factory=dict)


def make_canaries(world: World, key: str, rounds: int = 2) -> Canaries:
    """Makes `key`, exportable, uses it in so many rounds, a new version in each. Raises QkmsError."""
    payments, ledger = world.payments, world.ledger
    context, found = {"tenant": secrets.token_hex(8)}, Canaries(secrets.token_hex(16))
    payments.create_key(key, labels={"note": found.label}, exportable=True)
    for round_ in range(rounds):
        plaintext = secrets.token_bytes(MATERIAL_BYTES)
        sealed = payments.encrypt(key, plaintext, context=context)
        data_key = payments.generate_data_key(key, context=context)
        found.secrets |= {
            f"plaintext {round_}": plaintext,
            f"data key {round_}": data_key.plaintext,
            f"derived key {round_}": payments.derive_key(key, context=context).key,
        }
        opened = ledger.decrypt(key, sealed.ciphertext, context=context)
        assert opened.plaintext == plaintext
        with suppress(QkmsError):
            ledger.decrypt(key, sealed.ciphertext, context={"tenant": "other"})
        with suppress(QkmsError):
            payments.encrypt("nobody-made-this", plaintext)
        payments.rotate_key(key)
    found.secrets |= exported(world, [key]) | _imported(world, key) | _of_a_session(world)
    found.secrets |= asyncio.run(_of_encryptors(world))
    return found


def exported(world: World, keys: Iterable[str]) -> dict[str, bytes]:
    """The material of some versions of each exportable key; those that cannot be had are left out."""
    found: dict[str, bytes] = {}
    for key in keys:
        with suppress(QkmsError):
            newest = world.payments.get_key(key).primary_version
            for version in sorted({1, *range(max(1, newest - NEWEST + 1), newest + 1)}):
                with suppress(QkmsError):
                    material = world.payments.export_version(key, version).material
                    found[f"{key} version {version}"] = material
    return found


def _imported(world: World, key: str) -> dict[str, bytes]:
    material = secrets.token_bytes(MATERIAL_BYTES)
    world.payments.import_version(key, material)
    return {"imported material": material}


def _of_a_session(world: World) -> dict[str, bytes]:
    payments, ledger, session_id = world.payments, world.ledger, uuid.uuid4()
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(payments.open_session, ledger.principal, session=session_id)
        session = ledger.join_session(session_id, initiator=payments.principal)
        assert opening.result().fingerprint() == session.fingerprint()
    return {
        "session key of the one direction": session.send_key(),
        "session key of the other": session.receive_key(),
        "session exporter": session.exporter_key(),
    }


async def _of_encryptors(world: World) -> dict[str, bytes]:
    """A key that is held for the slave, and one that it has collected: as bytes and as they travelled."""
    here, there, _ = world.nodes
    async with encryptor_of(world, "sae:a") as a, encryptor_of(world, "sae:b") as b:
        held, given = (await a.draw(here, "sae:b")).keys, (await a.draw(here, "sae:b")).keys
        assert (await b.collect(there, "sae:a", *given)).keys == given
    keys = {f"SAE key {key_id}": key for key_id, key in (held | given).items()}
    return keys | {f"{name} in base64": base64.b64encode(key) for name, key in keys.items()}
