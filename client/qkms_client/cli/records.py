"""Keys, versions and events as the commands show them."""

import click

from qkms_client.cli.options import Settings
from qkms_client.cli.output import print_json, table
from qkms_client.types import Key, KeyEvent, KeyVersion, VersionState


def show_keys(settings: Settings, keys: list[Key], *, single: bool = False) -> None:
    """Keys as a table, or as JSON."""
    if settings.json:
        print_json(keys[0] if single else keys)
        return
    rows = [
        (
            k.key_id,
            k.algorithm,
            k.state.name,
            k.primary_version or None,
            k.version_count,
            k.create_time,
            k.next_rotation_time,
            k.required_grade,
            "yes" if k.prefer_qkd else None,
            "yes" if k.refuse_relays else None,
            f"{k.max_qber:.2%}" if k.max_qber else None,
            _labels(k),
        )
        for k in keys
    ]
    columns = (
        "key",
        "algorithm",
        "state",
        "primary",
        "versions",
        "created",
        "next rotation",
        "required grade",
        "prefers QKD",
        "refuses relays",
        "max QBER",
        "labels",
    )
    click.echo(table(columns, rows))


def _labels(key: Key) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(key.labels.items()))


def show_versions(settings: Settings, versions: list[KeyVersion], *, single: bool = False) -> None:
    """Versions as a table, or as JSON."""
    if settings.json:
        print_json(versions[0] if single else versions)
        return
    rows = [
        (
            v.version,
            v.state.name,
            v.grade,
            v.root_epoch,
            "yes" if v.relayed else "no",
            shown_qber(v.qber),
            v.create_time,
            v.destroy_time,
            _note(v),
        )
        for v in versions
    ]
    columns = ("version", "state", "grade", "root epoch", "relayed", "QBER", "created", "destroyed", "note")
    click.echo(table(columns, rows))


def shown_qber(qber: float) -> str | None:
    """The QBER of a root epoch as a percentage; None without QKD keys."""
    return "not told" if qber == 1 else f"{qber:.2%}" if qber else None


def _note(version: KeyVersion) -> str:
    """What a state does not say: who has opened a staged version, why one was given up."""
    staging = version.staging
    if staging is not None and version.state is VersionState.PRE_ACTIVATION:
        opened = f"opened by {len(staging.confirmed)} of {len(staging.voters)}"
        return f"{opened}, validated" if staging.validate_time is not None else opened
    if staging is not None and staging.rejected:
        return "; ".join(f"{node}: {why}" for node, why in staging.rejected.items())
    return version.reason


def show_event(settings: Settings, event: KeyEvent) -> None:
    """One event on a line."""
    if settings.json:
        print_json(event)
        return
    time = event.time.isoformat(timespec="milliseconds") if event.time is not None else "-"
    version = f" version {event.version} {event.state.name}" if event.version else ""
    severity = f" {event.severity.name}" if event.severity.value else ""
    click.echo(f"{time} revision {event.revision} {event.type.name} {event.name}{version}{severity}")
