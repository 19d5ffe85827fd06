"""The node's TOML file: every error names the file and the field."""

import re
from pathlib import Path

import msgspec
import pytest

from qkms_node.config import load
from qkms_node.config_fields import ConfigError
from qkms_node.config_quantum import PrefetchSection
from sample_files import NODE_TOML as GOOD


def written(folder: Path, text: str) -> Path:
    for name in ("ca.pem", "node.pem", "node.key"):
        (folder / name).touch()
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_with_paths_relative_to_itself(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.me.id == "node-1"
    assert config.node.data_dir == tmp_path / "data"
    assert config.root.policy == "require_qkd"
    assert config.access.rules[0].keys == ("*",)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('id = "node-1"\ndata_dir', 'id = "Node 1"\ndata_dir', "node.id"),
        ('id = "node-1"\ndata_dir', 'id = "node-9"\ndata_dir', "node.id: node-9 is not among"),
        ('data_dir = "data"', "", "node"),
        ('listen = "127.0.0.1:9101"', 'listen = "9101"', "raft.listen"),
        ('listen = "127.0.0.1:9201"', 'listen = "127.0.0.1:9201"\nlisten_too = 1', "rpc"),
        ('mode = "keyfile"', 'mode = "sticker"', "seal.mode"),
        ('kme_url = "https', 'kme_url = "http', "qkd.kme_url"),
        ('kme_url = "https://127.0.0.1:9301"', "", "qkd.kme_url: protocol etsi014 needs it"),
        ('kme_id = "kme-1"', 'kme_id = "kme-1"\nprotocol = "files"', "qkd.folder: protocol files needs it"),
        ('kme_id = "kme-1"', 'kme_id = "kme-1"\nprotocol = "skip"\nfolder = "keys"', "qkd.folder: protocol skip"),
        ('kme_id = "kme-1"', 'kme_id = "kme-1"\nprotocol = "carrier pigeon"', "qkd.protocol"),
        ('kme_id = "kme-1"', "", "qkd.kme_id: is needed"),
        ('kme_id = "kme-1"', 'kme_id = ""', "qkd.kme_id"),
        ("[northbound]", "[qkd.prefetch]\nlow = 17\n[northbound]", "qkd.prefetch.low: must not be over high"),
        ('kme_id = "kme-1"', 'kme_id = "kme-1"\nmax_qber = 0.12', "qkd.max_qber"),
        ('id = "node-2"', 'id = "node-1"', "cluster.members"),
        ("[raft]\n", "[raft]\nheartbeat_ms = 100\n", "raft.heartbeat_ms"),
        ("[raft]\n", "[raft]\nelection_timeout_max_ms = 100\n", "raft.election_timeout_max_ms"),
        ("[raft]\n", "[raft]\nleader_fallback_ms = 30\n", "raft.leader_fallback_ms"),
        ("[qkd]\n", '[root]\npolicy = "hope"\n[qkd]\n', "root.policy"),
        ('[northbound.etsi014]\nlisten = "127.0.0.1:9501"\n', "", "northbound: needs etsi014.listen"),
        ('saes = ["sae:*"]', "saes = []", "northbound.saes"),
        ('saes = ["sae:*"]', 'saes = ["sae:*"]\nsize_bits = 2048', "northbound.size_bits: must lie"),
        ('saes = ["sae:*"]', 'saes = ["sae:*"]\nmin_size_bits = 100', "northbound.min_size_bits"),
        ('saes = ["sae:*"]', 'saes = ["sae:*"]\nmax_per_request = 1024', "northbound.max_per_request: so many"),
        ('saes = ["sae:*"]', 'saes = ["sae:*"]\nsae_identity = "voice"', "northbound.sae_identity"),
        ('ca = "ca.pem"', 'ca = "gone.pem"', "tls.ca"),
        ("[node]", "[node", "node.toml"),
    ],
)
def test_a_bad_file_is_refused_by_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


def test_require_qkd_needs_a_kme(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[qkd]")]
    with pytest.raises(ConfigError, match=r"root\.policy"):
        load(written(tmp_path, text))
    assert load(written(tmp_path, text + '[root]\npolicy = "pqc_only"\n')).qkd is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read"):
        load(tmp_path / "gone.toml")


def test_the_documented_file_is_valid_and_documents_every_field_with_its_default(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "node.toml").read_text()
    for name in ("ca.pem", "node-1.pem", "node-1.key"):
        (tmp_path / name).touch()
    path = tmp_path / "node.toml"
    path.write_text(text)
    documented = load(path)
    for section in msgspec.structs.fields(type(documented)):
        value = getattr(documented, section.name)
        values = value if isinstance(value, tuple) else (value,)
        for part in (*values, *documented.cluster.members, *documented.access.rules):
            for field in msgspec.structs.fields(type(part)):
                assert re.search(rf"^(# )?(\[+[a-z.]*)?{field.name}\b", text, re.M), f"{section.name}.{field.name}"
                if field.default not in (msgspec.NODEFAULT, None) and field.name != "rules":
                    assert getattr(part, field.name) == field.default, f"{section.name}.{field.name}"


KME = '[[qkd.kmes]]\nkme_id = "{}"\nkme_url = "https://127.0.0.1:9301"\n'
SINGLE = 'kme_id = "kme-1"\nkme_url = "https://127.0.0.1:9301"\n'


def with_kmes(kmes: str, beside: str = "") -> str:
    assert SINGLE in GOOD
    return GOOD.replace(SINGLE, beside + kmes)


def test_several_kmes_are_in_the_order_of_their_priorities(tmp_path: Path) -> None:
    kmes = [KME.format(f"kme-{name}") + f"priority = {i}\n" for name, i in (("c", 3), ("a", 1), ("b", 3))]
    section = load(written(tmp_path, with_kmes("".join(kmes)))).qkd
    assert section is not None
    assert [kme.kme_id for kme in section.sources] == ["kme-a", "kme-c", "kme-b"]
    single = load(written(tmp_path, GOOD)).qkd
    assert single is not None
    assert [(kme.kme_id, kme.kme_url) for kme in single.sources] == [("kme-1", "https://127.0.0.1:9301")]


@pytest.mark.parametrize(
    ("kmes", "beside", "complaint"),
    [
        (KME.format("a"), 'kme_id = "a"\n', "qkd.kme_id: is of a single KME; with [[qkd.kmes]] each has its own"),
        (KME.format("a"), 'protocol = "skip"\n', "qkd.protocol: is of a single KME"),
        (KME.format("a") * 2, "", "qkd.kmes[1].kme_id: a is there twice"),
        (KME.format("a") + 'folder = "keys"\n', "", "qkd.kmes[0].folder: protocol etsi014 does not use it"),
        (KME.format("a") + '[[qkd.kmes]]\nkme_id = "b"\n', "", "qkd.kmes[1].kme_url: protocol etsi014 needs it"),
        (KME.format("a") + "priority = -1\n", "", "qkd.kmes[0].priority"),
        (
            '[[qkd.kmes]]\nkme_id = "a"\nprotocol = "files"\nfolder = "f"\n[qkd.prefetch]\n',
            "",
            "qkd.prefetch: key files are at hand",
        ),
    ],
)
def test_bad_kmes_are_refused_by_field(tmp_path: Path, kmes: str, beside: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, with_kmes(kmes, beside)))
    assert complaint in str(caught.value)


def test_a_node_that_keeps_no_secret_on_its_disk_draws_no_key_ahead(tmp_path: Path) -> None:
    text = GOOD.replace('mode = "keyfile"\nkey_file = "seal.key"', 'mode = "peers"')
    load(written(tmp_path, text))
    with pytest.raises(ConfigError, match=r"qkd\.prefetch: seal\.mode peers"):
        load(written(tmp_path, text.replace(SINGLE, SINGLE + "[qkd.prefetch]\n")))


def test_what_the_documented_file_has_commented_out_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "node.toml").read_text()
    for name in ("ca.pem", "node-1.pem", "node-1.key"):
        (tmp_path / name).touch()
    start, end = text.index("# [[qkd.kmes]]"), text.index("[qkd.alarms]")
    several = re.sub(r"^(kme_id|protocol|kme_url) .*\n", "", text[:start], flags=re.M)
    several += re.sub("^# ?", "", text[start:end], flags=re.M) + text[end:]
    (tmp_path / "node.toml").write_text(several)
    section = load(tmp_path / "node.toml").qkd
    assert section is not None
    assert [kme.priority for kme in section.sources] == [10, 20]
    assert section.prefetch == PrefetchSection(), "the defaults"
