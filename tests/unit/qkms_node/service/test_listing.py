"""Listings: filters, pages, and names that were added or removed between pages."""

import pytest

from ledger_world import World, request, seeded
from qkms.v1 import key_pb2 as pb
from qkms_node.errors import InvalidField
from qkms_node.ledger import commands as c
from qkms_node.rpc import paging
from qkms_node.service import listing
from qkms_node.service.listing import KeyFilter, look

EVERYTHING = KeyFilter()


def with_keys(*names: str) -> World:
    world = seeded()
    for name in names:
        world.create(name)
    return world


def page(world: World, passing: KeyFilter = EVERYTHING, after: str = "", limit: int = 10) -> list[str]:
    return [k.key_id for k in look(world.state, passing, after, limit).keys]


def test_pages_follow_the_order_of_names_whatever_is_added_or_removed_between() -> None:
    world = with_keys("b", "d", "a", "c")
    assert page(world, limit=2) == ["a", "b"]
    world.create("bb")
    assert page(world, after="b", limit=2) == ["bb", "c"]
    world.do(c.DisableVersion(request(), "d", 1))
    world.do(c.DestroyVersion(request(), "d", 1, 0))
    world.do(c.DeleteKey(request(), "d"))
    assert page(world, after="c") == []
    assert page(world, KeyFilter(deleted=True)) == ["d"]


def test_a_filter_that_few_pass_is_looked_for_in_bounded_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger stands still during each of them."""
    monkeypatch.setattr(listing, "LOOKED_AT", 2)
    world = with_keys("a", "b", "c", "d", "e")
    disabled = KeyFilter(disabled=True)
    world.do(c.DisableKey(request(), "e"))
    after, steps = "", []
    while True:
        seen = look(world.state, disabled, after, 10)
        steps.append(([key.key_id for key in seen.keys], seen.after))
        if not (after := seen.after):
            break
    assert steps == [([], "b"), ([], "d"), (["e"], "")]


def test_a_prefix_ends_where_it_ends() -> None:
    world = with_keys("app.1", "app.2", "apq", "zoo")
    assert page(world, KeyFilter(prefix="app.")) == ["app.1", "app.2"]
    assert page(world, KeyFilter(prefix="app."), after="app.1") == ["app.2"]
    assert page(world, after="apq", limit=1) == ["zoo"]


def test_a_token_continues_its_own_listing_only() -> None:
    request = pb.ListKeysRequest(page_size=2, filter=pb.KeyFilter(key_id_prefix="a"))
    token = paging.token(request, "app.1")
    later = pb.ListKeysRequest(page_size=50, page_token=token, filter=pb.KeyFilter(key_id_prefix="a"))
    assert paging.after(later, token) == "app.1"
    assert paging.after(later, "") == ""
    other = pb.ListKeysRequest(page_token=token, filter=pb.KeyFilter(key_id_prefix="b"))
    with pytest.raises(InvalidField, match="another filter"):
        paging.after(other, token)
    with pytest.raises(InvalidField, match="another filter"):
        paging.after(pb.ListVersionsRequest(parent="keys/a"), token)


@pytest.mark.parametrize(
    "bad", ["payments", "!!!!", "cDE=", "//8=", "_w==", paging.token(pb.ListKeysRequest(), "")]
)
def test_what_is_no_token_is_refused(bad: str) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        paging.after(pb.ListKeysRequest(), bad)
