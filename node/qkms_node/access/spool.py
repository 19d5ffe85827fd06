"""Mutation records on this node's disk, before they leave the ledger's window.

Called with every applied command, in order, under the ledger's lock. Records
are written in batches far smaller than the window, one fsync each; those of
the last batch not yet full are in the ledger alone. A node that was given a
snapshot from far ahead has a gap, which its peers' files fill.
"""

from itertools import islice
from pathlib import Path

import structlog

from qkms.audit import MUTATIONS_GENESIS, AuditBroken, Head, head_of, number_of
from qkms_node.access.chain_files import ChainFiles
from qkms_node.ledger.state import State

log = structlog.get_logger(__name__)

STEM = "mutations"
BATCH = 1_000


class Spool:
    """Follows the chain of mutations onto the disk."""

    def __init__(self, folder: Path, rotate_bytes: int, batch: int = BATCH) -> None:
        self._files = ChainFiles(folder, STEM, Head(0, MUTATIONS_GENESIS), rotate_bytes)
        self._batch = batch
        self.failure = ""
        """Why records cannot be written; empty: they can."""

    def start(self) -> None:
        """Finds out how far the files go, and takes a failure back. Not beside `follow`."""
        try:
            self._files.open()
        except OSError as error:
            self._fail(f"{error.strerror or error}")
        except AuditBroken as broken:
            self._fail(f"{broken}; move the audit folder aside to begin new files, and keep it")
        else:
            self.failure = ""

    def follow(self, state: State) -> None:
        """Writes what the files lack once it fills a batch. Never raises; after a failure, `start` goes on."""
        if not self._files.is_open or state.audit_length - self._files.head.length < self._batch:
            return
        missing = min(state.audit_length - self._files.head.length, len(state.audit))
        lines = list(islice(state.audit, len(state.audit) - missing, None))
        if number_of(lines[0]) != self._files.head.length + 1:
            log.warning("audit.gap", first=self._files.head.length + 1, last=number_of(lines[0]) - 1)
        try:
            self._files.write(lines, head_of(lines[-1]))
        except OSError as error:
            self._fail(f"{error.strerror or error}")

    def close(self) -> None:
        """Closes the file."""
        self._files.close()

    def _fail(self, why: str) -> None:
        if why != self.failure:
            log.error("audit.spool_failed", reason=why)
        self.failure = why
