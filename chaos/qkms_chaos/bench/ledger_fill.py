"""A ledger of a given size, made by real commands in a realistic mix; every record is small.

Of four keys each is created and rotated once, two have their old version
scheduled for destruction, and one goes with a session that was offered,
answered and confirmed by one end. So there are keys, versions, sessions,
remembered requests, the last events, and things that are due.
"""

import hashlib
from collections.abc import Iterator

from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.apply import apply
from qkms_node.ledger.records import AnswerRecord, OfferRecord
from qkms_node.ledger.snapshot import TABLES
from qkms_node.ledger.state import State

CLUSTER = "bench"
LATER_MS = 30 * 24 * 3600 * 1000  # nothing comes due while it is measured
COMMANDS_PER_MS = 10
_KEYS_PER_ROUND = 4


def key_id(number: int) -> str:
    """Of the key `number`, from 0."""
    return f"service-{number:08d}"


def request(method: str, name: str, principal: str = "service") -> c.Request:
    """A request with an id and a fingerprint of their real lengths."""
    seed = hashlib.sha256(f"{principal} {method} {name}".encode()).digest()
    text = seed.hex()
    request_id = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"
    return c.Request(request_id, seed, principal)


def new_version(name: str, number: int, epoch: int) -> c.NewVersion:
    """Material of the real lengths: a nonce of 12, ciphertext of 32 and a tag of 16 bytes; a check of 16."""
    seed = hashlib.sha512(f"{name} {number}".encode()).digest()
    return c.NewVersion(number, epoch, seed[:60], seed[48:])


def create(name: str, epoch: int) -> c.CreateKey:
    """Creates a key."""
    made = new_version(name, 1, epoch)
    return c.CreateKey(request("create", name), name, "AES_256_GCM", 0, 30_000, {"team": "bench"}, made)


def rotate(name: str, primary: int, versions: int, epoch: int) -> c.RotateKey:
    """Rotates a key that has `versions` versions."""
    made = new_version(name, versions + 1, epoch)
    return c.RotateKey(request(f"rotate {versions}", name), name, primary, made)


def filled(records: int, time_ms: int) -> State:
    """A ledger of about `records` records, the last of its commands stamped about `time_ms`."""
    state = State()
    time_ms -= records // COMMANDS_PER_MS
    for number, command in enumerate(_commands()):
        outcome = apply(state, command, time_ms + number // COMMANDS_PER_MS)
        assert not outcome.code, outcome
        if number % 1000 == 0 and count(state) >= records:
            return state
    raise AssertionError("the commands do not end")


def count(state: State) -> int:
    """How many records the ledger holds."""
    return sum(len(getattr(state, name)) for name in (*TABLES, "events", "due"))


def _commands() -> Iterator[c.AnyCommand]:
    nodes = ("node-1", "node-2", "node-3")
    yield c.StageRoot(1, 0, Grade.PQC, nodes[0], bytes(32), (), nodes, {})
    yield from (c.ConfirmRoot(1, node, bytes(32)) for node in nodes)
    yield c.ActivateRoot(1)
    number = 0
    while True:
        for place in range(_KEYS_PER_ROUND):
            name = key_id(number)
            yield create(name, 1)
            yield rotate(name, 1, 1, 1)
            if place < 2:
                yield c.DestroyVersion(request("destroy", name), name, 1, LATER_MS)
            number += 1
        yield from _session(f"{number:032x}")


def _session(session_id: str) -> Iterator[c.AnyCommand]:
    seed = hashlib.shake_256(session_id.encode()).digest(1184)
    offer = OfferRecord(seed, seed[:32], seed[32:64])
    yield c.OpenSession(request("open", session_id, "alice"), session_id, "bob", 1, offer, 0, LATER_MS)
    answer = AnswerRecord(seed[:1088], seed[64:96], seed[96:128])
    yield c.AnswerSession(request("answer", session_id, "bob"), session_id, answer)
    yield c.ConfirmSession(request("confirm", session_id, "bob"), session_id, seed[128:160])
