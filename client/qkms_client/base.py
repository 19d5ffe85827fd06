"""What both clients are made of besides their transport."""

import random
from uuid import UUID, uuid4

from qkms_client import names
from qkms_client.call import Rules
from qkms_client.errors import ProfileInvalid
from qkms_client.profile import Profile
from qkms_client.routing import Router
from qkms_client.tokens import RevisionToken


class ClientState:
    """Profile, rules and identity of a client."""

    def __init__(self, profile: Profile, *, revision: int = 0) -> None:
        self.profile = profile
        self.principal = profile.principal()
        self._rules = Rules(
            router=Router(profile.endpoints),
            token=RevisionToken(revision),
            spread=random.Random(),  # noqa: S311  (spreads retries over time, protects nothing)
            timeout=profile.timeout_s,
            attempt_timeout=profile.attempt_timeout_s,
        )

    @property
    def revision(self) -> int:
        """The highest ledger revision seen: pass it to another client to carry on where this one is."""
        return self._rules.token.revision

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The ids of the nodes in the profile."""
        return self._rules.router.endpoints

    def _known(self, node: str | None) -> str | None:
        if node is not None and node not in self.profile.endpoints:
            raise ProfileInvalid(f"endpoints: {node} is not among {', '.join(self.endpoints)}")
        return node


def new_request_id(given: str | UUID | None) -> str:
    """The caller's request_id in canonical form, or a fresh one. Raises ValueError."""
    return names.request_id(given if given is not None else uuid4())
