"""Rows: what a KME answers, and what a KME reads; recordings of the wire."""

import json

import msgspec

from decoders.table import NO_TOML, Decoder, file, folder, text
from qkms_chaos.checking import audit, history
from qkms_chaos.cluster import layout
from qkms_chaos.faults import schedule
from qkms_chaos.scenarios import saved
from qkms_chaos.wiretap import negotiated_group
from qkms_qkd import identity, seal
from qkms_qkd.answers import HttpAnswer
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.messages import Parities
from qkms_qkd.bb84.chain.messages import decode as bb84_decode
from qkms_qkd.bb84.chain.messages import encode as bb84_encode
from qkms_qkd.conformance import expecting
from qkms_qkd.conformance.runner import DeviationError
from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014 import reading
from qkms_qkd.etsi014.messages import KeyIds, KeyRequest
from qkms_qkd.keyfiles import reading as key_files
from qkms_qkd.kme.channel_messages import Assign, AssignAnswer, Discard, Hello, HelloAnswer, LinkReport, Offer
from qkms_qkd.kme.faults import Faults, KmeFaults
from qkms_qkd.kme.network.file import parse_network
from qkms_qkd.kme.network.messages import Carry, CarryAnswer, Probe, Reach
from qkms_qkd.kme.settings import parse_settings
from qkms_qkd.kme.toml_files import SettingsError
from qkms_qkd.serving.bodies import BodyUnreadable, decoded
from qkms_qkd.skip import reading as skip_reading
from sample_files import KME_TOML, NETWORK_TOML

KEY_ID = "0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b11"
PRISTINE = json.dumps(
    {"keys": [{"key_ID": KEY_ID, "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}
).encode()
STATUS = {
    "source_KME_ID": "kme-1",
    "target_KME_ID": "kme-2",
    "master_SAE_ID": "node-1",
    "slave_SAE_ID": "node-2",
    "key_size": 256,
    "stored_key_count": 3,
    "max_key_count": 100,
    "max_key_per_request": 10,
    "max_key_size": 1024,
    "min_key_size": 64,
    "max_SAE_ID_count": 0,
}
REPORT = {"qber": 0.01, "skr_bps": 1.0, "discarded_blocks": 0, "faults": {}}
BODIES: dict[type[msgspec.Struct], dict[str, object]] = {
    KeyRequest: {"number": 1, "size": 256},
    KeyIds: {"key_IDs": [{"key_ID": KEY_ID}]},
    Faults: {},
    KmeFaults: {"slow_s": 0.5, "wrong_key": True, "redeliver": True, "exhausted": False, "clock_s": -2.0},
    Hello: {"incarnation": "i", "store_id": "s", "key_bits": 256, "known": [KEY_ID]},
    HelloAnswer: {"known": [KEY_ID]},
    Offer: {
        "incarnation": "i",
        "report": REPORT,
        "keys": [{"key_id": KEY_ID, "seq": 1, "key": "AAAA", "age_s": 0.5}],
    },
    Assign: {
        "master": "a",
        "slave": "b",
        "size_bits": 256,
        "deliveries": [{"delivery_id": "d", "key_ids": ["k"]}],
    },
    AssignAnswer: {"unknown": [], "busy": []},
    Discard: {"key_ids": ["k"]},
    LinkReport: REPORT,
    Carry: {
        "route": ["a", "b"],
        "master": "m",
        "slave": "s",
        "size_bits": 256,
        "share": 0,
        "shares": 1,
        "age_s": 0.5,
        "within_s": 1.5,
        "parts": [{"delivery_id": "d", "pads": ["k"], "sealed": "AAAA"}],
    },
    CarryAnswer: {"age_s": 0.5, "failure": {"code": "LINK_DOWN", "link": ["a", "b"], "reason": "r"}},
    Probe: {"route": ["a", "b"], "within_s": 1.5},
    Reach: {"stored": 1, "up": True, "qber": 0.5, "skr_bps": 1.5, "weakest": ["a", "b"]},
}
DEEP = b'{"a":' * 100_000


def _answer(raw: bytes) -> HttpAnswer:
    return HttpAnswer(200, "application/json", raw)


def _body(form: type[msgspec.Struct], sample: dict[str, object]) -> Decoder:
    return Decoder(
        f"body {form.__name__}",
        ("qkms_qkd.serving.bodies",),
        lambda raw: decoded(raw, form),
        json.dumps(sample).encode(),
        (BodyUnreadable,),
        regressions=(DEEP, b'{"\xff":1}', b'{"size":' + b"9" * 5_000 + b"}"),
    )


def _hello() -> bytes:
    """A TLS record with a ServerHello whose key share is X25519MLKEM768."""
    extension = b"\x00\x33\x00\x04\x11\xec\x00\x00"
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x13\x01\x00" + len(extension).to_bytes(2, "big") + extension
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


HOME = folder("layout")
HISTORY = folder("history") / "history.jsonl"
RUN = {
    "scenario": "mixed", "seed": 1, "seconds": 5.0, "network": "netns",
    **dict.fromkeys(("begun", "healed", "agreed", "ended"), 1.0),
    "happened": [{"begin": 1.0, "end": 2.0, "text": "the network is whole"}], "breaches": [], "undecided": [],
}  # fmt: skip
RECORD = {
    **dict.fromkeys(("n", "revision"), 1),
    **dict.fromkeys(("principal", "method", "resource", "request_id"), "a"),
}
OPERATION = {"process": "p", "call": "get", "key": "k", "start": 0.5, "end": 0.75, "outcome": "ok"}
SITE = layout.Site("node-1", "kme-1", 1, 2, 3, 4, 5)
KEY_FILE = folder("kme") / "seal.key"

DECODERS = (
    Decoder(
        "message between Alice and Bob",
        ("qkms_qkd.bb84.chain.messages",),
        bb84_decode,
        bb84_encode(Parities(3, 1, bytes(16))),
        (BlockDiscarded,),
        regressions=(b"\x91" * 100_000, b"\x81\xa4type\xa4\xff\xff\xff\xff"),
    ),
    Decoder(
        "014 keys",
        ("qkms_qkd.etsi014.reading",),
        lambda raw: reading.read_keys("kme", _answer(raw), 256),
        PRISTINE,
        (LinkError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "014 status",
        ("qkms_qkd.etsi014.reading",),
        lambda raw: reading.read_status("kme", "node-2", _answer(raw)),
        json.dumps(STATUS).encode(),
        (LinkError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "014 refusal",
        ("qkms_qkd.etsi014.reading",),
        lambda raw: reading.read_keys("kme", HttpAnswer(400, "application/json", raw), 256),
        b'{"message": "size shall be a multiple of 8", "details": [{}]}',
        (LinkError,),
        refused=True,
        regressions=(DEEP,),
    ),
    Decoder(
        "SKIP key",
        ("qkms_qkd.skip.reading", "qkms_qkd.answers"),
        lambda raw: skip_reading.read_key("kme", _answer(raw), "ab" * 16, 256),
        json.dumps({"keyId": "ab" * 16, "key": "cd" * 32}).encode(),
        (LinkError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "SKIP capabilities",
        ("qkms_qkd.skip.reading", "qkms_qkd.answers"),
        lambda raw: skip_reading.read_status("kme", "node-2", 256, _answer(raw)),
        b'{"entropy": true, "key": true, "algorithm": "QKD", "localSystemID": "n", "remoteSystemID": ["node-*"]}',
        (LinkError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "key file",
        ("qkms_qkd.keyfiles.reading",),
        lambda raw: key_files.read_key("files", "key-1", raw, 256),
        json.dumps({"key_ID": "key-1", "key": "A" * 43 + "="}).encode(),
        (LinkError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "answer held against a conformance table",
        ("qkms_qkd.conformance.expecting",),
        lambda raw: expecting.from_base64(str(expecting.json_object(_answer(raw)).get("key", "")), "key"),
        b'{"key": "AAAA"}',
        (DeviationError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "hexadecimal held against a conformance table",
        ("qkms_qkd.conformance.expecting",),
        text(lambda digits: expecting.from_hex(digits, "key")),
        b"ab" * 32,
        (DeviationError,),
    ),
    *(_body(form, sample) for form, sample in BODIES.items()),
    Decoder(
        "SPIFFE name of a caller of a KME",
        ("qkms_qkd.identity",),
        text(lambda uri: identity.principal({"subjectAltName": (("URI", uri),)})),
        b"spiffe://qkms.dev/node/node-1",
    ),
    Decoder(
        "KME configuration",
        ("qkms_qkd.kme.settings", "qkms_qkd.kme.toml_files"),
        parse_settings,
        KME_TOML.encode(),
        (SettingsError,),
        regressions=NO_TOML,
    ),
    Decoder(
        "network of KMEs",
        ("qkms_qkd.kme.network.file", "qkms_qkd.kme.toml_files"),
        parse_network,
        NETWORK_TOML.encode(),
        (SettingsError,),
        regressions=NO_TOML,
    ),
    Decoder(
        "sealed key of a KME",
        ("qkms_qkd.seal",),
        lambda raw: seal.Seal(bytes(32)).open(raw, b"context"),
        seal.Seal(bytes(32)).seal(b"key", b"context"),
        (seal.SealError,),
    ),
    Decoder(
        "seal key of a KME",
        ("qkms_qkd.seal",),
        file(KEY_FILE, lambda: seal.load_seal(KEY_FILE)),
        bytes(32),
        (seal.SealError,),
    ),
    Decoder(
        "recording of a handshake",
        ("qkms_chaos.wiretap",),
        negotiated_group,
        _hello(),
        (ValueError,),
        regressions=(b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
    ),
    Decoder(
        "schedule of faults",
        ("qkms_chaos.faults.schedule",),
        schedule.decode,
        schedule.encode(schedule.random_schedule(1, ["node-1", "node-2", "node-3"], 5.0, ["isolate"])),
        (ValueError,),
        regressions=(DEEP,),
    ),
    Decoder(
        "history of a run",
        ("qkms_chaos.checking.history",),
        file(HISTORY, lambda: history.read(HISTORY)),
        json.dumps(OPERATION).encode() + b"\n",
        (history.HistoryInvalid,),
        regressions=(DEEP + b"\n",),
    ),
    Decoder(
        "record of a run",
        ("qkms_chaos.scenarios.saved",),
        file(HOME / "run.json", lambda: saved.read_record(HOME / "run.json")),
        json.dumps(RUN).encode(),
        (saved.RunInvalid,),
        regressions=(DEEP,),
    ),
    Decoder(
        "record of the audit, in a history",
        ("qkms_chaos.checking.audit",),
        audit.read_entry,
        json.dumps(RECORD).encode(),
        regressions=(DEEP,),
    ),
    Decoder(
        "record of a cluster",
        ("qkms_chaos.cluster.layout",),
        file(HOME / "cluster.toml", lambda: layout.read_layout(HOME, HOME / "cluster.toml")),
        b'services = ["a"]\nspares = 0\n[[sites]]\n'
        + "\n".join(
            f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
            for name, value in vars(SITE).items()
        ).encode(),
        (layout.LayoutError,),
        regressions=(*NO_TOML, b"services = 1\nsites = [1]", b"sites = 1"),
    ),
)
