"""`qkms role`: which principals have which policies."""

from typing import Any
from uuid import UUID

import click

from qkms_client.access_types import AccessRole
from qkms_client.cli import options
from qkms_client.cli.options import Settings
from qkms_client.cli.output import deleted, print_json, table


@click.group()
def role() -> None:
    """Roles: give policies to the principals that match."""


@role.command("create")
@click.argument("role_id")
@click.option("--principal", "principals", multiple=True, required=True, metavar="PATTERN")
@click.option("--policy", "policies", multiple=True, required=True, metavar="POLICY_ID")
@click.option("--description", default="")
@options.request_id
@options.common
def create_role(settings: Settings, role_id: str, request_id: UUID | None, **given: Any) -> None:
    """Create a role."""
    with settings.client() as client:
        made = client.create_role(role_id, request_id=request_id, **given)
    _show_roles(settings, [made], single=True)


@role.command("update")
@click.argument("role_id")
@click.option("--principal", "principals", multiple=True, required=True, metavar="PATTERN")
@click.option("--policy", "policies", multiple=True, required=True, metavar="POLICY_ID")
@click.option("--description", default="")
@options.etag
@options.request_id
@options.common
def update_role(settings: Settings, role_id: str, request_id: UUID | None, **given: Any) -> None:
    """Replace the principals and policies of a role."""
    with settings.client() as client:
        made = client.update_role(role_id, request_id=request_id, **given)
    _show_roles(settings, [made], single=True)


@role.command("delete")
@click.argument("role_id")
@options.etag
@options.request_id
@options.common
def delete_role(settings: Settings, role_id: str, etag: str | None, request_id: UUID | None) -> None:
    """Delete a role; its policies stay."""
    with settings.client() as client:
        client.delete_role(role_id, etag=etag, request_id=request_id)
    deleted(settings.json, f"roles/{role_id.removeprefix('roles/')}")


@role.command("get")
@click.argument("role_id")
@options.common
def get_role(settings: Settings, role_id: str) -> None:
    """Show one role."""
    with settings.client() as client:
        _show_roles(settings, [client.get_role(role_id)], single=True)


@role.command("list")
@options.common
def list_roles(settings: Settings) -> None:
    """List all roles."""
    with settings.client() as client:
        _show_roles(settings, list(client.list_roles()))


def _show_roles(settings: Settings, roles: list[AccessRole], *, single: bool = False) -> None:
    if settings.json:
        print_json(roles[0] if single else roles)
        return
    rows = [
        (r.role_id, ",".join(r.principals), ",".join(p.removeprefix("policies/") for p in r.policies))
        for r in roles
    ]
    click.echo(table(("role", "principals", "policies"), rows))
