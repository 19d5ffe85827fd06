"""The KME's TOML file: what is read, and that every error names its field."""

from pathlib import Path

import pytest

from qkms_qkd.kme.settings import parse_settings, read_settings, split_address
from qkms_qkd.kme.toml_files import SettingsError
from sample_files import KME_TOML as GOOD


def test_a_file_of_the_documented_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "kme.toml"
    file.write_text(GOOD)
    settings = read_settings(file)
    assert settings.kme.id == "kme-1"
    assert settings.kme_of("node-1") == "kme-1"
    assert settings.kme_of("node-9") is None
    assert settings.keys.max_stored == 1000
    assert settings.links[0].identity() == "spiffe://qkms.dev/kme/kme-2"
    assert settings.tls.files().ca == Path("ca.pem")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('id = "kme-1"\nlisten', "listen", "kme.id"),
        ('id = "kme-1"\nlisten', "id = 7\nlisten", "kme.id"),
        ('id = "kme-1"\nlisten', 'id = "a b"\nlisten', "kme.id"),
        ('listen = "127.0.0.1:9301"', 'listen = "127.0.0.1"', "kme.listen"),
        ('link_listen = "127.0.0.1:9401"', 'link_listen = "127.0.0.1:70000"', "kme.link_listen"),
        ('link_listen = "127.0.0.1:9401"', 'link_listen = "127.0.0.1:9301"', "kme.link_listen"),
        ('data_dir = "data"', 'data_dir = ""', "kme.data_dir"),
        ('sae_identity = "cn"', 'sae_identity = "email"', "kme.sae_identity"),
        ("sae_identity", "sae_identitty", "kme.sae_identitty"),
        ('[tls]\nca = "ca.pem"', "[tls]", "tls.ca"),
        ("[tls]", "[tlss]", "tlss"),
        ("size_bits = 256", "size_bits = 255", "keys.size_bits"),
        ("size_bits = 256", "size_bits = 32", "keys.size_bits"),
        ("size_bits = 256", "min_size_bits = 9", "keys.min_size_bits"),
        ("size_bits = 256", "max_size_bits = 70000", "keys.max_size_bits"),
        ("size_bits = 256", "max_stored = 0", "keys.max_stored"),
        ("size_bits = 256", "max_per_request = 0", "keys.max_per_request"),
        ("size_bits = 256", "max_qber = 0.12", "keys.max_qber"),
        ("size_bits = 256", "max_uncollected_s = -1", "keys.max_uncollected_s"),
        ('[[saes]]\nid = "node-1"', "[[saes]]", "saes[0].id"),
        ("[[links]]", '[[saes]]\nid = "node-1"\nkme = "kme-2"\n[[links]]', "saes[1].id"),
        ('peer = "kme-2"', 'peer = "kme-1"', "links[0].peer"),
        ('peer_address = "127.0.0.1:9402"', 'peer_address = "nowhere"', "links[0].peer_address"),
        ("length_km = 25", "length_km = -1", "links[0].length_km"),
        ("length_km = 25", "length_km = nan", "links[0].length_km"),
        ("length_km = 25", 'length_km = "far"', "links[0].length_km"),
        ("pulse_rate_hz = 1.0e8", "pulse_rate_hz = 0", "links[0].pulse_rate_hz"),
        ("pulse_rate_hz = 1.0e8", "pulse_rate_hz = 1.0\nblock_s = 0", "links[0].block_s"),
        ("pulse_rate_hz = 1.0e8", 'pulse_rate_hz = 1.0\nmodel = "magic"', "links[0].model"),
        ("[[saes]]", '[skip]\nlisten = "nowhere"\n[[saes]]', "skip.listen"),
        ("[[saes]]", '[skip]\nlisten = "127.0.0.1:9301"\n[[saes]]', "skip.listen"),
        ("[[saes]]", "[skip]\n[[saes]]", "skip.listen"),
        ("[[links]]", '[network]\nlinks = [["kme-2", "kme-2"]]\n[[links]]', "network.links[0]"),
        ("[[links]]", '[network]\nlinks = [["kme-2"]]\n[[links]]', "network.links[0]"),
        ("[[links]]", '[network]\nlinks = [["kme-1", "kme-9"]]\n[[links]]', "network.links[0]"),
        ("[[links]]", "[network]\ndisjoint_routes = 0\n[[links]]", "network.disjoint_routes"),
        ("[[links]]", "[network]\nmax_relays = 99\n[[links]]", "network.max_relays"),
        ("[[links]]", "[network]\nmax_additional = -1\n[[links]]", "network.max_additional"),
        ("[[links]]", '[[quotas]]\nsaes = ["a", "a"]\nkeys_per_minute = 1\n[[links]]', "quotas[0].saes"),
        (
            "[[links]]",
            '[[quotas]]\nsaes = ["a", "b"]\nkeys_per_minute = -1\n[[links]]',
            "quotas[0].keys_per_minute",
        ),
        ("[[links]]", '[[quotas]]\nsaes = ["a"]\nkeys_per_minute = 1\n[[links]]', "quotas[0].saes"),
        ("[kme]", "[kme", "file"),
    ],
)
def test_every_error_names_its_field(old: str, new: str, field: str) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        parse_settings(GOOD.replace(old, new).encode())
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_a_link_listed_twice_is_refused() -> None:
    link = GOOD[GOOD.index("[[links]]") :]
    with pytest.raises(SettingsError, match=r"links\[1\]\.peer: 'kme-2' is listed twice"):
        parse_settings((GOOD + link).encode())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read"):
        read_settings(tmp_path / "absent.toml")


def test_addresses() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    with pytest.raises(ValueError, match="host:port"):
        split_address(":80")
