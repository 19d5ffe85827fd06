"""`qkms audit`: what was done, by whom, and whether the records still say so."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import click

from qkms_client import audit_export
from qkms_client.access_types import AuditChain, AuditRecord, AuditVerdict
from qkms_client.cli import options
from qkms_client.cli.failure import UNAVAILABLE, UNTRUSTED
from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json, table
from qkms_client.errors import QkmsError
from qkms_client.sync.client import Client

CHAINS = {"mutations": AuditChain.MUTATIONS, "calls": AuditChain.CALLS}
EXPORT_PAGE = 1_000
TAMPERED = """\
  what to do: somebody or a disk changed what was written. Keep the files as they are, export the chain from the
  other nodes too, and compare; SECURITY.md, Audit, says how a node begins a new chain."""


class TimeType(click.ParamType[datetime]):
    """RFC 3339; without an offset it is UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time. Fails as a usage error."""
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{value!r} is not a time like 2026-01-31T12:00:00Z", ctx, param) from None


@click.group()
def audit() -> None:
    """Query, export and verify the audit.

    `mutations` are in the ledger, the same at every node; `calls` are each node's own.

    \b
    Examples:
      qkms audit query calls --node node-1 --code PERMISSION_DENIED
      qkms audit verify
      qkms audit export audit-2026-01 && qkms audit verify audit-2026-01
    """


@audit.command()
@click.argument("chain", type=click.Choice(list(CHAINS)))
@click.option("--node", help="The node to ask. Default: any healthy one.")
@click.option("--principal", default="", metavar="PATTERN")
@click.option("--method", default="", metavar="PATTERN", help="As CryptoService/Encrypt, or a ledger command.")
@click.option("--resource", default="", metavar="PATTERN", help="As keys/payments.")
@click.option("--code", default="", metavar="PATTERN", help="As OK or PERMISSION_DENIED.")
@click.option("--of-request", default="", metavar="UUID", help="Records of this request_id.")
@click.option("--start", type=TimeType(), help="From this time on.")
@click.option("--end", type=TimeType(), help="Before this time.")
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True)
@options.common
def query(
    settings: Settings,
    chain: str,
    node: str | None,
    principal: str,
    method: str,
    resource: str,
    code: str,
    of_request: str,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> None:
    """Print records, oldest first. Patterns know `*`.

    A record that does not follow the one before it is printed whatever was asked for, and told on
    stderr with its file and line; the command then ends with code 6.
    """
    found: list[AuditRecord] = []
    with settings.client() as client:
        for record in client.query_audit(
            CHAINS[chain],
            node=node,
            principal=principal,
            method=method,
            resource=resource,
            code=code,
            request_id=of_request,
            start_time=start,
            end_time=end,
        ):
            found.append(record)
            if len(found) == limit:
                break
    if settings.json:
        for record in found:
            click.echo(record.line.decode("ascii", "replace"))
    else:
        columns = ("number", "time", "principal", "method", "resource", "code", "decided by")
        click.echo(table(columns, map(_row, found)))
    _tell_damage([f"{chain}: {record.damage}" for record in found if record.damage])


@audit.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--trust",
    multiple=True,
    metavar="KEY_ID",
    help="With FOLDER: believe anchors under this audit key only. May be repeated; see `qkms audit head`.",
)
@options.common
def verify(settings: Settings, folder: Path | None, trust: tuple[str, ...]) -> None:
    """Verify an export in FOLDER without any node; or else let every node verify its own files.

    Names the first broken record of each chain, and ends with code 6 if there is one.
    """
    if folder is not None:
        verdicts = [("-", verdict) for verdict in audit_export.check(folder, trust)]
        failed = False
    else:
        verdicts, failed = _ask_all(settings)
    if settings.json:
        print_json([verdict for _, verdict in verdicts])
    else:
        columns = ("node", "chain", "intact", "records", "anchors", "first broken", "problem")
        click.echo(table(columns, [_verdict_row(node, verdict) for node, verdict in verdicts]))
    broken = [(node, verdict) for node, verdict in verdicts if not verdict.intact]
    _tell_damage([f"{n}: {v.chain}: record {v.broken_record} {v.problem}" for n, v in broken])
    if failed:
        raise click.exceptions.Exit(UNAVAILABLE)


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=False))
@options.common
def export(settings: Settings, folder: Path) -> None:
    """Write the audit of all nodes of the profile, with its anchors, into a new FOLDER.

    Damaged records are written as they are and told on stderr; the command then ends with code 6.
    """
    damage: list[str] = []
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be made: {error.strerror}; choose a new folder") from error
    with settings.client() as client:
        # Heads first: records that come after them are exported too, and do no harm.
        heads = [client.audit_heads(node) for node in client.endpoints]
        anchors, keys = client.list_anchors()
        cluster_id = client.status().cluster_id
        audit_export.write_anchors(folder, cluster_id, keys, anchors, heads)
        counts = {"mutations": _write(client, folder / "mutations.jsonl", AuditChain.MUTATIONS, None, damage)}
        for node in client.endpoints:
            file = folder / audit_export.calls_file(node)
            counts[f"calls of {node}"] = _write(client, file, AuditChain.CALLS, node, damage)
    if settings.json:
        print_json(counts)
    else:
        click.echo(table(("chain", "records"), counts.items()))
    _tell_damage(damage)


@audit.command()
@options.common
def head(settings: Settings) -> None:
    """Show how far the chains of each node have come, and under which key it signs."""
    with settings.client() as client:
        heads = [client.audit_heads(node) for node in client.endpoints]
    if settings.json:
        print_json(heads)
        return
    rows = [
        (h.node_id, h.mutations_length, h.mutations_head.hex()[:12], h.calls.length, h.calls.key_id, h.failure)
        for h in heads
    ]
    click.echo(table(("node", "mutations", "head", "calls", "audit key", "failure"), rows))


@audit.command()
@click.argument("node")
@options.request_id
@options.common
def anchor(settings: Settings, node: str, request_id: UUID | None) -> None:
    """Let NODE anchor its calls in the ledger now."""
    with settings.client() as client:
        made = client.anchor_audit(node, request_id=request_id)
    if settings.json:
        print_json(made)
    else:
        click.echo(f"{made.node_id} anchored {made.length} calls at revision {made.revision}")


def _ask_all(settings: Settings) -> tuple[list[tuple[str, AuditVerdict]], bool]:
    verdicts: list[tuple[str, AuditVerdict]] = []
    failed = False
    with settings.client() as client:
        for node in client.endpoints:
            try:
                verdicts += [(node, verdict) for verdict in client.verify_audit(node)]
            except QkmsError as error:
                failed = True
                click.echo(f"qkms: {node}: {error}", err=True)
    return verdicts, failed


def _tell_damage(found: list[str]) -> None:
    """Ends the command with code 6 if there is damage."""
    if not found:
        return
    for each in found:
        click.echo(f"qkms: damaged audit: {each}", err=True)
    click.echo(TAMPERED, err=True)
    raise click.exceptions.Exit(UNTRUSTED)


def _write(client: Client, path: Path, chain: AuditChain, node: str | None, damage: list[str]) -> int:
    count = 0
    with path.open("xb") as file:
        for record in client.query_audit(chain, node=node, page_size=EXPORT_PAGE):
            file.write(record.line + b"\n")
            count += 1
            if record.damage:
                damage.append(f"{path.name}, line {count}: {record.damage}")
    return count


def _row(record: AuditRecord) -> tuple[object, ...]:
    last = record.decisions[-1] if record.decisions else None
    decided = None if last is None else (last.rule or "no rule")
    return (
        record.number or "damaged",
        record.time,
        record.principal,
        record.method,
        record.resource,
        record.code,
        decided,
    )


def _verdict_row(node: str, verdict: AuditVerdict) -> tuple[object, ...]:
    intact = "yes" if verdict.intact else "NO"
    broken = verdict.broken_record or None
    return node, verdict.chain, intact, verdict.records, verdict.anchors, broken, verdict.problem
