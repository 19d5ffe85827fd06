"""What every command is made of: the request it answers, and its place in the encoding.

The encoding is msgpack of tagged structs: a command is a map with its tag
under `t`. The commands themselves are in `key_commands`, `root_commands` and
`session_commands`; `commands` gathers them.
"""

import msgspec


class Request(msgspec.Struct, frozen=True):
    """Who asks, and the identity of the request for deduplication.

    `request_id` is a UUID chosen by the caller; `fingerprint` is SHA-256 (32
    bytes) over the principal, the method and the canonical request.
    """

    request_id: str
    fingerprint: bytes
    principal: str


class Command(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True):
    """Base of all commands."""


class Asked(Command, frozen=True):
    """A command that a client asked for: policy has decided on it, and the audit names its principal."""

    request: Request


class Mutation(Asked, frozen=True):
    """A command whose outcome is remembered: repeated, its request is answered from memory."""
