"""One-time tokens: who was invited, and the one certificate that each invitation gave.

A token is known by its SHA-256 only: it has 256 random bits, so neither salt
nor slow hashing adds anything. Using it and remembering the certificate are
one entry, so that no crash or race can separate them: a token gives one
certificate to one request, and the same request always the same one.
"""

import hmac

from msgspec.structs import replace

from qkms_node.ledger.commands import Outcome, RedeemToken
from qkms_node.ledger.member_records import JoinTokenRecord
from qkms_node.ledger.state import Refusal, State

FORGET = "forget_token"

# An expired token is remembered this long, to tell its late user what happened.
MEMORY_MS = 24 * 3600 * 1000


def invite(state: State, node_id: str, token_hash: bytes, ttl_ms: int) -> None:
    """Replaces any earlier token of this node."""
    token = JoinTokenRecord(node_id, token_hash, state.time_ms + ttl_ms)
    state.join_tokens[node_id] = token
    state.schedule(token.expire_ms + MEMORY_MS, FORGET, node_id)


def check_token(state: State, node_id: str, token_hash: bytes, csr_hash: bytes, time_ms: int) -> JoinTokenRecord:
    """The token, if this request may use it or has used it. Raises Refusal."""
    token = state.join_tokens.get(node_id)
    if token is None or not hmac.compare_digest(token.token_hash, token_hash):
        raise Refusal(
            "JOIN_TOKEN_INVALID",
            f"this is no token for {node_id}: it was given for another node, or replaced by a newer one; "
            "ask the operator for one (qkms cluster add)",
            node_id=node_id,
        )
    if token.csr_hash:
        if token.csr_hash == csr_hash:
            return token
        raise Refusal(
            "JOIN_TOKEN_USED",
            f"the token of {node_id} has given its certificate to another request; "
            "if that was not you, tell the operator at once, who can remove the node",
            node_id=node_id,
        )
    if token.expire_ms <= time_ms:
        raise Refusal(
            "JOIN_TOKEN_EXPIRED",
            f"the token of {node_id} has expired; ask the operator for a new one (qkms cluster add)",
            node_id=node_id,
        )
    return token


def redeem_token(state: State, command: RedeemToken) -> Outcome:
    """Gives the certificate to the request that came first, and the same to its repetitions."""
    token = check_token(state, command.node_id, command.token_hash, command.csr_hash, state.time_ms)
    if token.csr_hash:
        return Outcome(state.revision, note="already given", certificate=token.certificate)
    state.join_tokens[token.node_id] = replace(token, csr_hash=command.csr_hash, certificate=command.certificate)
    return Outcome(state.revision + 1, changed=True, certificate=command.certificate)


def forget_due(state: State, node_id: str, due_ms: int) -> bool:
    """Drops a token that expired long ago, unless a newer one took its place; True if there was one."""
    token = state.join_tokens.get(node_id)
    if token is None or token.expire_ms + MEMORY_MS > due_ms:
        return False
    del state.join_tokens[node_id]
    return True
