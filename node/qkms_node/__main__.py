"""The command line of a node: `qkms-node serve`, `check`, `join`, `unseal` and `inspect-journal`."""

import argparse
import asyncio
import ctypes
import gc
import logging
import resource
import signal
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from qkms_node.ca import CaUnusable
from qkms_node.config import Config, load
from qkms_node.config_fields import ConfigError
from qkms_node.consensus.journal_listing import list_journal
from qkms_node.join_reading import JoinFailed
from qkms_node.joining import Place, join
from qkms_node.node import Node
from qkms_node.service.roots import RootStoreError
from qkms_node.telemetry.traces import TracingUnavailable
from qkms_node.tls_files import TlsFilesInvalid, settle
from qkms_node.unseal_command import UnsealFailed, unseal
from qkms_node.wiring import make_links, replica_maker

PR_SET_DUMPABLE = 4
STDIN = "-"

EPILOG = """\
examples:
  qkms-node check --config node-1.toml     validate the configuration and say what is wrong
  qkms-node inspect-journal --config node-1.toml
                                           list what the Raft journal holds, without any content
  qkms-node unseal --config node-1.toml    bring passphrase or PIN to the running node: typed, or from
                                           standard input, --secret-file or --secret-fd
  qkms-node join --token T --server HOST:PORT --ca-fingerprint F --dir node-4
                                           make a new machine a node, as qkms cluster add says
  qkms-node serve --config node-1.toml     run the node; JSON log lines on standard error,
                                           SIGTERM or SIGINT drains and stops it
exit status: 0 stopped on request, 1 failed while running, 2 bad configuration or usage
"""


def main() -> None:
    """Entry point of `qkms-node`."""
    parser = argparse.ArgumentParser(
        prog="qkms-node",
        description="A node of a qkms cluster: a replicated, QKD-rooted key management service.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"qkms-node {version('qkms-node')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("serve", "run the node"),
        ("check", "validate the configuration"),
        ("unseal", "bring passphrase or PIN to the node that runs here"),
        ("inspect-journal", "list the records of the Raft journal, without any content"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the node's TOML file")
        if name == "unseal":
            source = command.add_mutually_exclusive_group()
            source.add_argument("--secret-file", type=Path, metavar="FILE", help="its first line is the secret")
            source.add_argument("--secret-fd", type=int, metavar="N", help="read the secret from descriptor N")
    _add_join(commands)
    arguments = parser.parse_args()
    if arguments.command == "join":
        _join(arguments)
        return
    try:
        config = load(arguments.config)
    except ConfigError as error:
        sys.exit(_complain(str(error), 2))
    if arguments.command == "check":
        print(f"{arguments.config}: valid; node {config.node.id} of cluster {config.cluster.id}")
        return
    if arguments.command == "unseal":
        try:
            print(unseal(config, arguments.secret_file, arguments.secret_fd))
        except (UnsealFailed, OSError) as error:
            sys.exit(_complain(str(error), 1))
        return
    if arguments.command == "inspect-journal":
        for line in list_journal(config.node.data_dir / "raft"):
            print(line)
        return
    _protect_memory()
    _log_as_json(config)
    try:
        _run(_serve(config))
    except (RootStoreError, CaUnusable, TlsFilesInvalid, TracingUnavailable, OSError) as error:
        sys.exit(_complain(str(error), 1))


def _add_join(commands: Any) -> None:
    command = commands.add_parser(
        "join", help="exchange a one-time token for a certificate, and write a configuration that joins"
    )
    command.add_argument("--token", required=True, help="from qkms cluster add; - reads it from standard input")
    command.add_argument("--server", required=True, metavar="HOST:PORT", help="the [enrol] listener of any node")
    command.add_argument("--ca-fingerprint", required=True, metavar="SHA256", help="from qkms cluster add")
    command.add_argument("--dir", type=Path, default=Path(), metavar="DIR", help="default: the current folder")
    for name, what in (
        ("raft-listen", "default: the member record's address"),
        ("rpc-listen", "default: the member record's address"),
        ("enrol-listen", "serve enrolment here; default: not at all"),
    ):
        command.add_argument(f"--{name}", default="", metavar="HOST:PORT", help=what)
    command.add_argument("--kme-id", default="", help="this site's KME, for messages")
    command.add_argument("--kme-url", default="", metavar="URL", help="https://host:port of this site's KME")


def _join(arguments: argparse.Namespace) -> None:
    from_stdin = arguments.token == STDIN
    token = sys.stdin.readline() if from_stdin else arguments.token
    place = Place(
        folder=arguments.dir,
        raft_listen=arguments.raft_listen,
        rpc_listen=arguments.rpc_listen,
        enrol_listen=arguments.enrol_listen,
        kme_id=arguments.kme_id,
        kme_url=arguments.kme_url,
    )
    try:
        config = join(token, arguments.server, arguments.ca_fingerprint, place)
    except (JoinFailed, OSError) as error:
        sys.exit(_complain(str(error), 1))
    print(f"{config} is ready: qkms-node serve --config {config}")


async def _serve(config: Config) -> None:
    settle(config.tls)
    config.node.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    links = make_links(config)
    node = Node(config, replica_maker(config, links), links)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await node.start()
    gc.freeze()  # what is loaded stays: no full collection walks it, which would hold up every thread
    failed = asyncio.create_task(node.wait_failed())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait([failed, asked], return_when=asyncio.FIRST_COMPLETED)
    reason = failed.result() if failed.done() else None
    failed.cancel()
    await node.stop()
    if reason is not None:
        structlog.get_logger(__name__).critical("node.failed", reason=reason)
        sys.exit(1)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # where uvloop does not install, the standard loop serves
        asyncio.run(main)
    else:
        uvloop.run(main)


def _protect_memory() -> None:
    """No core files and no tracing by other processes of the user: both would show key material."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _log_as_json(config: Config) -> None:
    level = getattr(logging, config.log.level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


def _complain(message: str, status: int) -> int:
    print(f"qkms-node: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
