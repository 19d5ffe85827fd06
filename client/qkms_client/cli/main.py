"""The entry point of `qkms`: its commands, and the one place where errors end."""

from typing import Any

import click

from qkms_client.cli.audit import audit
from qkms_client.cli.backup import backup
from qkms_client.cli.cluster import root, status
from qkms_client.cli.crypto import datakey, decrypt, derive, encrypt, random, rewrap
from qkms_client.cli.failure import EXIT_CODES, exit_code, explanation
from qkms_client.cli.kem import decapsulate, encapsulate
from qkms_client.cli.keys import keys
from qkms_client.cli.lifecycle import LIFECYCLE
from qkms_client.cli.links import links
from qkms_client.cli.members import cluster
from qkms_client.cli.policy import policy
from qkms_client.cli.recovery import recovery
from qkms_client.cli.rewrap_file import rewrap_file
from qkms_client.cli.role import role
from qkms_client.cli.seal import seal, unseal
from qkms_client.cli.session import session
from qkms_client.cli.signing import mac, public_key, sign, verify, verify_mac
from qkms_client.cli.tenant import grant, tenant
from qkms_client.cli.transport import TRANSPORT
from qkms_client.errors import QkmsError


class Commands(click.Group):
    """Ends a command with the text and the exit code of its error, without a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except QkmsError as error:
            click.echo(explanation(error), err=True)
            ctx.exit(exit_code(error))


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qkms-client")
def main() -> None:
    """Keys of a qkms cluster: create them, use them, see where their secrecy comes from.

    Who you are and which cluster you talk to is in a profile: --profile FILE, $QKMS_PROFILE, or
    ~/.config/qkms/profile.toml.

    \b
    Examples:
      qkms status
      qkms keys create payments
      echo -n secret | qkms encrypt payments --base64 > sealed.b64
      qkms decrypt payments --base64 < sealed.b64
      qkms keys rotate payments
    """


for command in (*LIFECYCLE, *TRANSPORT):
    keys.add_command(command)
for command in (
    status,
    keys,
    encrypt,
    decrypt,
    datakey,
    derive,
    random,
    session,
    links,
    root,
    cluster,
    policy,
    role,
    tenant,
    grant,
    audit,
):
    main.add_command(command)
for command in (rewrap, rewrap_file, sign, verify, mac, verify_mac, public_key, encapsulate, decapsulate):
    main.add_command(command)
for command in (seal, unseal, recovery, backup):
    main.add_command(command)
