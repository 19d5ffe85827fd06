"""Listings: filters, pages, and names that were added or removed between pages."""

import pytest

from ledger_world import World, request, seeded
from qkms.v1 import key_pb2 as pb
from qkms_node.errors import InvalidField
from qkms_node.ledger import commands as c
from qkms_node.rpc import paging
from qkms_node.service.listing import KeyFilter, KeyNames

EVERYTHING = KeyFilter()


def with_keys(*names: str) -> World:
    world = seeded()
    for name in names:
        world.create(name)
    return world


def page(
    names: KeyNames, world: World, passing: KeyFilter = EVERYTHING, after: str = "", limit: int = 10
) -> list[str]:
    return [k.key_id for k in names.page(world.state, passing, after, limit)]


def test_pages_follow_the_order_of_names_whatever_is_added_or_removed_between() -> None:
    world, names = with_keys("b", "d", "a", "c"), KeyNames()
    assert page(names, world, limit=2) == ["a", "b"]
    world.create("bb")
    assert page(names, world, after="b", limit=2) == ["bb", "c"]
    world.do(c.DisableVersion(request(), "d", 1))
    world.do(c.DestroyVersion(request(), "d", 1, 0))
    world.do(c.DeleteKey(request(), "d"))
    assert page(names, world, after="c") == []
    assert page(names, world, KeyFilter(deleted=True)) == ["d"]


def test_a_snapshot_with_as_many_keys_is_not_taken_for_the_same() -> None:
    names = KeyNames()
    assert page(names, with_keys("a", "b")) == ["a", "b"]
    assert page(names, with_keys("c", "d")) == ["c", "d"]


def test_a_prefix_ends_where_it_ends() -> None:
    world, names = with_keys("app.1", "app.2", "apq", "zoo"), KeyNames()
    assert page(names, world, KeyFilter(prefix="app.")) == ["app.1", "app.2"]
    assert page(names, world, KeyFilter(prefix="app."), after="app.1") == ["app.2"]
    assert page(names, world, after="apq", limit=1) == ["zoo"]


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
