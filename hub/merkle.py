"""The Merkle tree of RFC 6962 over SHA-256, kept in tiles of 256 hashes (C2SP tlog-tiles).

Pure: whoever holds the tiles gives a `Reader`. A tile at level L, index N holds the roots of subtrees of height 8·L; a
reader returns at least the hashes that exist, 32 bytes each, side by side. Appending is O(1) amortised, a root or proof
O(log n) tile reads. Sizes and indexes count leaves.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from hub.errors import RecordError

HASH = 32
WIDTH = 256
EMPTY = sha256(b"").digest()

Reader = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """H(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """H(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def _level_up(row: Sequence[bytes]) -> list[bytes]:
    up = [sha256(b"\x01" + row[n] + row[n + 1]).digest() for n in range(0, len(row) - 1, 2)]
    if len(row) % 2:
        up.append(row[-1])
    return up


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes held in memory (a batch); EMPTY for none."""
    if not leaves:
        return EMPTY
    row = list(leaves)
    while len(row) > 1:
        row = _level_up(row)
    return row[0]


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of one leaf among leaf hashes held in memory, leaf side first."""
    path, row = [], list(leaves)
    while len(row) > 1:
        if index ^ 1 < len(row):
            path.append(row[index ^ 1])
        row, index = _level_up(row), index // 2
    return path


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 9162 §2.1.3.2); RecordError where its length is wrong."""
    if not 0 <= index < size:
        raise RecordError("index outside the tree", where="inclusion proof")
    node, last, hashes = leaf, size - 1, iter(path)
    try:
        while last:
            if index % 2 or index == last:
                node = node_hash(next(hashes), node)
                while index and not index % 2:
                    index, last = index // 2, last // 2
            else:
                node = node_hash(node, next(hashes))
            index, last = index // 2, last // 2
    except StopIteration:
        raise RecordError("too short", where="inclusion proof") from None
    if next(hashes, None) is not None:
        raise RecordError("too long", where="inclusion proof")
    return node


def grow(size: int, hashes: Sequence[bytes], read: Reader) -> dict[tuple[int, int], bytes]:
    """The new contents of every tile that changes when leaf hashes are appended to a tree of `size`."""
    changed: dict[tuple[int, int], bytes] = {}
    level, row = 0, list(hashes)
    while row:
        at, held = divmod(size, WIDTH)
        block = bytearray(read(level, at)[: held * HASH] if held else b"")
        up = []
        for each in row:
            block += each
            if len(block) == WIDTH * HASH:
                changed[level, at] = bytes(block)
                up.append(_fold(bytes(block)))
                block, at = bytearray(), at + 1
        if block:
            changed[level, at] = bytes(block)
        level, row, size = level + 1, up, size // WIDTH
    return changed


def _fold(block: bytes) -> bytes:
    """The root of a power-of-two row of hashes."""
    row = [block[n : n + HASH] for n in range(0, len(block), HASH)]
    while len(row) > 1:
        row = _level_up(row)
    return row[0]


def _perfect(read: Reader, height: int, index: int) -> bytes:
    """The root of the perfect subtree of 2^height leaves at `index` of its height."""
    level, rest = divmod(height, 8)
    first = index << rest
    tile, at = divmod(first, WIDTH)
    block = read(level, tile)[at * HASH : (at + (1 << rest)) * HASH]
    if len(block) != HASH << rest:
        raise RecordError("a tile is missing or cut short", where=f"tile {level}/{tile}")
    return _fold(block)


def _range(read: Reader, low: int, high: int) -> bytes:
    """The hash of leaves low…high−1, where low is a multiple of the largest power of two within the range."""
    parts = []
    while low < high:
        height = (high - low).bit_length() - 1
        parts.append(_perfect(read, height, low >> height))
        low += 1 << height
    node = parts.pop()
    while parts:
        node = node_hash(parts.pop(), node)
    return node


def root(read: Reader, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return _range(read, 0, size) if size else EMPTY


def inclusion(read: Reader, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`."""
    if not 0 <= index < size:
        raise RecordError("index outside the tree", where="inclusion proof")
    path, low, high = [], 0, size
    while high - low > 1:
        split = low + (1 << ((high - low - 1).bit_length() - 1))
        if index < split:
            path.append(_range(read, split, high))
            high = split
        else:
            path.append(_range(read, low, split))
            low = split
    return path[::-1]


def consistency(read: Reader, old: int, size: int) -> list[bytes]:
    """The proof that the tree of `size` continues the tree of `old` (RFC 9162 §2.1.4); empty for 0 or equal sizes."""
    if not 0 <= old <= size:
        raise RecordError("the older tree is larger", where="consistency proof")
    if old in (0, size):
        return []
    proof, low, high, whole = [], 0, size, True
    while old != high:
        split = low + (1 << ((high - low - 1).bit_length() - 1))
        if old <= split:
            proof.append(_range(read, split, high))
            high = split
        else:
            proof.append(_range(read, low, split))
            low, whole = split, False
    if not whole:
        proof.append(_range(read, low, high))
    return proof[::-1]


def check_consistency(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that (size, new_root) continues (old, old_root) (RFC 9162 §2.1.4.2)."""
    if old > size:
        return False
    if old in (0, size):
        return not proof and ((old == 0 and (size > 0 or new_root == EMPTY)) or old_root == new_root)
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    first, second = old - 1, size - 1
    while first % 2:
        first, second = first // 2, second // 2
    older = newer = hashes[0]
    for each in hashes[1:]:
        if second == 0:
            return False
        if first % 2 or first == second:
            older, newer = node_hash(each, older), node_hash(each, newer)
            while first and not first % 2:
                first, second = first // 2, second // 2
        else:
            newer = node_hash(newer, each)
        first, second = first // 2, second // 2
    return second == 0 and older == old_root and newer == new_root
