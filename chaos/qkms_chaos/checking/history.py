"""What clients did and were told: one operation a line of JSON, written as it ends. No secret is in it.

    {"process": "c3", "call": "rotate", "key": "k1", "args": {...}, "start": 12.3, "end": 12.4,
     "outcome": "ok", "answer": {...}, "node": "node-1"}

Times are seconds of one monotonic clock, of the machine that all clients share. `end` of an operation that
was never answered is null. A plaintext or key is named by its fingerprint, 16 hexadecimal digits of SHA-256.

`outcome` says what is known of the effect: `ok`; `refused`, certainly none, with its stable reason; `unknown`,
perhaps one now, later or never. What a call's args and answer hold, by name (None where it does not apply):

    create    request_id                    -> version, revision, replayed
    rotate    request_id, expected          -> version, epoch, qkd_keys, revision, replayed
    stage     request_id                    -> version, revision, replayed
    activate  request_id, version           -> primary, revision, replayed, already_active
    validate, abort, disable, enable, destroy   request_id, version -> revision, replayed
    get       level, bound_ms               -> primary, revision, level, staleness_ms
    encrypt   fingerprint, level, bound_ms  -> version, revision, level, staleness_ms
    decrypt   version, fingerprint          -> fingerprint, revision, level, staleness_ms

`epoch` is the root epoch that the version is under, `qkd_keys` the key_IDs of the QKD keys in it, separated by
blanks.

Calls that no model of keys knows:

    update    labels of the key are replaced  -> revision
    draw      of the pair `key` (master/slave)  -> key_ids, separated by blanks
    collect   key_ids                           -> key_ids

What is no call on a key, but was seen of the cluster or done to it:

    watch     resumed             -> after          a watch began: after which revision
    event                         -> revision, type, version, state: what a watch told, of key `key`
    watched                                         whether a watch came to the last event of the run
    add, promote, remove                            of the member `key`
    audited                       -> line           a record of the audit, as `node` has it at the end
    members                       -> by member its role, and the one that it acts, as `node` has it at the end

A client (`process`) does one operation after another. Ordering: a line is in the file when its operation has
ended; lines are in the order of their ends.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from qkms_qkd.unreadable import UNREADABLE

CHANGES = frozenset({"create", "rotate", "stage", "validate", "activate", "abort", "disable", "enable", "destroy"})
READS = frozenset({"get", "encrypt", "decrypt"})
"""Calls on a key, of the first kind and of the second."""
WRITES = CHANGES | {"update", "draw", "collect"}
"""All that needs a quorum to be done."""

Value = str | int | float | bool | None | dict[str, str]


class Outcome(StrEnum):
    """What is known of an operation's effect."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class HistoryInvalid(Exception):
    """A file is not a history; the message names the line."""

    code = "HISTORY_INVALID"


class Op(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One operation of one client. `node`: who answered."""

    process: str
    call: str
    key: str
    start: float
    end: float | None
    outcome: Outcome
    args: dict[str, Value] = {}
    answer: dict[str, Value] = {}
    reason: str = ""
    node: str = ""

    def __str__(self) -> str:
        until = "never answered" if self.end is None else f"{self.end:.3f}"
        args = ", ".join(f"{name}={value}" for name, value in self.args.items() if value is not None)
        answer = ", ".join(f"{name}={value}" for name, value in self.answer.items() if value is not None)
        told = f"{self.outcome} {self.reason}".strip() + (f" ({answer})" if answer else "")
        return f"[{self.start:.3f} to {until}] {self.process} {self.call} {self.key} ({args}): {told}"


def fingerprint(secret: bytes) -> str:
    """Names a plaintext or key without giving it away (those of a run are random)."""
    return hashlib.sha256(secret).hexdigest()[:16]


class Recorder:
    """Appends operations to a file; from any thread. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self.ops: list[Op] = []

    def __enter__(self) -> "Recorder":
        self._file = self._path.open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, op: Op) -> None:
        """Writes the operation; it is in the file on return."""
        line = msgspec.json.encode(op) + b"\n"
        with self._lock:
            assert self._file is not None, "enter the recorder first"
            self._file.write(line)
            self._file.flush()
            self.ops.append(op)


def read(path: Path) -> list[Op]:
    """The operations of a file, but for a last line that a crash left unfinished. Raises HistoryInvalid."""
    data = path.read_bytes()
    lines = data.split(b"\n")
    return [_op(line, number) for number, line in enumerate(lines[:-1], 1) if line.strip()]


def by_key(ops: list[Op]) -> Mapping[str, list[Op]]:
    """The operations on each key, in order of their start."""
    found: dict[str, list[Op]] = {}
    for op in sorted(ops, key=lambda op: op.start):
        found.setdefault(op.key, []).append(op)
    return found


def by_process(ops: list[Op]) -> Iterator[tuple[str, list[Op]]]:
    """The operations of each client, in order of their start."""
    found: dict[str, list[Op]] = {}
    for op in sorted(ops, key=lambda op: op.start):
        found.setdefault(op.process, []).append(op)
    yield from found.items()


def _op(line: bytes, number: int) -> Op:
    try:
        return msgspec.json.decode(line, type=Op)
    except UNREADABLE as error:
        raise HistoryInvalid(f"line {number} is no operation: {error}") from None
