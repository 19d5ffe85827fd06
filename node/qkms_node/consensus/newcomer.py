"""A member whose disk is new votes only to found a cluster, until it has caught up.

A member that lost its disk and comes back under its old id may have
acknowledged entries that it no longer holds. Were it to vote at once, a
majority could elect a leader without them. So, from the first creation of the
journal until the log is known to hold everything that was committed, this
member supports only candidates whose log is empty too, itself included: those
found a cluster.
That makes rebuilding a damaged member safe: move its data directory aside,
start it again. It does not protect a majority that loses its disks.
"""

from pathlib import Path

from qkms_node.consensus.files import make_folder, remove, sync_folder

_MARK = "newcomer"


class Newcomer:
    """Durable in `folder`: a mark made before a new journal's first segment.

    It is removed by `settle` after the flush that makes durable what ended it: a member killed in
    between is still a newcomer.
    """

    def __init__(self, folder: Path) -> None:
        self._mark = folder / _MARK
        make_folder(folder)
        if not any(folder.iterdir()):
            self._mark.touch(mode=0o600)
            sync_folder(folder)
        self.active = self._marked = self._mark.exists()

    def supports(self, last_term: int) -> bool:
        """Whether a candidate whose last entry is of `last_term` may have this member's vote."""
        return not self.active or last_term == 0

    def caught_up(self) -> None:
        """The log holds everything that was committed when a leader of its own term last spoke."""
        self.active = False

    def founded(self) -> None:
        """This member voted, for itself or for another whose log is empty: it founds a cluster."""
        self.active = False

    def settle(self) -> None:
        """What ended the newcomer's time is durable. Raises DiskFault."""
        if self._marked and not self.active:
            remove(self._mark)
            sync_folder(self._mark.parent)
            self._marked = False
