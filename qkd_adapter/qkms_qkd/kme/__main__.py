"""The command line `qkms-kme`."""

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

import structlog

from qkms_qkd.bb84.simulate.command import DESCRIPTION as SIMULATE_DESCRIPTION
from qkms_qkd.bb84.simulate.command import add_arguments as add_simulate_arguments
from qkms_qkd.bb84.simulate.command import simulate_command
from qkms_qkd.conformance.command import add_arguments, conformance
from qkms_qkd.kme.database import DATABASE_NAME
from qkms_qkd.kme.network.command import DESCRIPTION as MAP_DESCRIPTION
from qkms_qkd.kme.network.command import EXAMPLE as MAP_EXAMPLE
from qkms_qkd.kme.network.command import add_arguments as add_map_arguments
from qkms_qkd.kme.network.command import map_command
from qkms_qkd.kme.network.file import read_network
from qkms_qkd.kme.process import ListenError, serve
from qkms_qkd.kme.settings import Settings, read_settings
from qkms_qkd.kme.toml_files import SettingsError
from qkms_qkd.seal import SealError
from qkms_qkd.tls import TlsFilesError

_DESCRIPTION = """\
A simulated KME: hands out keys over ETSI GS QKD 014, and SKIP if told to (HTTPS, mutual TLS), from simulated
decoy-state BB84 links to other KMEs. Keys are random bytes; how many come, and with what QBER,
follows the published figures for the length of the link, or pulses simulated one by one. For
development and tests."""

_EXAMPLE = """\
A configuration file:

  [kme]
  id = "kme-1"
  listen = "127.0.0.1:9301"        # for SAEs: ETSI GS QKD 014, and the admin API
  link_listen = "127.0.0.1:9401"   # for other KMEs
  data_dir = "var/kme-1"           # key store; survives a restart
  sae_identity = "cn"              # or san_uri, san_dns, serial
  admins = ["spiffe://qkms.dev/operator/admin"]

  [tls]                            # PEM files
  ca = "ca.pem"
  certificate = "kme-1.pem"        # URI SAN spiffe://qkms.dev/kme/kme-1
  private_key = "kme-1.key"

  [keys]                           # all optional, these are the defaults
  size_bits = 256
  min_size_bits = 64
  max_size_bits = 1024
  max_stored = 1000                # per link
  max_per_request = 128
  max_qber = 0.11                  # blocks above are discarded; 11% at most
  max_uncollected_s = 86400        # a drawn key not collected by then is deleted

  [skip]                           # left out: no SKIP
  listen = "127.0.0.1:9501"        # for SAEs: /capabilities, /key, /entropy at the root

  [[saes]]                         # every SAE of the network and its KME
  id = "node-1"
  kme = "kme-1"

  [[links]]
  peer = "kme-2"
  peer_address = "127.0.0.1:9402"  # its link_listen
  length_km = 25.0
  pulse_rate_hz = 1.0e8
  # block_s = 0.2                  # how often keys come out
  # model = "pulses"               # simulate pulses and distil; needs long blocks: see docs/bb84.md
  # peer_identity = "spiffe://qkms.dev/kme/kme-2"

  # [[quotas]]                     # left out: pairs of SAEs share each link's keys equally while several ask
  # saes = ["node-1", "node-2"]
  # keys_per_minute = 600          # of any one link

  # [network]                      # left out: keys over this KME's own links alone
  # links = [["kme-2", "kme-3"], ["kme-3", "kme-4"]]   # between the other sites
  # disjoint_routes = 1            # a relayed key takes so many routes without a common relay
  # max_relays = 4                 # of a route
  # max_additional = 8             # slave SAEs beside the first (additional_slave_SAE_IDs)

Faults, with an administrator's certificate (a field left out is off):

  curl --cacert ca.pem --cert admin.pem --key admin.key -X PUT \\
    -d '{"cut": true}' https://127.0.0.1:9301/admin/v1/links/kme-2/faults
  fields: cut (true/false), intercept_resend (0 to 1), extra_misalignment (0 to 0.467)

  curl --cacert ca.pem --cert admin.pem --key admin.key -X PUT \\
    -d '{"slow_s": 5}' https://127.0.0.1:9301/admin/v1/faults
  fields, of the KME as a whole: slow_s (0 to 60, seconds until each answer to SAEs), wrong_key
    (true/false: keys that slaves collect differ from the masters'), redeliver (true/false: the same
    keys are given again and again, as new), exhausted (true/false: nothing can be drawn), clock_s
    (its clock is off by so many seconds)

All outlive a restart. GET /admin/v1/links and /admin/v1/faults show what is on.

The log goes to stderr, one JSON object per line; event "kme.ready" when all listeners accept.
SIGTERM or Ctrl-C stops it."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when it stopped as told or nothing deviates, 2 for wrong settings, else 1."""
    parser = argparse.ArgumentParser(
        prog="qkms-kme", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"qkms-kme {version('qkms-qkd')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="run a KME",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = serving.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--config", type=Path, metavar="FILE", help="TOML file of one KME, see below")
    chosen.add_argument(
        "--network", type=Path, metavar="FILE", help="TOML file of a network (qkms-kme map --help)"
    )
    serving.add_argument(
        "--site", action="append", metavar="ID", help="of the network: this site's KME only; may be repeated"
    )
    mapping = commands.add_parser(
        "map",
        help="check a network file and show its routes",
        description=MAP_DESCRIPTION,
        epilog=MAP_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_map_arguments(mapping)
    judging = commands.add_parser("conformance", help="judge any KME by its protocol")
    add_arguments(judging)
    simulating = commands.add_parser(
        "simulate", help="simulate a BB84 link pulse by pulse", description=SIMULATE_DESCRIPTION
    )
    add_simulate_arguments(simulating)
    options = parser.parse_args(arguments)
    if options.command == "conformance":
        return conformance(options)
    if options.command == "simulate":
        return simulate_command(options)
    if options.command == "map":
        return map_command(options)
    return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    _log_as_json()
    try:
        settings = _settings(options)
    except SettingsError as error:
        print(f"qkms-kme: {options.config or options.network}: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve_until_signal(settings))
    except sqlite3.Error as error:
        databases = ", ".join(str(Path(each.kme.data_dir) / DATABASE_NAME) for each in settings)
        print(f"qkms-kme: {databases}: {error}; check the disk, or start with an empty data_dir", file=sys.stderr)
        return 1
    except (TlsFilesError, SealError, ListenError, OSError) as error:
        print(f"qkms-kme: {error}", file=sys.stderr)
        return 1
    return 0


def _settings(options: argparse.Namespace) -> list[Settings]:
    """Of each KME to serve. Raises SettingsError."""
    if options.config:
        return [read_settings(options.config)]
    network = read_network(options.network)
    return [network.settings(name) for name in options.site or network.names()]


async def _serve_until_signal(settings: list[Settings]) -> None:
    """Serves every KME; when one fails all stop, and the failure is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = [asyncio.create_task(_serve_one(each, stop)) for each in settings]
    await asyncio.wait(serving)
    for task in serving:
        task.result()


async def _serve_one(settings: Settings, stop: asyncio.Event) -> None:
    structlog.contextvars.bind_contextvars(kme=settings.kme.id)
    try:
        await serve(settings, stop)
    finally:
        stop.set()


def _log_as_json() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
