"""`qkms cluster`: members as an operator sees and changes them."""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import click

from qkms_client.cli import options
from qkms_client.cli.failure import UNAVAILABLE
from qkms_client.cli.options import Settings
from qkms_client.cli.output import plain, print_json, table
from qkms_client.errors import QkmsError
from qkms_client.sync.client import Client
from qkms_client.types import Member, MemberRole, NodeStatus

WAIT_S = 60.0
POLL_S = 0.3

no_wait = click.option("--no-wait", is_flag=True, help="Return when it is recorded, before it is done.")


@click.group()
def cluster() -> None:
    """The members of the cluster: add, promote, remove, and who leads.

    A change is recorded at once and carried out by the leader; commands wait for it and show what it
    waits for. Ctrl-C ends the waiting, not the change.

    \b
    Examples:
      qkms cluster members
      qkms cluster add node-4 --raft-address 10.0.0.4:9101 --rpc-address 10.0.0.4:9201
      qkms cluster promote node-4
      qkms cluster remove node-1
    """


@cluster.command()
@click.option("--node", help="As this node sees them. Default: the leader, who knows most.")
@options.common
def members(settings: Settings, node: str | None) -> None:
    """Who takes part, as what, and how far each is behind the leader.

    link: what protects the Raft traffic between the answering node and the member: TLS, or QKD keys inside TLS.
    """
    with settings.client() as client:
        found = client.list_members(node)
    if settings.json:
        print_json(found)
        return
    columns = ("node", "role", "acting", "connected", "link", "behind", "root", "rpc", "raft", "trouble")
    click.echo(table(columns, [_row(member) for member in found]))


@cluster.command()
@click.argument("node_id")
@click.option("--raft-address", required=True, metavar="HOST:PORT", help="Where the other members dial it.")
@click.option("--rpc-address", required=True, metavar="HOST:PORT", help="Where clients are sent.")
@click.option("--sae-id", help="Its name towards the KMEs. Default: its node id.")
@click.option(
    "--token-ttl",
    type=click.IntRange(1, 7 * 24 * 3600),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long its token is good.",
)
@no_wait
@options.request_id
@options.common
def add(
    settings: Settings,
    node_id: str,
    raft_address: str,
    rpc_address: str,
    sae_id: str | None,
    token_ttl: int,
    no_wait: bool,
    request_id: UUID | None,
) -> None:
    """Let a new node join, as a learner: prints the command to run there, with its one-time token.

    The token is shown once. Run the command again for another one; the node is added once.
    """
    with settings.client() as client:
        invitation = client.add_member(
            node_id,
            raft_address,
            rpc_address,
            sae_id=sae_id,
            token_ttl=timedelta(seconds=token_ttl),
            request_id=request_id,
        )
        server = _enrol_address(client)
        if not no_wait:
            _wait(client, settings, f"{node_id} to be let in", lambda seen: _acts(seen, node_id, *MemberRole))
    # Shown on purpose, and only here: it is what the operator asked for.
    if settings.json:
        print_json(
            {
                "member": plain(invitation.member),
                "token": "" if invitation.replayed else invitation.token,
                "token_ttl": token_ttl,
                "ca_fingerprint": invitation.ca_fingerprint,
                "server": server,
                "replayed": invitation.replayed,
                "request_id": invitation.request_id,
            }
        )
    elif invitation.replayed:
        click.echo(f"{node_id} was added before by this request; run it without --request-id for a new token")
    else:
        click.echo(
            f"{node_id} may join within {token_ttl} s. Run there:\n"
            f"  qkms-node join --token {invitation.token} \\\n"
            f"    --server {server or 'HOST:PORT (of a node with an [enrol] section)'} \\\n"
            f"    --ca-fingerprint {invitation.ca_fingerprint}"
        )


@cluster.command()
@click.argument("node_id")
@no_wait
@options.request_id
@options.common
def promote(settings: Settings, node_id: str, no_wait: bool, request_id: UUID | None) -> None:
    """Let a learner vote, once it has caught up."""
    with settings.client() as client:
        change = client.promote_member(node_id, request_id=request_id)
        if not no_wait:
            _wait(client, settings, f"{node_id} to vote", lambda seen: _acts(seen, node_id, MemberRole.VOTER))
    _say(settings, change, f"{node_id} {'is to vote' if no_wait else 'votes'}")


@cluster.command()
@click.argument("node_id")
@no_wait
@options.request_id
@options.common
def remove(settings: Settings, node_id: str, no_wait: bool, request_id: UUID | None) -> None:
    """Take a member out. A leader hands over first; a new root epoch follows, which the member never sees."""
    with settings.client() as client:
        change = client.remove_member(node_id, request_id=request_id)
        if not no_wait:
            _wait(client, settings, f"{node_id} to be out", lambda seen: node_id not in seen)
    _say(settings, change, f"{node_id} is {'to go' if no_wait else 'no member any more'}")


@cluster.command()
@click.argument("target", required=False)
@no_wait
@options.request_id
@options.common
def transfer(settings: Settings, target: str | None, no_wait: bool, request_id: UUID | None) -> None:
    """Let TARGET, or any other voter, lead."""
    with settings.client() as client:
        before = _leader(client)
        change = client.transfer_leadership(target, request_id=request_id)

        def done(_: dict[str, Member]) -> bool:
            leader = _leader(client)
            return leader == target if target else leader not in ("", before)

        if not no_wait:
            _wait(client, settings, f"{target or 'another voter'} to lead", done)
        leader = _leader(client)
    _say(settings, change, f"{leader or 'nobody'} leads")


def _wait(client: Client, settings: Settings, what: str, done: Callable[[dict[str, Member]], bool]) -> None:
    """Looks until `done`, showing on stderr what is in the way. Ends with code 4 when time is up."""
    deadline = time.monotonic() + (settings.timeout or WAIT_S)
    shown = ""
    while True:
        try:
            seen = {member.id: member for member in client.list_members()}
            if done(seen):
                return
            trouble = "; ".join(f"{m.id}: {m.trouble}" for m in seen.values() if m.trouble)
        except QkmsError as error:
            trouble = str(error)
        if trouble and trouble != shown and not settings.json:
            click.echo(f"waiting for {what}: {trouble}", err=True)
            shown = trouble
        if time.monotonic() >= deadline:
            click.echo(f"qkms: recorded, and {what} takes longer; follow it with qkms cluster members", err=True)
            raise click.exceptions.Exit(UNAVAILABLE)
        time.sleep(POLL_S)


def _acts(seen: dict[str, Member], node_id: str, *roles: MemberRole) -> bool:
    return node_id in seen and seen[node_id].acting_role in set(roles) - {MemberRole.UNSPECIFIED}


def _leader(client: Client) -> str:
    header = client.status().header
    return header.leader_id if header is not None else ""


def _enrol_address(client: Client) -> str:
    answers = client.status_of_all().values()
    return next((a.enrol_address for a in answers if isinstance(a, NodeStatus) and a.enrol_address), "")


def _say(settings: Settings, change: object, text: str) -> None:
    if settings.json:
        print_json(change)
    else:
        click.echo(text)


def _link(member: Member) -> str | None:
    if member.qkd_sealed is None or not member.connected:
        return None
    return "TLS+QKD" if member.qkd_sealed else "TLS"


def _row(member: Member) -> tuple[object, ...]:
    role = member.role.name.lower() if member.role else "to go"
    acting = member.acting_role.name.lower() if member.acting_role else None
    return (
        member.id,
        role,
        acting,
        "yes" if member.connected else "no",
        _link(member),
        member.behind,
        "yes" if member.holds_root else "no",
        member.rpc_address,
        member.raft_address,
        member.trouble,
    )
