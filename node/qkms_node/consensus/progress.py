"""What a leader knows of one follower's log, and what it may send next. Pure.

Mends a livelock of PySyncObj (C): each mismatch answer there re-sends the
whole tail in batches, each of which draws its own mismatch. Here one probe is
outstanding until the logs match, answers to older probes are ignored, and
only then entries are sent ahead, within a window. The acknowledged index
never moves back within a term.
"""

import enum
from collections import deque


class Mode(enum.Enum):
    """PROBE: finding where the logs agree. STREAM: sending ahead. SNAPSHOT: the log does not reach back."""

    PROBE = 1
    STREAM = 2
    SNAPSHOT = 3


class Progress:
    """`match`: durably held by the follower. `next`: first entry not yet sent. `appended_at`: last sent to."""

    def __init__(self, next_index: int) -> None:
        self.mode = Mode.PROBE
        self.match = 0
        self.next = next_index
        self.commit_sent = 0
        self.appended_at = float("-inf")
        self._seq = 0
        self._probe: int | None = None
        self._sent: deque[tuple[int, int]] = deque()  # (seq, bytes) not yet answered
        self._sent_bytes = 0

    def number(self) -> int:
        """The number of the next message."""
        self._seq += 1
        return self._seq

    @property
    def probing(self) -> bool:
        """Whether a probe waits for its answer."""
        return self._probe is not None

    def probed(self, seq: int) -> None:
        """`seq` is now the only probe whose answer counts."""
        self._probe = seq

    def has_room(self, max_bytes: int, max_messages: int) -> bool:
        """Whether the window lets another message out."""
        return self._sent_bytes < max_bytes and len(self._sent) < max_messages

    def sent(self, seq: int, last_index: int, size: int) -> None:
        """Entries up to `last_index` are under way."""
        self.next = last_index + 1
        self._sent.append((seq, size))
        self._sent_bytes += size

    def accepted(self, seq: int, index: int) -> None:
        """The follower durably holds the log up to `index`."""
        self.match = max(self.match, index)
        while self._sent and self._sent[0][0] <= seq:
            self._sent_bytes -= self._sent.popleft()[1]
        if self.mode is Mode.PROBE and seq == self._probe:
            self.mode = Mode.STREAM
            self._probe = None
            self.next = self.match + 1

    def refused(self, seq: int, index: int) -> bool:
        """The logs differ; `index` is the follower's proposal of where to look. False: an old answer."""
        if self.mode is Mode.SNAPSHOT or (self.mode is Mode.PROBE and seq != self._probe):
            return False
        self.restart(max(1, min(index + 1, self.next - 1)))
        return True

    def restart(self, next_index: int) -> None:
        """Goes back to probing at `next_index`."""
        self.mode = Mode.PROBE
        self.next = next_index
        self._probe = None
        self._sent.clear()
        self._sent_bytes = 0
