"""`qkms policy` and `qkms role`: who may do what, and why."""

import tomllib
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from qkms_client.access_types import AccessRole, Explanation, Policy, RateLimit, Rule
from qkms_client.cli import options
from qkms_client.cli.failure import REFUSED
from qkms_client.cli.options import GRADES, Command, Settings
from qkms_client.cli.output import print_json, table

_RULE_FIELDS = {"effect", "actions", "keys", "context_keys", "grades", "per_minute", "burst"}


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


@click.group()
def role() -> None:
    """Roles: give policies to the principals that match."""


def _rules(command: Command) -> Command:
    for option in (
        click.option("--allow", multiple=True, metavar="ACTIONS", help="A pattern of actions; may be repeated."),
        click.option("--deny", multiple=True, metavar="ACTIONS", help="Wins over every allow."),
        click.option("--key", "keys", multiple=True, metavar="PATTERN", help="Of key_ids. Default: all."),
        click.option("--context-key", "context_keys", multiple=True, help="Needed in the encryption context."),
        click.option("--grade", "grades", multiple=True, type=click.Choice(list(GRADES)), help="One of these."),
        click.option("--rate", metavar="PER_MINUTE:BURST", help="Of each principal at each node."),
        click.option(
            "--file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="TOML with [[rules]] of effect, actions, keys, context_keys, grades, per_minute, burst.",
        ),
        click.option("--description", default=""),
    ):
        command = option(command)
    return command


def _etag(command: Command) -> Command:
    return click.option("--etag", help="Refuse when the record has another one.")(command)


@policy.command("create")
@click.argument("policy_id")
@_rules
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
@_rules
@_etag
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
@_etag
@options.request_id
@options.common
def delete_policy(settings: Settings, policy_id: str, etag: str | None, request_id: UUID | None) -> None:
    """Delete a policy that no role names."""
    with settings.client() as client:
        client.delete_policy(policy_id, etag=etag, request_id=request_id)
    _done(settings, f"policies/{policy_id.removeprefix('policies/')}")


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
@_etag
@options.request_id
@options.common
def update_role(settings: Settings, role_id: str, request_id: UUID | None, **given: Any) -> None:
    """Replace the principals and policies of a role."""
    with settings.client() as client:
        made = client.update_role(role_id, request_id=request_id, **given)
    _show_roles(settings, [made], single=True)


@role.command("delete")
@click.argument("role_id")
@_etag
@options.request_id
@options.common
def delete_role(settings: Settings, role_id: str, etag: str | None, request_id: UUID | None) -> None:
    """Delete a role; its policies stay."""
    with settings.client() as client:
        client.delete_role(role_id, etag=etag, request_id=request_id)
    _done(settings, f"roles/{role_id.removeprefix('roles/')}")


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


def rules_of(
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    keys: tuple[str, ...],
    context_keys: tuple[str, ...],
    grades: tuple[str, ...],
    rate: str | None,
    file: Path | None,
) -> list[Rule]:
    """The rules that options or a file describe. Raises click.UsageError."""
    if file is not None:
        if allow or deny:
            raise click.UsageError("give --file, or --allow and --deny, not both")
        return _from_file(file)
    if not allow and not deny:
        raise click.UsageError("a policy needs a rule: give --allow, --deny or --file")
    rules = []
    if allow:
        chosen = tuple(GRADES[grade] for grade in grades)
        rules.append(Rule(allow, keys or ("*",), True, context_keys, chosen, _rate(rate)))
    if deny:
        rules.append(Rule(deny, keys or ("*",), allow=False))
    return rules


def _from_file(path: Path) -> list[Rule]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{path}: cannot be read: {error}") from error
    tables = content.get("rules")
    if not isinstance(tables, list) or not tables:
        raise click.UsageError(f"{path}: write each rule as a table [[rules]]")
    return [_from_table(f"{path}: rules[{number}]", each) for number, each in enumerate(tables)]


def _from_table(where: str, given: dict[str, Any]) -> Rule:
    unknown = sorted(set(given) - _RULE_FIELDS)
    if unknown:
        raise click.UsageError(
            f"{where}: there is no field {unknown[0]}; there are {', '.join(sorted(_RULE_FIELDS))}"
        )
    effect = given.get("effect", "allow")
    if effect not in ("allow", "deny"):
        raise click.UsageError(f"{where}: effect: {effect!r} is neither allow nor deny")
    names = {field: given.get(field, []) for field in ("actions", "keys", "context_keys", "grades")}
    for field, value in names.items():
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise click.UsageError(f"{where}: {field}: write a list of texts")
    unheard = [grade for grade in names["grades"] if grade not in GRADES]
    if unheard:
        raise click.UsageError(f"{where}: grades: {unheard[0]!r} is none of {', '.join(GRADES)}")
    limited = "per_minute" in given or "burst" in given
    return Rule(
        actions=tuple(names["actions"]),
        keys=tuple(names["keys"]) or ("*",),
        allow=effect == "allow",
        context_keys=tuple(names["context_keys"]),
        grades=tuple(GRADES[grade] for grade in names["grades"]),
        rate_limit=_rate(f"{given.get('per_minute', '')}:{given.get('burst', '')}") if limited else None,
    )


def _rate(text: str | None) -> RateLimit | None:
    if text is None:
        return None
    per_minute, _, burst = text.partition(":")
    if not per_minute.isdecimal() or not burst.isdecimal():
        raise click.UsageError(f"a rate is PER_MINUTE:BURST, two numbers, not {text!r}")
    return RateLimit(int(per_minute), int(burst))


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


def _show_roles(settings: Settings, roles: list[AccessRole], *, single: bool = False) -> None:
    if settings.json:
        print_json(roles[0] if single else roles)
        return
    rows = [
        (r.role_id, ",".join(r.principals), ",".join(p.removeprefix("policies/") for p in r.policies))
        for r in roles
    ]
    click.echo(table(("role", "principals", "policies"), rows))


def _done(settings: Settings, name: str) -> None:
    if settings.json:
        print_json({"deleted": name})
    else:
        click.echo(f"{name} deleted")
