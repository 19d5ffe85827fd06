"""The audit of calls: one record for each call of this node, durable before the call is answered.

Records wait in a queue; one thread writes all that wait and syncs the file
once, so that many calls share one fsync. While the file cannot be written,
`failure` says why, and the thread tries again every second. With `refuse` calls
are then refused with AUDIT_UNAVAILABLE; without, they are served, records are
lost, and the first record after says how many.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from qkms.audit import AuditBroken, append
from qkms_node.access.chain_files import ChainFiles
from qkms_node.errors import QkmsError

log = structlog.get_logger(__name__)

PROBE_S = 1.0
MAX_WAITING = 20_000

_Waiting = tuple[Mapping[str, Any], "asyncio.Future[None] | None"]


class CallLog:
    """The queue, its thread, and the state of the file."""

    def __init__(
        self, files: ChainFiles, refuse: bool, now_ms: Callable[[], int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._files = files
        self._refuse = refuse
        self._now_ms = now_ms
        self._loop = loop
        self._waiting: list[_Waiting] = []
        self._wake = threading.Condition()
        self._closing = False
        self._told_lost = 0
        self.lost = 0
        """Records that could not be written since the start."""
        self.failure = ""
        """Why records cannot be written; empty: they can."""
        self.head = files.head
        """How far the chain is on the disk."""
        self._thread = threading.Thread(target=self._run, name="qkms-audit", daemon=True)

    def start(self) -> None:
        """Opens the file and starts the thread."""
        self._try_open()
        self._thread.start()

    def close(self) -> None:
        """Writes what waits, ends the thread and closes the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._files.close()

    def require(self) -> None:
        """Raises QkmsError AUDIT_UNAVAILABLE while calls must be refused."""
        if self._refuse and self.failure:
            raise unavailable(self.failure)

    async def record(self, fields: Mapping[str, Any]) -> None:
        """Returns when the record is durable, or at once where a lost record refuses no call.

        Raises QkmsError AUDIT_UNAVAILABLE.
        """
        if not self._refuse:
            self.leave(fields)
            return
        written: asyncio.Future[None] = self._loop.create_future()
        with self._wake:
            if self._closing:
                raise unavailable("the node is stopping")
            self._waiting.append((fields, written))
            self._wake.notify()
        await written

    def leave(self, fields: Mapping[str, Any]) -> None:
        """Leaves a record to be written; nobody waits for it."""
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                self.lost += 1
                return
            self._waiting.append((fields, None))
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    if not self._wake.wait(PROBE_S) and self.failure:
                        break
                batch, self._waiting = self._waiting, []
                closing = self._closing
            if batch or (self.failure and not closing):
                self._write(batch)
            if closing and not batch:
                return

    def _write(self, batch: list[_Waiting]) -> None:
        recovering = bool(self.failure)
        if not recovering or self._try_open():
            records = [fields for fields, _ in batch]
            if recovering:
                lost = self.lost - self._told_lost
                records.insert(0, {"time_ms": self._now_ms(), "method": "audit/resumed", "lost": lost})
            try:
                self._append(records)
            except OSError as error:
                self._fail(f"{error.strerror or error}")
            except (TypeError, ValueError) as error:
                # A fault of the program. The thread must outlive it: calls would wait for ever.
                self._fail(f"a record cannot be encoded: {type(error).__name__}")
            else:
                if recovering:
                    log.warning("audit.resumed", lost=self.lost - self._told_lost)
                    self._told_lost = self.lost
                self.failure = ""
        self._settle(batch)

    def _append(self, records: list[Mapping[str, Any]]) -> None:
        lines, head = [], self._files.head
        for fields in records:
            line, head = append(head, fields)
            lines.append(line)
        self._files.write(lines, head)
        self.head = head

    def _try_open(self) -> bool:
        if self._files.is_open:
            return True
        try:
            self._files.open()
        except OSError as error:
            self._fail(f"{error.strerror or error}")
        except AuditBroken as broken:
            self._fail(f"{broken}; move the audit folder aside to begin a new chain, and keep it")
        else:
            self.head = self._files.head
            return True
        return False

    def _fail(self, why: str) -> None:
        if why != self.failure:
            log.error("audit.failed", reason=why)
        self.failure = why

    def _settle(self, batch: list[_Waiting]) -> None:
        self.lost += len(batch) if self.failure else 0
        waiting = [written for _, written in batch if written is not None]
        if waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waiting, self.failure)


def unavailable(why: str) -> QkmsError:
    """The refusal of a call whose record could not be written."""
    return QkmsError(
        "AUDIT_UNAVAILABLE",
        f"this node cannot write its audit ({why}) and refuses calls until it can; use another node",
        retry_after_s=PROBE_S,
    )


def _resolve(waiting: "list[asyncio.Future[None]]", failure: str) -> None:
    for written in waiting:
        if written.done():  # its call was cancelled
            continue
        if failure:
            written.set_exception(unavailable(failure))
        else:
            written.set_result(None)
