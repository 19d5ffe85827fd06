"""Options that commands share, and the client that they make of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from qkms_client.consistency import STALE_OK, Consistency, at_least, bounded, linearizable
from qkms_client.profile import load_profile
from qkms_client.sync.client import Client
from qkms_client.types import Grade

Command = TypeVar("Command", bound=Callable[..., Any])

GRADES = {"pqc": Grade.PQC, "qkd": Grade.QKD, "qkd+pqc": Grade.QKD_PQC}


@dataclass(frozen=True)
class Settings:
    """What every command is given: the profile's path, the time limit in seconds, and the form of the result."""

    profile: Path | None
    timeout: float | None
    json: bool

    def client(self) -> Client:
        """A client for this command. Raises ProfileInvalid."""
        profile = load_profile(self.profile)
        if self.timeout is not None:
            profile = dataclasses.replace(profile, timeout_s=self.timeout)
        return Client(profile)


class ConsistencyType(click.ParamType[Consistency]):
    """`linearizable`, `stale-ok`, `at-least:REVISION` or `bounded:SECONDS`."""

    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Consistency:
        """The level. Fails as a usage error."""
        if isinstance(value, Consistency):
            return value
        problem = "must be linearizable, stale-ok, at-least:REVISION or bounded:SECONDS"
        level, _, number = str(value).partition(":")
        try:
            match level:
                case "linearizable" if not number:
                    return linearizable()
                case "stale-ok" if not number:
                    return STALE_OK
                case "at-least":
                    return at_least(int(number))
                case "bounded":
                    return bounded(timedelta(seconds=float(number)))
        except (ValueError, OverflowError) as error:
            problem = f"{problem}: {error}"
        raise click.BadParameter(f"{value!r} {problem}", ctx, param)


class PeriodType(click.ParamType[timedelta]):
    """Seconds, or a number with s, m, h or d."""

    name = "period"
    _UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The period. Fails as a usage error."""
        if isinstance(value, timedelta):
            return value
        text = str(value)
        unit = self._UNITS.get(text[-1:])
        try:
            return timedelta(seconds=float(text[:-1]) * unit if unit else float(text))
        except (ValueError, OverflowError):
            raise click.BadParameter(
                f"{value!r} must be like 90d, 12h, 30m or 45s", param=param, ctx=ctx
            ) from None


def rotation_period(command: Command) -> Command:
    """Adds --rotation-period."""
    return click.option(
        "--rotation-period",
        type=PeriodType(),
        metavar="PERIOD",
        help="Let the cluster rotate the key by itself, as 90d or 12h. 0 with `update`: no longer.",
    )(command)


def common(command: Command) -> Command:
    """Adds --profile, --timeout and --json; the command gets `settings`."""

    def combined(profile: Path | None, timeout: float | None, as_json: bool, **rest: Any) -> Any:
        return command(settings=Settings(profile, timeout, as_json), **rest)

    combined.__doc__ = command.__doc__
    combined.__name__ = command.__name__
    combined.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs."),
        click.option(
            "--timeout",
            type=click.FloatRange(0, 3600, min_open=True),
            metavar="SECONDS",
            help="Give up after this time, all attempts together. Default: the profile's timeout_s.",
        ),
        click.option(
            "--profile",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Profile file. Default: $QKMS_PROFILE, else ~/.config/qkms/profile.toml.",
        ),
    ):
        combined = option(combined)
    return combined  # type: ignore[return-value]


def consistency(command: Command) -> Command:
    """Adds --consistency."""
    return click.option(
        "--consistency",
        type=ConsistencyType(),
        help="linearizable, stale-ok, at-least:REVISION or bounded:SECONDS. Default: the method's own.",
    )(command)


def request_id(command: Command) -> Command:
    """Adds --request-id."""
    return click.option(
        "--request-id",
        type=click.UUID,
        help="Repeat an earlier command whose outcome is unknown: the effect happens once.",
    )(command)


def required_grade(command: Command) -> Command:
    """Adds --required-grade."""
    return click.option(
        "--required-grade",
        type=click.Choice(list(GRADES)),
        help="Refuse when the root of the cluster has less.",
    )(command)


def max_qber(command: Command) -> Command:
    """Adds --max-qber."""
    return click.option(
        "--max-qber",
        type=click.FloatRange(0, 0.11),
        metavar="FRACTION",
        help="Refuse a root whose QKD keys came over a link with a higher QBER, or an untold one. 0: any.",
    )(command)


def context(command: Command) -> Command:
    """Adds --context."""
    return click.option(
        "--context",
        multiple=True,
        metavar="NAME=VALUE",
        help="Bound to the result and needed again to get it back; may be repeated. Not secret.",
    )(command)


def encoded(command: Command) -> Command:
    """Adds --base64."""
    return click.option("--base64", "encoded", is_flag=True, help="Binary data as base64 text, not raw.")(command)


def input_file(command: Command) -> Command:
    """Adds --in."""
    return click.option("--in", "source", default="-", help="File to read. Default: stdin.")(command)


def batch(command: Command) -> Command:
    """Adds --batch."""
    return click.option(
        "--batch", "many", is_flag=True, help="JSON lines in and out, one item each; all bytes in base64."
    )(command)


def output_file(command: Command) -> Command:
    """Adds --out."""
    return click.option("--out", "target", default="-", help="New file to write. Default: stdout.")(command)


def etag(command: Command) -> Command:
    """Adds --etag."""
    return click.option("--etag", help="Refuse when the record has another one.")(command)
