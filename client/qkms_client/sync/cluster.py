"""ClusterService and QkdService: status, links, the root."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from qkms_client.base import new_request_id
from qkms_client.errors import QkmsError
from qkms_client.flows import cluster as flows
from qkms_client.sync.runner import Runner
from qkms_client.types import Link, LinkAlarm, LinkSample, NodeStatus, RootRotation


class ClusterCalls(Runner):
    """`node` is a node id of the profile; None: any healthy node."""

    def status(self, node: str | None = None, *, timeout: float | None = None) -> NodeStatus:
        """A node's own view of itself and the cluster; served without a quorum too."""
        return self._run(flows.status(self._rules, self._known(node), timeout))

    def status_of_all(self, *, timeout: float | None = None) -> dict[str, NodeStatus | QkmsError]:
        """The status of every node of the profile, or the error with which it failed.

        `timeout` is for each, by default that of one attempt.
        """
        limit = self.profile.attempt_timeout_s if timeout is None else timeout

        def ask(node: str) -> NodeStatus | QkmsError:
            try:
                return self.status(node, timeout=limit)
            except QkmsError as error:
                return error

        with ThreadPoolExecutor(len(self.endpoints)) as pool:
            return dict(zip(self.endpoints, pool.map(ask, self.endpoints), strict=True))

    def list_links(self, node: str | None = None, *, timeout: float | None = None) -> list[Link]:
        """The quantum links of a node as it sees them."""
        return self._run(flows.list_links(self._rules, self._known(node), timeout))

    def list_link_alarms(
        self, node: str | None = None, *, history: bool = False, timeout: float | None = None
    ) -> list[LinkAlarm]:
        """The alarms of a node's links that are raised, most severe first.

        With `history` every step of every alarm that the node has kept, oldest first.
        """
        return self._run(flows.list_link_alarms(self._rules, self._known(node), history=history, timeout=timeout))

    def list_link_samples(self, node: str, peer: str, *, timeout: float | None = None) -> list[LinkSample]:
        """What `node` saw of its link to the node `peer`: a look a minute of the last day, then the last looks.

        Raises LinkNotFound.
        """
        return self._run(flows.list_link_samples(self._rules, self._known(node), peer, timeout))

    def rotate_root(
        self,
        *,
        expected_epoch: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> RootRotation:
        """Asks for a new root epoch; it becomes active once a quorum has confirmed it: watch or poll.

        Raises EpochConflict, StoreExhausted, OutcomeUnknown.
        """
        return self._run(flows.rotate_root(self._rules, new_request_id(request_id), expected_epoch, timeout))
