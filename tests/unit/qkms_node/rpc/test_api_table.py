"""docs/api.md has one row for each RPC, and its rows say what the descriptors and the code say.

When this fails after a method was added: add its row to the table of its service in
docs/api.md, in the order of the .proto file. The message says which row and what is wrong.
"""

import ast
import importlib
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

import qkms.v1
import qkms_node
from qkms_node.rpc.errors import STATUS

DOCUMENT = Path(__file__).parents[4] / "docs" / "api.md"
TEXT = DOCUMENT.read_text()
ASKS = {"require", "allows", "still", "holds", "change", "_change", "admit"}
ACTION = re.compile(r"[a-z]+\.[a-z_]+")
CODE = re.compile(r"`([A-Z]+_[A-Z_]+|INTERNAL|SEALED)`")
NO_ACTION = "none"
"""In the column of actions: whoever has a certificate may call it."""


@dataclass(frozen=True)
class Row:
    """A row of the document."""

    service: str
    method: str
    action: str
    idempotency: str
    consistency: str
    errors: str


def descriptors() -> dict[tuple[str, str], MethodDescriptor]:
    """Every method of every service of qkms.v1, in the order of the protocol."""
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(qkms.v1.__path__) if m.name.endswith("_pb2")):
        descriptor = importlib.import_module(f"qkms.v1.{module}").DESCRIPTOR
        for service in descriptor.services_by_name.values():
            for method in service.methods:
                found[service.name, method.name] = method
    return found


def rows() -> list[Row]:
    found, service = [], ""
    for line in TEXT.splitlines():
        if line.startswith("## "):
            service = line.removeprefix("## ").strip()
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and service.endswith("Service"):
            assert len(cells) == 5, f"docs/api.md: a row of {service} has {len(cells)} cells, not 5: {line}"
            found.append(Row(service, cells[0].strip("`"), *cells[1:]))
    return found


METHODS = descriptors()
ROWS = {(row.service, row.method): row for row in rows()}


@cache
def actions_in_code() -> set[str]:
    """Strings that are given to the guard, directly or as an `action`."""
    found: set[str] = set()
    folder = Path(qkms_node.__file__).parent
    for path in (*folder.glob("service/**/*.py"), *folder.glob("rpc/**/*_servicer.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            given: list[ast.expr | None] = []
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                given += node.args if name in ASKS else []
                given += [word.value for word in node.keywords if word.arg == "action"]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [argument.arg for argument in node.args.args]
                defaults = node.args.defaults
                given += [d for n, d in zip(reversed(names), reversed(defaults), strict=False) if n == "action"]
            constants = {c.value for c in given if isinstance(c, ast.Constant) and isinstance(c.value, str)}
            found |= {value for value in constants if ACTION.fullmatch(value)}
    return found


def test_every_rpc_has_one_row_and_every_row_an_rpc() -> None:
    missing = [f"{service}/{method}" for service, method in METHODS if (service, method) not in ROWS]
    assert not missing, f"docs/api.md has no row for {', '.join(missing)}: add one each"
    gone = [f"{service}/{method}" for service, method in ROWS if (service, method) not in METHODS]
    assert not gone, f"docs/api.md has rows for {', '.join(gone)}, which no service has: remove them"
    assert len(rows()) == len(ROWS), "docs/api.md has two rows for one method"


@pytest.mark.parametrize("place", METHODS, ids="/".join)
def test_a_row_says_what_the_request_has(place: tuple[str, str]) -> None:
    if place not in ROWS:
        pytest.skip("has no row yet; another test says so")
    row, request = ROWS[place], METHODS[place].input_type
    fields = set(request.fields_by_name)
    name = "/".join(place)
    assert ("request_id" in row.idempotency) == ("request_id" in fields), (
        f"docs/api.md: {name}: its request has {'a' if 'request_id' in fields else 'no'} request_id; "
        "write `request_id` in the column of idempotency exactly then, else `read`"
    )
    assert row.idempotency, f"docs/api.md: {name}: say how it may be repeated"
    assert row.consistency.startswith("asked") == ("consistency" in fields), (
        f"docs/api.md: {name}: its request has {'a' if 'consistency' in fields else 'no'} consistency; "
        "begin the column with `asked` exactly then"
    )
    assert row.consistency, f"docs/api.md: {name}: say from which state it is answered"


@pytest.mark.parametrize("place", METHODS, ids="/".join)
def test_a_row_names_actions_and_codes_that_there_are(place: tuple[str, str]) -> None:
    if place not in ROWS:
        pytest.skip("has no row yet; another test says so")
    row, name = ROWS[place], "/".join(place)
    named = re.findall(r"`([^`]+)`", row.action)
    assert named or row.action.startswith(NO_ACTION), f"docs/api.md: {name}: name its action, or write none"
    unheard = sorted(set(named) - actions_in_code())
    assert not unheard, f"docs/api.md: {name}: no use case asks the guard for {', '.join(unheard)}"
    unknown = sorted(set(CODE.findall(row.errors)) - STATUS.keys())
    assert not unknown, f"docs/api.md: {name}: rpc.errors has no code {', '.join(unknown)}"


def test_every_action_and_every_code_is_somewhere_in_the_document() -> None:
    known = actions_in_code()
    assert {"keys.create", "crypto.encrypt", "crypto.data_key", "keys.disable"} <= known, "the search itself works"
    named = {action for row in ROWS.values() for action in re.findall(r"`([^`]+)`", row.action)}
    assert not known - named, f"docs/api.md: no row has the action {', '.join(sorted(known - named))}"
    missing = STATUS.keys() - set(CODE.findall(TEXT))
    assert not missing, f"docs/api.md: no row or list has the code {', '.join(sorted(missing))}"
