"""CRC-32 of many pieces of bytes at once, put together from those of their parts.

The checksum of two pieces after one another is crc(a b) = shift(crc(a), length of b) ^ crc(b), where the shift, by so
many bytes of zeros, is linear: four tables, one a byte of the checksum, give it, and two such sets, for the low and the
high byte of the length, give it for any length below 2^16. So what a log's own checksums say of a whole block is known
without looking at its bytes, and compared with the checksum of the block, which zlib takes at the speed of the memory.
"""

import functools

import numpy as np

POLYNOMIAL = np.uint32(0xEDB88320)  # of zlib's CRC-32, reflected
HEAD = 6  # bytes of a frame before what its checksum is of: the checksum and a length


def joined(heads: np.ndarray, sums: np.ndarray, lengths: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the checksum of each group of frames, a frame being a head and bytes of which the checksum is known.

    Args:
        heads: The heads, three 16-bit numbers each, shape (frames, 3).
        sums: The checksum of each frame's bytes, uint32.
        lengths: How many bytes, at least 1, head not counted.
        groups: Where each group of frames begins; each holds one frame at least, and less than 2^16 bytes.
    """
    ends = np.cumsum(lengths + HEAD)
    last = np.append(groups[1:], len(lengths)) - 1
    after = np.repeat(ends[last], np.diff(np.append(groups, len(lengths)))) - ends
    tables, empty = _head_tables()
    crc = tables[0][heads[:, 0]] ^ tables[1][heads[:, 1]] ^ tables[2][heads[:, 2]] ^ empty
    return np.bitwise_xor.reduceat(_shifted(_shifted(crc, lengths) ^ sums, after), groups)


def _shifted(crc: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the checksums after so many more bytes of zeros, less than 2^16, without what begins and ends them."""
    low, high = _shift_tables()
    crc = _looked_up(low, crc, lengths & 0xFF)
    return _looked_up(high, crc, lengths >> 8) if (lengths > 0xFF).any() else crc


def _looked_up(tables: np.ndarray, crc: np.ndarray, which: np.ndarray) -> np.ndarray:
    at = which << 10
    found = tables[at + (crc & np.uint32(0xFF))]
    for byte in range(1, 4):
        found ^= tables[at + (((crc >> np.uint32(8 * byte)) & np.uint32(0xFF)) + np.uint32(byte << 8))]
    return found


@functools.cache
def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), (table >> np.uint32(1)) ^ POLYNOMIAL, table >> np.uint32(1))
    return table.astype(np.uint32)


def _over_zero(crc: np.ndarray) -> np.ndarray:
    return _byte_table()[crc & np.uint32(0xFF)] ^ (crc >> np.uint32(8))


@functools.cache
def _shift_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return the tables of shifts by 0 to 255 bytes and by 0 to 255 times 256, flat: length, byte, its value."""
    same = (np.arange(256, dtype=np.uint32) << (np.arange(4, dtype=np.uint32)[:, None] * np.uint32(8))).reshape(-1)
    low, high = [same], [same]
    for _ in range(256):
        low.append(_over_zero(low[-1]))
    whole = low.pop()
    for _ in range(255):
        high.append(_looked_up(whole, high[-1], np.zeros(len(same), dtype=np.int64)))
    return np.concatenate(low), np.concatenate(high)


@functools.cache
def _head_tables() -> tuple[list[np.ndarray], np.uint32]:
    """Return the checksum of six bytes as one table for each two of them, and that of six zeros."""
    pairs = np.arange(1 << 16, dtype=np.uint32)
    table = _over_zero(pairs & np.uint32(0xFF))
    table = _byte_table()[(table ^ (pairs >> np.uint32(8))) & np.uint32(0xFF)] ^ (table >> np.uint32(8))
    tables = [table]
    for _ in range(2):
        table = _over_zero(_over_zero(table))
        tables.append(table)
    empty = np.array([0xFFFFFFFF], dtype=np.uint32)
    for _ in range(HEAD):
        empty = _over_zero(empty)
    return tables[::-1], empty[0] ^ np.uint32(0xFFFFFFFF)
