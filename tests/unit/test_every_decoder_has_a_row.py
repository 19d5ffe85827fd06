"""A module that decodes has a row in the table of decoders, or stands here with what else meets its bytes.

What decodes is found by the names of the functions that do it: a module that
begins to call one of them without a row fails here. It is a net with known
holes: a decoder that takes bytes apart by slicing alone is not seen.
"""

import ast
import sys
from pathlib import Path
from types import FrameType

import pytest

from decoders import DECODERS
from decoders.table import Decoder

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("proto/qkms", "node/qkms_node", "qkd_adapter/qkms_qkd", "client/qkms_client", "chaos/qkms_chaos")

DECODING = {
    *("loads", "from_bytes", "fromhex", "unpack", "unpack_from", "FromString", "ParseFromString", "urlsplit"),
    *("b64decode", "urlsafe_b64decode", "b32decode", "unhexlify", "fromisoformat", "convert"),
    *("load_pem_private_key", "load_der_private_key", "load_pem_public_key", "load_der_public_key"),
    *("load_pem_x509_certificate", "load_pem_x509_certificates", "load_der_x509_certificate", "load_der_x509_csr"),
    *("from_public_bytes", "from_private_bytes", "from_seed_bytes"),
}
DECODERS_OF = {"msgspec", "json", "msgpack", "toml"}
"""`decode` is a decoder when it is called on one of these; of bytes it makes text."""

ELSEWHERE = {
    "consensus: test_consensus_untrusted_bytes": {
        *("qkms_node.consensus.replay", "qkms_node.consensus.segments", "qkms_node.consensus.snapshot_file"),
    },
    "keys of a version, ciphertexts, signatures, MACs: test_schemes": {
        *("qkms_node.keys.kem", "qkms_node.keys.rsa", "qkms_node.keys.signing"),
    },
    "numbers of a key that was decoded before: test_rsa_soundness": {"qkms_node.keys.rsa_soundness"},
    "of what `qkms_node.keys.encoding` is made, which has rows; and test_der": {"qkms.der"},
    "constants, or what this process made": {
        *("qkms_node.keys.identifiers", "qkms_node.ledger.tables", "qkms_node.ledger.tallies"),
        *("qkms_node.ledger.provenance_rules", "qkms_node.service.rewrapping", "qkms_node.pki"),
    },
    "opened under the node's own seal before it is decoded": {
        *("qkms_node.service.audit_key", "qkms_node.service.roots", "qkms_qkd.prefetch.rows"),
    },
    "rows of the ledger, as checked by its snapshot": {"qkms_node.ledger.restore_rules"},
    "the database of this KME alone": {
        *("qkms_qkd.kme.fault_switches", "qkms_qkd.kme.link_store", "qkms_qkd.kme.network.shares"),
    },
    "keys of one length, XORed as numbers": {"qkms_qkd.kme.network.pads"},
    "given by gRPC, which answers for what it cannot read": {
        *("qkms_client.aio.carrier", "qkms_client.aio.runner", "qkms_client.sync.runner"),
        *("qkms_node.rpc.signers", "qkms_chaos.cluster.driver"),
    },
    "signed by the cluster's CA and checked where it is used": {"qkms_node.service.certificates"},
}
# Benchmarks, simulations, faults and encryptors: they read what they, the kernel, or a node under test wrote.
TOOLS = (
    *("qkms_chaos.bench", "qkms_chaos.simulation", "qkms_chaos.deviant_kme"),
    *("qkms_chaos.capture", "qkms_chaos.cluster.config", "qkms_chaos.cluster.northbound"),
)


def modules() -> dict[str, ast.Module]:
    found = {}
    for distribution in DISTRIBUTIONS:
        top = ROOT / distribution
        for path in sorted(top.rglob("*.py")):
            name = ".".join(path.relative_to(top.parent).with_suffix("").parts).removesuffix(".__init__")
            if not name.startswith("qkms.v1"):
                found[name] = ast.parse(path.read_text())
    return found


def decodes(tree: ast.Module) -> bool:
    """Whether a module calls, or passes on, a function that decodes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = node.attr
            if name == "decode" and _of_a_decoder(node.value):
                return True
            if name == "Decoder":
                return True
        elif isinstance(node, ast.Name):
            name = node.id
        else:
            continue
        if name in DECODING:
            return True
    return False


def _of_a_decoder(value: ast.expr) -> bool:
    return (isinstance(value, ast.Attribute) and value.attr in DECODERS_OF) or (
        isinstance(value, ast.Name) and value.id in DECODERS_OF
    )


MODULES = modules()
IN_ROWS = {module for decoder in DECODERS for module in decoder.modules}


def test_every_module_that_decodes_is_in_the_table_or_named_here() -> None:
    known = IN_ROWS.union(*ELSEWHERE.values())
    missing = {name for name, tree in MODULES.items() if decodes(tree)} - known
    assert not sorted(name for name in missing if not name.startswith(TOOLS))


def test_the_table_and_the_list_name_modules_that_there_are() -> None:
    assert not IN_ROWS.union(*ELSEWHERE.values()) - set(MODULES)
    assert not sorted(name for names in ELSEWHERE.values() for name in names if not decodes(MODULES[name]))


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_a_row_reaches_the_modules_that_it_names(decoder: Decoder) -> None:
    reached: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        reached.add(str(frame.f_globals.get("__name__")))

    before = sys.gettrace()
    sys.settrace(note)
    try:
        decoder.decode(decoder.sample)
    except decoder.refusals:
        assert decoder.refused
    finally:
        sys.settrace(before)
    assert set(decoder.modules) <= reached
