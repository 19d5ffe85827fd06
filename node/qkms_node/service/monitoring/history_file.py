"""The file of what a node keeps of its links over a restart: `links.history` in its data folder.

Holds no secret. Replaced whole, with every step of an alarm and otherwise each
five minutes: a crash loses what was seen since, and no step. A file that cannot
be read is set aside in the log and begun anew, for a node without its history
still serves; the baselines are then learnt again.
"""

from pathlib import Path

import msgspec
import structlog

from qkms_node.files import write_durably
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.baseline import Baseline
from qkms_node.service.monitoring.look import Look

log = structlog.get_logger(__name__)

FILE_NAME = "links.history"


class Suspicion(msgspec.Struct, frozen=True):
    """Keys distilled from `since_s` to `until_s` (Unix seconds; None: still) are in doubt."""

    since_s: float
    until_s: float | None = None


class LinkHistory(msgspec.Struct, frozen=True):
    """What is kept of one link."""

    baseline: Baseline
    raised: list[Alarm]
    suspicions: list[Suspicion]
    samples: list[Look]


class History(msgspec.Struct, frozen=True, tag="qkms-links-1"):
    """What is kept of all links, by peer and KME, and the steps of their alarms, oldest first."""

    links: dict[str, LinkHistory] = {}
    steps: list[Alarm] = []


class HistoryUnreadable(Exception):
    """Bytes that are no history of this release."""


def decode_history(raw: bytes) -> History:
    """The history that a file holds. Raises HistoryUnreadable."""
    try:
        return msgspec.msgpack.decode(raw, type=History)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HistoryUnreadable(f"{type(error).__name__}: {error}") from error


class HistoryFile:
    """The file, or nothing at a node without a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE_NAME if folder is not None else None
        self._failed = False

    def read(self) -> History:
        """What was kept; an empty history when there is none that can be read."""
        if self._path is None or not self._path.exists():
            return History()
        try:
            return decode_history(self._path.read_bytes())
        except (OSError, HistoryUnreadable) as error:
            log.warning("links.history_unreadable", file=str(self._path), error=str(error))
            return History()

    def write(self, history: History) -> None:
        """Keeps this in place of what was kept. A failure is logged: monitoring goes on without."""
        if self._path is None:
            return
        try:
            write_durably(self._path, msgspec.msgpack.encode(history))
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("links.history_not_written", file=str(self._path), error=str(error))
            self._failed = True
