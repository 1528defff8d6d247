"""The tree against the published vectors of RFC 6962's reference log, and against a plain recursive reading of the RFC."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import merkle
from hub.errors import RecordError

VECTOR_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def plain_root(leaves):
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


def hashes(count):
    return [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(count)]


class Tiles(dict):
    def read(self, level, index):
        return self.get((level, index), b"")

    def add(self, size, leaves):
        self.update(merkle.grow(size, leaves, self.read))


LEAVES = hashes(700)
ALL = Tiles()
ALL.add(0, LEAVES)


def test_the_published_vectors():
    leaves = [merkle.leaf_hash(bytes.fromhex(each)) for each in VECTOR_LEAVES]
    assert [merkle.root_of(leaves[: n + 1]).hex() for n in range(8)] == VECTOR_ROOTS
    tiles = Tiles()
    for n, leaf in enumerate(leaves):
        tiles.add(n, [leaf])
        assert merkle.root(tiles.read, n + 1).hex() == VECTOR_ROOTS[n]


@given(st.lists(st.integers(1, 300), max_size=6))
@settings(max_examples=40, deadline=None)
def test_however_leaves_arrive_the_tiles_are_the_same(parts):
    total = min(sum(parts), len(LEAVES))
    tiles, size = Tiles(), 0
    for part in parts:
        part = min(part, total - size)
        if part:
            tiles.add(size, LEAVES[size : size + part])
            size += part
    assert merkle.root(tiles.read, size) == plain_root(LEAVES[:size]) == merkle.root_of(LEAVES[:size])
    assert all(tiles[0, n] == b"".join(LEAVES[n * 256 : min(size, n * 256 + 256)]) for n in range((size + 255) // 256))


@given(st.integers(1, 700), st.data())
@settings(max_examples=120, deadline=None)
def test_an_audit_path_leads_to_the_root_and_a_changed_one_does_not(size, data):
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion(ALL.read, index, size)
    root = plain_root(LEAVES[:size])
    assert path == merkle.path_of(index, LEAVES[:size])
    assert merkle.root_from_path(LEAVES[index], index, size, path) == root
    if path:
        at, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
        changed = bytearray(path[at])
        changed[bit // 8] ^= 1 << bit % 8
        assert merkle.root_from_path(LEAVES[index], index, size, [*path[:at], bytes(changed), *path[at + 1 :]]) != root
        with pytest.raises(RecordError):
            merkle.root_from_path(LEAVES[index], index, size, path[:-1])
    with pytest.raises(RecordError):
        merkle.root_from_path(LEAVES[index], index, size, [*path, b"\0" * 32])


@given(st.integers(0, 700), st.integers(0, 700), st.data())
@settings(max_examples=150, deadline=None)
def test_a_consistency_proof_holds_for_what_was_there_and_nothing_else(one, other, data):
    old, size = sorted((one, other))
    old_root, root = plain_root(LEAVES[:old]), plain_root(LEAVES[:size])
    proof = merkle.consistency(ALL.read, old, size)
    assert merkle.check_consistency(old, old_root, size, root, proof)
    if old and old != size:
        assert not merkle.check_consistency(old, bytes(32), size, root, proof)
        assert not merkle.check_consistency(old, old_root, size, bytes(32), proof)
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not merkle.check_consistency(old, old_root, size, root, proof[:at] + proof[at + 1 :])
        assert not merkle.check_consistency(old, old_root, size, root, [*proof, proof[0]])
    if old < size:
        assert not merkle.check_consistency(size, root, old, old_root, [])


def test_every_two_small_trees_are_proven_and_by_no_proof_cut_short_or_drawn_out():
    roots, more = [plain_root(LEAVES[:n]) for n in range(40)], b"\xff" * 32
    for size in range(1, 40):
        for old in range(1, size):
            proof = merkle.consistency(ALL.read, old, size)
            assert merkle.check_consistency(old, roots[old], size, roots[size], proof), (old, size)
            assert not any(merkle.check_consistency(old, roots[old], size, roots[size], proof[:n]) for n in range(len(proof)))
            # Not even where both roots are made to fit: then the proof is of other sizes (RFC 9162 §2.1.4.2, step 5.1).
            one, other = merkle.node_hash(more, roots[old]), merkle.node_hash(more, roots[size])
            assert not merkle.check_consistency(old, one, size, other, [*proof, more])


def test_a_missing_tile_is_named():
    with pytest.raises(RecordError, match="tile 0/1"):
        merkle.root(lambda level, n: b"" if (level, n) == (0, 1) else ALL.read(level, n), 300)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_there_is_no_path_of_a_leaf_outside_the_tree(index, size):
    with pytest.raises(RecordError, match="outside the tree"):
        merkle.inclusion(ALL.read, index, size)
    with pytest.raises(RecordError, match="outside the tree"):
        merkle.root_from_path(LEAVES[0], index, size, merkle.path_of(0, LEAVES[:size]))


def test_there_is_no_proof_from_a_tree_that_is_larger_or_none():
    assert merkle.consistency(ALL.read, 0, 5) == merkle.consistency(ALL.read, 5, 5) == []
    for old in (-1, 6):
        with pytest.raises(RecordError, match="older tree is larger"):
            merkle.consistency(ALL.read, old, 5)


def test_nothing_continues_to_nothing_by_its_one_root():
    assert merkle.check_consistency(0, merkle.EMPTY, 0, merkle.EMPTY, [])
    for root in (bytes(32), b"\xff" * 32):
        assert not merkle.check_consistency(0, merkle.EMPTY, 0, root, [])
