"""Every decoder of bytes from outside meets noise and altered samples: it accepts, or refuses in its own family.

The journal, snapshots, frames and messages of consensus have their own
fuzzing (test_consensus_untrusted_bytes), signatures theirs (test_schemes).
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms import backup, passphrase, recovery, sealed
from qkms.errors import BackupRejected, InvalidInput, SealedRejected, SharesRejected
from qkms.kem import HybridPrivateKey
from qkms.v1 import key_pb2
from qkms_client.errors import PrivateKeyInvalid, ProfileInvalid
from qkms_client.private_keys import to_pkcs8
from qkms_client.profile import load_profile
from qkms_node import config, csr, joining
from qkms_node.errors import QkmsError
from qkms_node.keys import data, errors, local, secret
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.keys.importing import exported_material, imported_material
from qkms_node.rpc import key_fields, paging
from qkms_node.service import watching
from qkms_qkd.answers import HttpAnswer
from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014 import reading
from qkms_qkd.keyfiles import reading as key_files
from qkms_qkd.kme import settings as kme_settings
from qkms_qkd.skip import reading as skip_reading
from sample_files import KME_TOML, NODE_TOML

KEY = bytes(range(32))
PRIVATE = HybridPrivateKey.generate()
PURPOSE: sealed.Purpose = ("fuzz",)
LISTING = key_pb2.ListKeysRequest(page_size=2)
EC_PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
)
KEY_ID = "0d782086-1a5f-4d1b-8d5a-0c3a4d1c5b11"


@dataclass(frozen=True)
class Decoder:
    """A function of bytes, a sample that it takes, and the families of its refusals."""

    name: str
    decode: Callable[[bytes], object]
    sample: bytes
    refusals: tuple[type[Exception], ...]


def text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    """A decoder of text: bytes stand for characters, so that every one of them is met."""
    return lambda raw: decode(raw.decode("latin-1"))


def _encryption() -> secret.EncryptionKey:
    return secret.EncryptionKey(KEY)


def _answer(raw: bytes) -> HttpAnswer:
    return HttpAnswer(200, "application/json", raw)


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

IN_MEMORY = (
    Decoder(
        "ciphertext",
        lambda raw: data.open_sealed(_encryption(), raw, b"aad"),
        data.seal(_encryption(), 1, b"plaintext", b"aad", bytes(24)),
        (errors.CiphertextMalformed, errors.CiphertextRejected),
    ),
    Decoder(
        "sealed store",
        lambda raw: local.open_local(secret.LocalSealKey(KEY), raw, cluster_id="c", node_id="n"),
        local.seal_local(secret.LocalSealKey(KEY), b"payload", cluster_id="c", node_id="n", nonce=bytes(24)),
        (errors.LocalSealRejected,),
    ),
    Decoder(
        "sealed to a key",
        lambda raw: sealed.open_sealed_to(PRIVATE, raw, PURPOSE),
        sealed.seal_to(PRIVATE.public, b"payload", PURPOSE),
        (SealedRejected,),
    ),
    *(
        Decoder(
            f"private key of {algorithm}",
            lambda raw, algorithm=algorithm: imported_material(algorithm, raw, secrets.token_bytes),  # type: ignore[misc]
            exported_material(algorithm, ALGORITHMS[algorithm].draw(secrets.token_bytes)),
            (errors.MaterialRejected,),
        )
        for algorithm in ("ED25519", "ECDSA_P384_SHA384", "ML_DSA_65", "ML_KEM_768")
    ),
    Decoder(
        "file of a private key",
        to_pkcs8,
        EC_PEM,
        (PrivateKeyInvalid,),
    ),
    Decoder("backup preamble", backup.read_preamble, backup.preamble(b"{}"), (BackupRejected,)),
    Decoder(
        "passphrase parameters",
        passphrase.Argon2Parameters.decode,
        passphrase.Argon2Parameters(bytes(16), 65_536, 3, 4).encode(),
        (InvalidInput,),
    ),
    Decoder(
        "recovery share",
        text(recovery.read_share),
        recovery.share_text(recovery.RecoveryShare("ab" * recovery.SET_ID_BYTES, 2, 1, bytes(48))).encode(),
        (SharesRejected,),
    ),
    Decoder("join token", text(joining.parse_token), b"node-4." + b"A" * 43, (joining.JoinFailed,)),
    Decoder(
        "certificate request",
        lambda raw: csr.check_csr(raw, "t", "n", ()),
        csr.make_csr("t", "n")[1],
        (csr.CsrRefused,),
    ),
    Decoder("resume token", text(watching.revision_of), watching.token(7).encode(), (QkmsError,)),
    Decoder(
        "page token",
        text(lambda token: paging.after(LISTING, token)),
        paging.token(LISTING, "app.1").encode(),
        (QkmsError,),
    ),
    Decoder("etag", text(lambda etag: key_fields.revision_of("etag", etag)), b'"12"', (QkmsError,)),
    Decoder("014 keys", lambda raw: reading.read_keys("kme", _answer(raw), 256), PRISTINE, (LinkError,)),
    Decoder(
        "014 status",
        lambda raw: reading.read_status("kme", "node-2", _answer(raw)),
        json.dumps(STATUS).encode(),
        (LinkError,),
    ),
    Decoder(
        "014 refusal",
        lambda raw: reading.read_keys("kme", HttpAnswer(400, "application/json", raw), 256),
        b'{"message": "size shall be a multiple of 8", "details": [{}]}',
        (LinkError,),
    ),
    Decoder(
        "SKIP key",
        lambda raw: skip_reading.read_key("kme", _answer(raw), "ab" * 16, 256),
        json.dumps({"keyId": "ab" * 16, "key": "cd" * 32}).encode(),
        (LinkError,),
    ),
    Decoder(
        "SKIP capabilities",
        lambda raw: skip_reading.read_status("kme", "node-2", 256, _answer(raw)),
        b'{"entropy": true, "key": true, "algorithm": "QKD", "localSystemID": "n", "remoteSystemID": ["node-*"]}',
        (LinkError,),
    ),
    Decoder(
        "key file",
        lambda raw: key_files.read_key("files", "key-1", raw, 256),
        json.dumps({"key_ID": "key-1", "key": "A" * 43 + "="}).encode(),
        (LinkError,),
    ),
)


def altered(sample: bytes) -> st.SearchStrategy[bytes]:
    """Noise, and the sample cut off, spliced, extended, or with bytes changed."""
    places = st.integers(0, len(sample))
    noise = st.binary(max_size=40)

    def spliced(place: int, end: int, middle: bytes) -> bytes:
        return sample[:place] + middle + sample[max(place, end) :]

    return st.one_of(st.binary(max_size=300), st.builds(spliced, places, places, noise))


@pytest.mark.parametrize("decoder", IN_MEMORY, ids=lambda decoder: decoder.name)
def test_the_sample_is_taken(decoder: Decoder) -> None:
    if "refusal" in decoder.name:
        with pytest.raises(decoder.refusals):
            decoder.decode(decoder.sample)
    else:
        decoder.decode(decoder.sample)


@pytest.mark.parametrize("decoder", IN_MEMORY, ids=lambda decoder: decoder.name)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_bytes_are_taken_or_refused_in_the_family(decoder: Decoder, drawn: st.DataObject) -> None:
    raw = drawn.draw(altered(decoder.sample))
    try:
        decoder.decode(raw)
    except decoder.refusals as refusal:
        assert str(refusal)  # noqa: PT017


NODE = (NODE_TOML + '[tracing]\nendpoint = "http://127.0.0.1:4317"\n').encode()
PROFILE_TOML = b"""
ca = "ca.pem"
certificate = "node.pem"
private_key = "node.key"
[endpoints]
node-1 = "127.0.0.1:2"
"""

FILES: dict[str, tuple[Callable[[Path], object], bytes, type[Exception]]] = {
    "node configuration": (config.load, NODE, config.ConfigError),
    "KME configuration": (kme_settings.read_settings, KME_TOML.encode(), kme_settings.SettingsError),
    "client profile": (load_profile, PROFILE_TOML, ProfileInvalid),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files that the samples name."""
    made = tmp_path_factory.mktemp("files")
    for name in ("ca.pem", "node.pem", "node.key"):
        (made / name).touch()
    return made


@pytest.mark.parametrize("name", FILES)
def test_the_sample_file_is_taken(name: str, folder: Path) -> None:
    load, sample, _ = FILES[name]
    (folder / "sample.toml").write_bytes(sample)
    load(folder / "sample.toml")


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_altered_file_is_taken_or_refused_in_the_family(name: str, folder: Path, drawn: st.DataObject) -> None:
    load, sample, refusal = FILES[name]
    path = folder / "altered.toml"
    path.write_bytes(drawn.draw(altered(sample)))
    try:
        load(path)
    except refusal as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "problem",
    [
        b"\xff",
        NODE.replace(b"http://127.0.0.1:4317", b"http://[127.0.0.1:4317"),
        NODE.replace(b"ca.pem", b"ca\\u0000.pem"),
        b"a = " + b"[" * 5_000,
        b"a" + b".a" * 2_000 + b" = 1",
    ],
    ids=["not UTF-8", "no URL", "NUL in a path", "deep arrays", "deep keys"],
)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_parsers_stumble_over_is_refused(name: str, problem: bytes, folder: Path) -> None:
    load, _, refusal = FILES[name]
    path = folder / "problem.toml"
    path.write_bytes(problem)
    with pytest.raises(refusal):
        load(path)
