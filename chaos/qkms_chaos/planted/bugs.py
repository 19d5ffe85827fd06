"""The planted bugs: a few lines of the product replaced, and the scenario that must find it. Pure.

Each breaks one promise, as a programmer might by haste. The text that is replaced must be in the file exactly
once: when the product changes, the plant fails and says so, and is planted anew.
"""

from dataclasses import dataclass

NODE = "node/qkms_node"


@dataclass(frozen=True)
class Edit:
    """`old` becomes `new` in `file`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Planted:
    """`old` becomes `new` in `file`; `scenario`, run with `seed`, is to find it.

    `also`: edits of other files, where a second line of defence would hide the bug.
    """

    breaks: str
    file: str
    old: str
    new: str
    scenario: str
    seed: int = 1
    seconds: float | None = None
    """Length of the run; None: the scenario's own."""
    also: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All of them, each of another file."""
        return Edit(self.file, self.old, self.new), *self.also


BUGS = {
    "no-dedupe": Planted(
        "a repeated request takes effect again",
        f"{NODE}/ledger/apply.py",
        "            if remembered is not None:\n                return remembered\n",
        "            del remembered\n",
        "rotate-lost-reply",
    ),
    "local-leader-read": Planted(
        "a leader answers linearizable reads without asking whether it still is one",
        f"{NODE}/consensus/read_rounds.py",
        "if not core.members.is_quorum({core.id, *(p for p, last in self._answered.items() if last >= seq)}):",
        "if not core.members.is_quorum({core.id, *core.members.other_voters}):",
        "minority-reads",
    ),
    "acknowledge-before-commit": Planted(
        "a leader takes what it has sent for what the others hold",
        f"{NODE}/consensus/core.py",
        "        self._engine._SyncObj__newAppendEntriesTime = self.now() + self.timing.heartbeat_s\n",
        "        self._engine._SyncObj__newAppendEntriesTime = self.now() + self.timing.heartbeat_s\n"
        "        for node in self._engine._SyncObj__raftMatchIndex:\n"
        "            self._engine._SyncObj__raftMatchIndex[node] = self.last_index\n",
        "split-brain-writes",
    ),
    "stale-past-its-bound": Planted(
        "a bounded read is answered however old the state is",
        f"{NODE}/service/freshness.py",
        "        return staleness is not None and staleness <= bound_s\n",
        "        return staleness is not None\n",
        "minority-reads",
    ),
    "disabled-version-decrypts": Planted(
        "a disabled version goes on decrypting",
        f"{NODE}/ledger/transitions.py",
        "DECRYPTS = frozenset({S.ACTIVE, S.DEACTIVATED})",
        "DECRYPTS = frozenset({S.ACTIVE, S.DEACTIVATED, S.SUSPENDED})",
        "split-brain-writes",
    ),
    "no-fsync": Planted(
        "what is acknowledged is not made durable",
        f"{NODE}/consensus/files.py",
        "        os.fdatasync(descriptor)\n",
        "",
        "fsync-error",
    ),
    "activates-before-validation": Planted(
        "a staged version is activated although no quorum has opened it",
        f"{NODE}/ledger/staging_rules.py",
        "    if not staging.validate_ms:\n        raise",
        "    if False:\n        raise",
        "staging-under-partition",
    ),
    "stale-cache-past-its-lease": Planted(
        "a version in the cache is used without a look at how old the state is that allows it",
        f"{NODE}/service/versions.py",
        "        own = Wanted(Level.BOUNDED, 0, known.max_staleness_ms)\n",
        "        own = Wanted(Level.BOUNDED, 0, known.max_staleness_ms)\n"
        "        if any(cached[0] == key_id for cached in self._opened):\n"
        "            return own\n",
        "revocation-under-partition",
    ),
    "qkd-key-delivered-again": Planted(
        "a key that an encryptor has collected is given to it again as new",
        f"{NODE}/ledger/sae_rules.py",
        "        given = replace(record, collected=record.collected | {command.slave: request_id})\n",
        "        given = record\n",
        "northbound-once",
        seconds=8.0,
    ),
    "root-key-taken-again": Planted(
        "a QKD key that was used already is taken again as new, for a root and by the node that draws it",
        f"{NODE}/ledger/root_rules.py",
        "        if key_id in state.qkd_key_epochs:\n",
        "        if False:\n",
        "kme-lies",
        also=(
            Edit(
                f"{NODE}/service/overseeing.py",
                "seen = {key.key_id} if used(key.key_id) else set()",
                "seen: set[str] = set()",
            ),
        ),
    ),
    "key-in-the-log": Planted(
        "a key version that is opened is printed, into the log of its node",
        f"{NODE}/service/versions.py",
        "            check_version(material, key_id, version.version, version.public_key, version.check_value)\n",
        "            check_version(material, key_id, version.version, version.public_key, version.check_value)\n"
        "            print(bytes(material.reveal()).hex(), flush=True)\n",
        "rotate-lost-reply",
        seconds=8.0,
    ),
    "watch-skips-an-event": Planted(
        "a watch that is resumed begins one revision too late",
        f"{NODE}/service/watching.py",
        "            after = revision_of(resume_token)\n",
        "            after = revision_of(resume_token) + 1\n",
        "mixed",
        seconds=12.0,
    ),
    "effect-without-audit": Planted(
        "what disables a version is not written into the audit",
        f"{NODE}/ledger/audit_rules.py",
        "    request = command.request if isinstance(command, Asked) else None\n    _add(",
        "    request = command.request if isinstance(command, Asked) else None\n"
        "    if command.__struct_config__.tag == 'disable_version':\n"
        "        return\n"
        "    _add(",
        "rotate-lost-reply",
        seconds=12.0,
    ),
    "unproven-link-key": Planted(
        "two nodes seal their traffic under QKD keys that differ",
        f"{NODE}/consensus/link_keys.py",
        "compare_digest(self._proof(Drawn(offer.key_id, secret), peer, self._id, offer.nonce), offer.proof):",
        "len(offer.proof) == 32:",
        "kme-lies",
    ),
}
