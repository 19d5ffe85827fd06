"""The cryptographic layers import no clock, no randomness, no IO and no logging."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted([*(ROOT / "proto" / "qkms").glob("*.py"), *(ROOT / "node" / "qkms_node" / "keys").glob("*.py")])
ALLOWED = {
    "abc",
    "base64",
    "collections",
    "cryptography",
    "dataclasses",
    "enum",
    "hashlib",
    "hmac",
    "json",
    "math",
    "types",
    "typing",
}
OWN = ("qkms.", "qkms_node.keys.")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_pure_modules_are_imported(path: Path) -> None:
    foreign = {name for name in imports(path) if not name.startswith(OWN)}
    unaudited = {"pqcrypto"} if path.stem == "slh_dsa" else set()
    assert {name.split(".")[0] for name in foreign} <= ALLOWED | unaudited


DRAWS = {"generate", "generate_key", "generate_private_key", "keygen", "encapsulate"}


def test_libraries_draw_randomness_in_known_modules_only() -> None:
    drawing = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if getattr(node, "attr", None) in DRAWS or getattr(node, "id", None) == "generate_private_key"
    }
    keys = {f"node/qkms_node/keys/{name}.py" for name in ("kem", "rsa", "signing", "slh_dsa")}
    assert drawing == keys | {"proto/qkms/kem.py", "proto/qkms/wrapping.py"}


def test_labels_are_written_in_the_labels_module_only() -> None:
    writing = [
        path
        for package in ("proto", "node", "client", "qkd_adapter", "chaos")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and node.value.startswith(b"qkms/")
    ]
    assert {path.relative_to(ROOT).as_posix() for path in writing} == {"proto/qkms/labels.py"}
