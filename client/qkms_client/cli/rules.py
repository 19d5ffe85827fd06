"""The rules of a policy, from options or from a TOML file."""

import re
import tomllib
from pathlib import Path
from typing import Any

import click

from qkms_client.access_types import RateLimit, Rule
from qkms_client.cli.options import GRADES, Command

_NUMBER = re.compile("[0-9]{1,9}")
_RULE_FIELDS = {"effect", "actions", "keys", "context_keys", "grades", "per_minute", "burst"}


def rule_options(command: Command) -> Command:
    """Adds the options that `rules_of` reads, and --description."""
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
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: cannot be read: {error}") from error
    except RecursionError:
        raise click.UsageError(f"{path}: cannot be read: nested too deeply for rules") from None
    tables = content.get("rules")
    if not isinstance(tables, list) or not tables:
        raise click.UsageError(f"{path}: write each rule as a table [[rules]]")
    return [_from_table(f"{path}: rules[{number}]", each) for number, each in enumerate(tables)]


def _from_table(where: str, given: Any) -> Rule:
    if not isinstance(given, dict):
        raise click.UsageError(f"{where}: write each rule as a table [[rules]]")
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
    if not _NUMBER.fullmatch(per_minute) or not _NUMBER.fullmatch(burst):
        raise click.UsageError(f"a rate is PER_MINUTE:BURST, two numbers of up to 9 digits, not {text[:40]!r}")
    return RateLimit(int(per_minute), int(burst))
