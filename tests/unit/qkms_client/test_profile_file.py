"""Profiles: found where they should be, and every mistake named by its field."""

from pathlib import Path

import pytest

from qkms_client import Profile, load_profile
from qkms_client.errors import ProfileInvalid
from qkms_node.pki import Authority, Identity, Material

GOOD = {
    "ca": '"tls/ca.pem"',
    "certificate": '"tls/me.pem"',
    "private_key": '"/elsewhere/me.key"',
    "endpoints": '{ node-2 = "10.0.0.2:9201", node-1 = "[::1]:9201" }',
}


def written(folder: Path, **changes: str | None) -> Path:
    """A profile file: the good one with changes; None leaves a field out."""
    fields = {name: text for name, text in (GOOD | changes).items() if text is not None}
    path = folder / "profile.toml"
    path.write_text("".join(f"{name} = {text}\n" for name, text in fields.items()))
    return path


def test_paths_are_relative_to_the_file_and_the_order_of_nodes_is_kept(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, timeout_s="4", attempt_timeout_s="0.5"))
    assert profile.ca == tmp_path / "tls/ca.pem"
    assert profile.private_key == Path("/elsewhere/me.key")
    assert list(profile.endpoints) == ["node-2", "node-1"]
    assert (profile.timeout_s, profile.attempt_timeout_s) == (4.0, 0.5)


def test_the_file_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, home = tmp_path / "named", tmp_path / "home/.config/qkms"
    for folder in (named, home):
        folder.mkdir(parents=True)
        written(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QKMS_PROFILE", raising=False)
    assert load_profile().ca.is_relative_to(home)
    monkeypatch.setenv("QKMS_PROFILE", str(named / "profile.toml"))
    assert load_profile().ca.is_relative_to(named)
    assert load_profile(written(tmp_path)).ca == tmp_path / "tls/ca.pem"


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("ca", None, "path of a PEM file"),
        ("certificate", "3", "path of a PEM file"),
        ("private_key", '""', "path of a PEM file"),
        ("endpoints", None, "table"),
        ("endpoints", "{}", "at least one node"),
        ("endpoints.node-1", '"localhost"', "not host:port"),
        ("endpoints.node-1", '"localhost:0"', "not host:port"),
        ("endpoints.node-1", '"localhost:70000"', "not host:port"),
        ("endpoints.node-1", "9201", "not host:port"),
        ("timeout_s", "0", "seconds"),
        ("timeout_s", '"3"', "seconds"),
        ("timeout_s", "nan", "seconds"),
        ("timeout_s", "true", "seconds"),
        ("attempt_timeout_s", "-1", "seconds"),
        ("timeout", "3", "no such field"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, field: str, text: str | None, says: str) -> None:
    changes = {"endpoints": None, field: text} if field.startswith("endpoints.") else {field: text}
    path = written(tmp_path, **changes)
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path)
    assert str(path) in caught.value.message
    assert f"{field}: " in caught.value.message
    assert says in caught.value.message


def test_a_missing_file_says_how_it_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QKMS_PROFILE", str(tmp_path / "none.toml"))
    with pytest.raises(ProfileInvalid, match=r"none\.toml: there is no such file \(named by \$QKMS_PROFILE\)"):
        load_profile()


def test_what_is_not_toml_is_said(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text("endpoints: yaml")
    with pytest.raises(ProfileInvalid, match="not TOML"):
        load_profile(path)


def of(material: Material) -> Profile:
    return Profile({"node-1": "127.0.0.1:9201"}, material.ca, material.certificate, material.private_key)


def test_the_principal_is_that_of_the_certificate(tmp_path: Path) -> None:
    material = Authority(tmp_path).issue(Identity("service", "payments"))
    assert of(material).principal() == "spiffe://qkms.dev/service/payments"


@pytest.mark.parametrize("field", ["ca", "certificate", "private_key"])
def test_a_missing_pem_file_is_named_by_its_field(tmp_path: Path, field: str) -> None:
    material = Authority(tmp_path).issue(Identity("service", "payments"))
    getattr(material, field).unlink()
    with pytest.raises(ProfileInvalid, match=f"^PROFILE_INVALID: {field}: "):
        of(material).read_tls()


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    material = Authority(tmp_path).issue(Identity("service", "payments"))
    material.certificate.write_text("-----BEGIN NOTHING-----")
    with pytest.raises(ProfileInvalid, match=r"certificate: .* is not a PEM certificate"):
        of(material).principal()
