"""`qkms tenant` and `qkms grant`: quotas, and rights lent for a time."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import click

from qkms_client.access_types import Grant, Tenant
from qkms_client.cli import options
from qkms_client.cli.options import Command, Settings
from qkms_client.cli.output import print_json, table


@click.group()
def tenant() -> None:
    """Tenants: quotas on the keys whose id begins with the tenant's and a dot.

    \b
    Examples:
      qkms tenant create acme --max-keys 100 --max-versions 1000
      qkms keys create acme.payments
    """


@click.group()
def grant() -> None:
    """Grants: rights on keys that you hold, lent to another principal for a time.

    \b
    Example:
      qkms grant create spiffe://qkms.dev/service/report --action crypto.decrypt --key payments --ttl 3600
    """


def _quotas(command: Command) -> Command:
    for option in (
        click.option("--max-keys", type=click.IntRange(0), default=0, help="0: no limit."),
        click.option("--max-versions", type=click.IntRange(0), default=0, help="That are not destroyed."),
        click.option("--max-sessions", type=click.IntRange(0), default=0, help="That are open."),
        click.option(
            "--principal", "principals", multiple=True, metavar="PATTERN", help="Whose sessions are counted."
        ),
        click.option("--description", default=""),
    ):
        command = option(command)
    return command


@tenant.command("create")
@click.argument("tenant_id")
@_quotas
@options.request_id
@options.common
def create_tenant(settings: Settings, tenant_id: str, request_id: UUID | None, **given: Any) -> None:
    """Create a tenant; keys of its prefix that exist count at once."""
    with settings.client() as client:
        _show_quotas(settings, client.create_tenant(tenant_id, request_id=request_id, **given))


@tenant.command("update")
@click.argument("tenant_id")
@_quotas
@options.etag
@options.request_id
@options.common
def update_tenant(settings: Settings, tenant_id: str, request_id: UUID | None, **given: Any) -> None:
    """Replace the quotas of a tenant; what exists over them stays."""
    with settings.client() as client:
        _show_quotas(settings, client.update_tenant(tenant_id, request_id=request_id, **given))


@tenant.command("delete")
@click.argument("tenant_id")
@options.etag
@options.request_id
@options.common
def delete_tenant(settings: Settings, tenant_id: str, etag: str | None, request_id: UUID | None) -> None:
    """Take the quotas of a tenant away; its keys stay."""
    with settings.client() as client:
        client.delete_tenant(tenant_id, etag=etag, request_id=request_id)
    _done(settings, "deleted", f"tenants/{tenant_id.removeprefix('tenants/')}")


@tenant.command("get")
@click.argument("tenant_id")
@options.common
def get_tenant(settings: Settings, tenant_id: str) -> None:
    """Show one tenant and what it has."""
    with settings.client() as client:
        _show_tenants(settings, [client.get_tenant(tenant_id)], single=True)


@tenant.command("list")
@options.common
def list_tenants(settings: Settings) -> None:
    """List all tenants and what they have."""
    with settings.client() as client:
        _show_tenants(settings, list(client.list_tenants()))


@grant.command("create")
@click.argument("grantee")
@click.option("--action", "actions", multiple=True, required=True, help="As crypto.decrypt; may be repeated.")
@click.option("--key", "keys", multiple=True, required=True, metavar="KEY_ID", help="May be repeated.")
@click.option("--ttl", type=click.FloatRange(1), required=True, metavar="SECONDS")
@click.option("--context-key", "context_keys", multiple=True, help="Needed in the encryption context.")
@click.option("--grant-id", type=click.UUID, help="Default: a fresh one.")
@options.request_id
@options.common
def create_grant(settings: Settings, grantee: str, ttl: float, request_id: UUID | None, **given: Any) -> None:
    """Lend rights to GRANTEE. To repeat one whose outcome is unknown, give --grant-id as well."""
    with settings.client() as client:
        made = client.create_grant(grantee, ttl=timedelta(seconds=ttl), request_id=request_id, **given)
    _show_grants(settings, [made], single=True)


@grant.command("revoke")
@click.argument("grant_id")
@options.request_id
@options.common
def revoke_grant(settings: Settings, grant_id: str, request_id: UUID | None) -> None:
    """End a grant before its time."""
    with settings.client() as client:
        client.revoke_grant(grant_id, request_id=request_id)
    _done(settings, "revoked", f"grants/{grant_id.removeprefix('grants/')}")


@grant.command("list")
@options.common
def list_grants(settings: Settings) -> None:
    """List the grants that you gave or were given, or all where you may."""
    with settings.client() as client:
        _show_grants(settings, list(client.list_grants()))


def _show_tenants(settings: Settings, tenants: list[Tenant], *, single: bool = False) -> None:
    if settings.json:
        print_json(tenants[0] if single else tenants)
        return
    rows = [
        (
            t.tenant_id,
            _used(t.keys, t.max_keys),
            _used(t.versions, t.max_versions),
            _used(t.sessions, t.max_sessions),
            ",".join(t.principals),
        )
        for t in tenants
    ]
    click.echo(table(("tenant", "keys", "versions", "sessions", "principals"), rows))


def _show_quotas(settings: Settings, tenant: Tenant) -> None:
    if settings.json:
        print_json(tenant)
        return
    limits = [limit or "no limit" for limit in (tenant.max_keys, tenant.max_versions, tenant.max_sessions)]
    row = (tenant.tenant_id, *limits, ",".join(tenant.principals))
    click.echo(table(("tenant", "max keys", "max versions", "max sessions", "principals"), [row]))


def _used(used: int, limit: int) -> str:
    return f"{used} of {limit}" if limit else str(used)


def _show_grants(settings: Settings, grants: list[Grant], *, single: bool = False) -> None:
    if settings.json:
        print_json(grants[0] if single else grants)
        return
    rows = [
        (
            g.name.removeprefix("grants/"),
            g.grantor,
            g.grantee,
            ",".join(g.actions),
            ",".join(key.removeprefix("keys/") for key in g.keys),
            g.expire_time,
        )
        for g in grants
    ]
    click.echo(table(("grant", "grantor", "grantee", "actions", "keys", "expires"), rows))


def _done(settings: Settings, what: str, name: str) -> None:
    if settings.json:
        print_json({what: name})
    else:
        click.echo(f"{name} {what}")
