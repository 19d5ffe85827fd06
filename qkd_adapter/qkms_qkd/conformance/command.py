"""`qkms-kme conformance`: runs a table against any KME and prints the report, as text or JSON.

Exit status: 0 when nothing deviates, 1 when something does or gives no answer, 2 for what the caller must
mend. It draws and discards a few dozen keys of the link it is pointed at.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from qkms_qkd.conformance.etsi014_table import ETSI014_CASES
from qkms_qkd.conformance.runner import Bench, Case, Outcome, Party, Verdict, run
from qkms_qkd.conformance.skip_table import SKIP_CASES
from qkms_qkd.tls import TlsFiles, TlsFilesError

TABLES: dict[str, Sequence[Case]] = {"skip": SKIP_CASES, "etsi014": ETSI014_CASES}
_PAIR = ("certificate", "private-key")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("url", metavar="URL", help="the KME to judge: https://host:port")
    parser.add_argument("--protocol", required=True, choices=sorted(TABLES))
    parser.add_argument("--ca", required=True, type=Path, help="PEM, of the KMEs' certificates")
    parser.add_argument("--local", required=True, metavar="ID", help="SAE id (SKIP: system id) of --certificate")
    parser.add_argument("--peer", required=True, metavar="ID", help="SAE id (SKIP: system id) at the other end")
    parser.add_argument("--peer-url", metavar="URL", help="the KME at the other end")
    for party, whose in (("", "the drawing SAE's"), ("peer-", "the peer's"), ("bystander-", "an unnamed SAE's")):
        for part in _PAIR:
            parser.add_argument(f"--{party}{part}", type=Path, required=not party, help=f"{whose} PEM file")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="of each request (5 s)")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")


def conformance(options: argparse.Namespace) -> int:
    """Runs the table, prints the report, gives the exit status."""
    for url in (options.url, options.peer_url or options.url):
        if not url.startswith("https://"):
            print(f"qkms-kme: {url}: must begin with https://", file=sys.stderr)
            return 2
    peer = _party(options, "peer", options.peer)
    bystander = _party(options, "bystander", "bystander")
    tls = TlsFiles(options.ca, options.certificate, options.private_key)
    local = Party(options.local, options.url, tls)
    bench = Bench(local, options.peer, peer, bystander, options.timeout)
    try:
        verdicts = asyncio.run(_run(TABLES[options.protocol], bench))
    except TlsFilesError as error:
        print(f"qkms-kme: {error}", file=sys.stderr)
        return 2
    counts = Counter(verdict.outcome for verdict in verdicts)
    print(_as_json(options, verdicts, counts) if options.json else _as_text(options, verdicts, counts))
    return 1 if counts["deviates"] or counts["unknown"] else 0


async def _run(cases: Sequence[Case], bench: Bench) -> list[Verdict]:
    try:
        return await run(cases, bench)
    finally:
        await bench.close()


def _party(options: argparse.Namespace, name: str, sae: str) -> Party | None:
    certificate, private_key = getattr(options, f"{name}_certificate"), getattr(options, f"{name}_private_key")
    if options.peer_url is None or certificate is None or private_key is None:
        return None
    return Party(sae, options.peer_url, TlsFiles(options.ca, certificate, private_key))


def _as_json(options: argparse.Namespace, verdicts: list[Verdict], counts: Counter[Outcome]) -> str:
    report = {
        "url": options.url,
        "protocol": options.protocol,
        "counts": {outcome: counts[outcome] for outcome in get_args(Outcome)},
        "cases": verdicts,
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _as_text(options: argparse.Namespace, verdicts: list[Verdict], counts: Counter[Outcome]) -> str:
    lines = [
        f"{verdict.outcome:9} {verdict.clause:15} {verdict.requirement}"
        + (f"\n{'':26}{verdict.reason}" if verdict.reason else "")
        for verdict in verdicts
    ]
    total = ", ".join(f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome))
    return "\n".join([*lines, f"{options.protocol} at {options.url}: {total}"])
