"""Commands that bring a backup into a cluster without keys."""

from qkms_node.ledger.command import Command, Mutation


class RestorePart(Command, frozen=True, tag="restore_part"):
    """The next rows of the backup's ledger, as `snapshot` made them.

    `commitments`, with part 0: to the roots that come with it, for this cluster, by epoch.
    """

    restore_id: str
    part: int
    rows: tuple[bytes, ...]
    commitments: dict[int, bytes] = {}


class FinishRestore(Mutation, frozen=True, tag="finish_restore"):
    """Puts the ledger of the backup in the place of this cluster's.

    `node_id` holds the roots; `voters` are this cluster's; `same_cluster`: whether the backup
    is of a cluster of the same id.
    """

    restore_id: str
    parts: int
    node_id: str
    voters: tuple[str, ...]
    same_cluster: bool
