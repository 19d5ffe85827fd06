"""`qkms policy`: rules, and why a call is allowed or not."""

from typing import Any
from uuid import UUID

import click

from qkms_client.access_types import Explanation, Policy, Rule
from qkms_client.cli import options
from qkms_client.cli.failure import REFUSED
from qkms_client.cli.options import GRADES, Settings
from qkms_client.cli.output import deleted, print_json, table
from qkms_client.cli.rules import rule_options, rules_of


@click.group()
def policy() -> None:
    """Policies: named lists of rules, which roles give to principals.

    \b
    Examples:
      qkms policy create billing --allow 'crypto.*' --allow keys.get --key 'pay.*'
      qkms policy create strict --file strict.toml
      qkms role create payments --policy billing --principal 'spiffe://qkms.dev/service/payments'
      qkms policy explain spiffe://qkms.dev/service/payments crypto.encrypt pay.cards
    """


@policy.command("create")
@click.argument("policy_id")
@rule_options
@options.request_id
@options.common
def create_policy(
    settings: Settings, policy_id: str, description: str, request_id: UUID | None, **given: Any
) -> None:
    """Create a policy from options, or from a file."""
    rules = rules_of(**given)
    with settings.client() as client:
        made = client.create_policy(policy_id, rules, description=description, request_id=request_id)
    _show_policies(settings, [made], single=True)


@policy.command("update")
@click.argument("policy_id")
@rule_options
@options.etag
@options.request_id
@options.common
def update_policy(
    settings: Settings,
    policy_id: str,
    description: str,
    etag: str | None,
    request_id: UUID | None,
    **given: Any,
) -> None:
    """Replace the rules and the description of a policy."""
    rules = rules_of(**given)
    with settings.client() as client:
        made = client.update_policy(policy_id, rules, description=description, etag=etag, request_id=request_id)
    _show_policies(settings, [made], single=True)


@policy.command("delete")
@click.argument("policy_id")
@options.etag
@options.request_id
@options.common
def delete_policy(settings: Settings, policy_id: str, etag: str | None, request_id: UUID | None) -> None:
    """Delete a policy that no role names."""
    with settings.client() as client:
        client.delete_policy(policy_id, etag=etag, request_id=request_id)
    deleted(settings.json, f"policies/{policy_id.removeprefix('policies/')}")


@policy.command("get")
@click.argument("policy_id")
@options.common
def get_policy(settings: Settings, policy_id: str) -> None:
    """Show one policy."""
    with settings.client() as client:
        _show_policies(settings, [client.get_policy(policy_id)], single=True)


@policy.command("list")
@options.common
def list_policies(settings: Settings) -> None:
    """List all policies, one line for each rule."""
    with settings.client() as client:
        _show_policies(settings, list(client.list_policies()))


@policy.command()
@click.argument("principal")
@click.argument("action")
@click.argument("key", required=False)
@click.option("--context-key", "context_keys", multiple=True, help="A key of the call's encryption context.")
@click.option("--grade", type=click.Choice(list(GRADES)), help="Default: that of the key's primary version.")
@options.common
def explain(
    settings: Settings,
    principal: str,
    action: str,
    key: str | None,
    context_keys: tuple[str, ...],
    grade: str | None,
) -> None:
    """Say whether PRINCIPAL may do ACTION to KEY, which rule decides, and why. Ends with code 3 for a no."""
    with settings.client() as client:
        found = client.explain_policy(
            principal, action, key, context_keys=context_keys, grade=GRADES[grade] if grade else None
        )
    if settings.json:
        print_json(found)
    else:
        click.echo(_told(found))
    if not found.allowed:
        raise click.exceptions.Exit(REFUSED)


def _told(found: Explanation) -> str:
    answer = "allowed" if found.allowed else "refused"
    lines = [f"{answer}: {found.reason}{f' ({found.rule})' if found.rule else ''}"]
    if found.rate_limited_by:
        lines.append(f"as fast as one of these lets it pass: {', '.join(found.rate_limited_by)}")
    rows = [
        (each.rule, "allow" if each.allow else "deny", "matches" if each.matches else each.mismatch)
        for each in found.considered
    ]
    lines.append(table(("rule", "effect", "this call"), rows) if rows else "no rule names the principal")
    return "\n".join(lines)


def _show_policies(settings: Settings, policies: list[Policy], *, single: bool = False) -> None:
    if settings.json:
        print_json(policies[0] if single else policies)
        return
    rows = [
        (
            p.policy_id,
            number,
            "allow" if r.allow else "deny",
            ",".join(r.actions),
            ",".join(r.keys),
            _conditions(r),
        )
        for p in policies
        for number, r in enumerate(p.rules)
    ]
    click.echo(table(("policy", "rule", "effect", "actions", "keys", "conditions"), rows))


def _conditions(rule: Rule) -> str:
    parts = [f"context {','.join(rule.context_keys)}"] if rule.context_keys else []
    parts += [f"grade {','.join(str(grade) for grade in rule.grades)}"] if rule.grades else []
    if rule.rate_limit:
        parts.append(f"{rule.rate_limit.per_minute}/min, {rule.rate_limit.burst} at once")
    return "; ".join(parts)
