"""What commands do to SAE keys: draw, collect, expire.

The master has a key with the answer to its draw, each slave with the entry that
notes its collection. With the last of them the sealed key is erased in that
same entry, so that whoever asks later, at whichever node, finds nothing. The
record without its key stays for a while as the tombstone: a proposal that is
repeated, since its outcome was not known, finds there that it had its effect.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from qkms_node.ledger.commands import CollectSaeKeys, DrawSaeKeys, Outcome
from qkms_node.ledger.sae_records import SaeKeyRecord
from qkms_node.ledger.state import Refusal, State

EXPIRE = "expire_sae_key"
FORGET = "forget_sae_key"
TOMBSTONE_MS = 600 * 1000
"""How long a tombstone stays: far longer than a node repeats a proposal."""


def draw_sae_keys(state: State, command: DrawSaeKeys) -> Outcome:
    """Holds fresh keys for every slave; all or none. Repeated, it changes nothing."""
    known = [state.sae_keys.get(new.key_id) for new in command.new_keys]
    if any(known):
        return _drawn_before(state, command, known)
    root = state.active_root()
    if command.epoch != root.epoch:
        raise Refusal(
            "EPOCH_CONFLICT",
            f"root epoch {root.epoch} is active, not {command.epoch}; seal the keys under that one",
            expected=command.epoch,
            actual=root.epoch,
        )
    waiting = waiting_keys(state, command.master, command.slaves[0])
    if waiting + len(command.new_keys) > command.max_waiting:
        raise Refusal(
            "SAE_KEYS_WAITING",
            f"{waiting} keys of SAE {command.master} wait for SAE {command.slaves[0]}, of at most "
            f"{command.max_waiting}; collect them, or wait until they expire",
            waiting=waiting,
        )
    expire_ms = state.time_ms + command.ttl_ms
    for new in command.new_keys:
        state.sae_keys[new.key_id] = SaeKeyRecord(
            key_id=new.key_id,
            master=command.master,
            slaves=command.slaves,
            collected={},
            size_bits=command.size_bits,
            grade=root.grade,
            epoch=root.epoch,
            sealed=new.sealed,
            create_ms=state.time_ms,
            expire_ms=expire_ms,
        )
        state.schedule(expire_ms, EXPIRE, new.key_id)
    return Outcome(state.revision + 1, changed=True)


def collect_sae_keys(state: State, command: CollectSaeKeys) -> Outcome:
    """Gives the slave every key, erases those that nobody waits for; all or none. Repeated, it changes nothing."""
    request_id = command.request.request_id
    known = [state.sae_keys.get(key_id) for key_id in command.key_ids]
    if all(record is not None and record.collected.get(command.slave) == request_id for record in known):
        return Outcome(state.revision, note="already collected")
    for record in collectable(state, command.master, command.slave, command.key_ids):
        given = replace(record, collected=record.collected | {command.slave: request_id})
        if len(given.collected) == len(given.slaves):
            given = _erased(state, given)
        state.sae_keys[given.key_id] = given
    return Outcome(state.revision + 1, changed=True)


def collectable(state: State, master: str, slave: str, key_ids: Sequence[str]) -> list[SaeKeyRecord]:
    """The records that the slave may collect now, in this order.

    Raises the refusal SAE_KEY_NOT_FOUND when one is not there, or not any more; else SAE_KEY_NOT_NAMED when
    one was not drawn by this master for this slave.
    """
    found = [state.sae_keys.get(key_id) for key_id in key_ids]
    records = [record for record in found if record is not None and _waits(record, slave)]
    if len(records) != len(key_ids):
        raise Refusal("SAE_KEY_NOT_FOUND", "one or more keys were never drawn, were collected, or have expired")
    for record in records:
        if record.master != master or slave not in record.slaves:
            raise Refusal(
                "SAE_KEY_NOT_NAMED", f"saeKeys/{record.key_id} was not drawn by SAE {master} for SAE {slave}"
            )
    return records


def waiting_keys(state: State, master: str, slave: str) -> int:
    """How many keys of the master, with this slave as the first, wait to be collected."""
    return state.sae_keys.counts["pair"][master, slave]


def expire_due(state: State, key_id: str) -> bool:
    """Erases a key that not everybody collected in time; True if there was one."""
    record = state.sae_keys.get(key_id)
    if record is None or not record.sealed:
        return False
    state.sae_keys[key_id] = _erased(state, record)
    return True


def forget_due(state: State, key_id: str) -> bool:
    """Forgets a tombstone; no effect worth a revision, as with remembered requests."""
    state.sae_keys.pop(key_id, None)
    return False


def _erased(state: State, record: SaeKeyRecord) -> SaeKeyRecord:
    """The tombstone of a key, which is forgotten later."""
    state.schedule(state.time_ms + TOMBSTONE_MS, FORGET, record.key_id)
    return replace(record, sealed=b"")


def _drawn_before(state: State, command: DrawSaeKeys, known: Sequence[SaeKeyRecord | None]) -> Outcome:
    """A node draws key_IDs once: all of them there, of these parties, are this very draw."""
    parties = command.master, command.slaves
    if any(record is None or (record.master, record.slaves) != parties for record in known):
        raise Refusal("SAE_KEY_EXISTS", "a key_ID of the draw exists already; draw others")
    return Outcome(state.revision, note="already drawn")


def _waits(record: SaeKeyRecord, slave: str) -> bool:
    """Whether the key is held, and not given to this slave before; a stranger is told apart afterwards."""
    return bool(record.sealed) and slave not in record.collected
