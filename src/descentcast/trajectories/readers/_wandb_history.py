"""The history of a W&B run: what was logged at each step, decoded from the wire format of protocol buffers.

A record of the history is `num`, then `history`: items of a key (or of the parts of a nested one) and a value as JSON
text, then the step. Records are walked side by side, item by item; one that is written in any other way is left to the
library, and so is a value that is no plain number.
"""

import io
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from descentcast.trajectories._trajectories import LAST_STEP
from descentcast.trajectories.readers._records import Points, whole_step
from descentcast.trajectories.readers._wandb_log import Records

NUM, HISTORY, SUMMARY = 0x08, 0x12, 0x1A  # tags: field and wire type
ITEM, STEP, KEY, NESTED_KEY = 0x0A, 0x12, 0x0A, 0x12
VALUE = (0x82, 0x01)  # of an item: field 16
OWN_STEP = "_step"
NUMBER = "-0123456789NI"  # how a number begins in JSON, NaN and Infinity among them
LONGEST = 32  # characters of a number that is decoded with others
MOST_DIGITS = 16  # of a number that is decoded digit by digit: fewer, so that it is exact
MOST_KEYS = 64  # in a window, told apart as columns; beyond, one by one
DIGITS, BEGINS = np.zeros(256, dtype=bool), np.zeros(256, dtype=bool)
DIGITS[list(b"0123456789+-.eE")] = BEGINS[list(b"-0123456789")] = True


class Items(NamedTuple):
    """Items of many records: of which record each is, and where its key and its value begin and end."""

    record: np.ndarray
    key: np.ndarray
    key_end: np.ndarray
    value: np.ndarray
    value_end: np.ndarray

    def chosen(self, which: np.ndarray) -> "Items":
        """Return some of them."""
        return Items(*(array[which] for array in self))


def add_history(
    points: Points, records: Records, place: str, rest: Callable[[Any, bytes], None], columns: Collection[str] | None
) -> None:
    """Add what the history among some records says to `points`.

    Args:
        points: Where to.
        records: Records of any kind.
        place: What messages call the run.
        rest: What is called with the record's number and bytes where it is of another kind or written another way.
        columns: What is added; by default all that was logged.

    Raises:
        DataError: A step that is no whole number.
    """
    body, end, others = _histories(records)
    items, steps, regular = _walked(records.buffer, body, end)
    if not regular:  # To keep the order in which things were logged, the whole window goes the slow way.
        others, items, steps = np.arange(len(records.starts)), items.chosen(np.zeros(0, dtype=np.int64)), steps[:0]
    for record in others.tolist():
        rest(record, records.bytes_of(record))
    groups = list(_by_key(records.buffer, items))
    for name, members in groups:
        if name == OWN_STEP:
            group = items.chosen(members)
            last = group.chosen(np.append(np.diff(group.record) > 0, True))  # Of each record.
            steps[last.record] = _whole(records.buffer, last, place)
    for name, members in groups:
        if name != OWN_STEP and (columns is None or name in columns):
            group = items.chosen(members)
            _add(points, name, steps[group.record], group, records.buffer)


def value_of(text: str) -> Any:
    """Return a value that was logged as JSON text."""
    try:
        return float(text) if text[:1] in NUMBER and text else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _histories(records: Records) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where the histories among records begin and end, and which records are neither that nor a summary."""
    buffer, end = records.buffer, records.ends
    _, at, there = _varint(buffer, records.starts + 1)
    there &= (buffer[records.starts] == NUM) & (at < end)
    length, body, whole = _varint(buffer, np.minimum(at, end) + 1)
    history = there & (buffer[at] == HISTORY) & whole & (body + length == end)
    others = ~history & ~(there & (buffer[at] == SUMMARY))
    return body[history], end[history], np.flatnonzero(others)


def _walked(buffer: np.ndarray, body: np.ndarray, end: np.ndarray) -> tuple[Items, np.ndarray, bool]:
    """Return the items of histories, in order, the step of each history, and whether all are as they usually are."""
    at, steps = body.copy(), np.zeros(len(body), dtype=np.int64)
    live, found = np.flatnonzero(at < end), [Items(*(np.zeros(0, dtype=np.int64),) * 5)]
    while len(live):
        here, stop = at[live], end[live]
        length, inside, good = _varint(buffer, here + 1)
        after = inside + length
        item, step = buffer[here] == ITEM, buffer[here] == STEP
        if not (good & (after <= stop) & (item | step)).all():
            return found[0], steps, False
        number, past, good = _varint(buffer, inside[step] + 1)
        empty = length[step] == 0
        if not (empty | (good & (buffer[inside[step]] == NUM) & (past == after[step]))).all():
            return found[0], steps, False
        steps[live[step]] = np.where(empty, 0, number)
        key, last = inside[item], after[item]
        key_end = _past_keys(buffer, key, last)
        length, value, good = _varint(buffer, key_end + 2)
        good &= (key_end > key) & (buffer[key_end] == VALUE[0]) & (buffer[key_end + 1] == VALUE[1])
        if not (good & (value + length == last)).all():
            return found[0], steps, False
        found.append(Items(live[item], key, key_end, value, last))
        at[live] = after
        live = live[after < stop]
    items = Items(*map(np.concatenate, zip(*found, strict=True)))
    return items.chosen(np.argsort(items.record, kind="stable")), steps, True


def _past_keys(buffer: np.ndarray, key: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return where the keys of items end: one, or the parts of one that is nested."""
    at = key.copy()
    live = np.arange(len(at))
    while len(live):
        tag = buffer[at[live]]
        live = live[((tag == KEY) | (tag == NESTED_KEY)) & (at[live] < last[live])]
        length, inside, good = _varint(buffer, at[live] + 1)
        at[live] = np.where(good, np.minimum(inside + length, last[live]), last[live])
    return at


def _varint(buffer: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the whole numbers that begin at some places, where each ends, and whether it is of at most 35 bits."""
    value = buffer[at].astype(np.int64)
    if (value < 0x80).all():
        return value, at + 1, np.ones(len(at), dtype=bool)
    at, value = at.copy(), np.zeros(len(at), dtype=np.int64)
    going = np.ones(len(at), dtype=bool)
    for shift in range(0, 35, 7):
        byte = buffer[at].astype(np.int64)
        value |= np.where(going, (byte & 0x7F) << shift, 0)
        at += going
        going &= byte >= 0x80
        if not going.any():
            break
    return value, at, ~going


def _by_key(buffer: np.ndarray, items: Items) -> Iterator[tuple[str, np.ndarray]]:
    """Yield which items have which key, keys in order of appearance."""
    left, sizes = np.arange(len(items.record)), items.key_end - items.key
    for _ in range(MOST_KEYS):
        if not len(left):
            return
        first = left[0]
        raw = buffer[items.key[first] : items.key_end[first]]
        same = sizes[left] == len(raw)
        keys = sliding_window_view(buffer, len(raw))[items.key[left[same]]]
        same[same] = keys.view(f"S{len(raw)}")[:, 0] == raw.tobytes()
        yield _name(raw.tobytes()), left[same]
        left = left[~same]
    rest: dict[bytes, list[int]] = {}
    for i in left.tolist():
        rest.setdefault(buffer[items.key[i] : items.key_end[i]].tobytes(), []).append(i)
    for raw, group in rest.items():
        yield _name(raw), np.array(group)


def _name(raw: bytes) -> str:
    """Return the key that is written in some bytes, the parts of a nested one joined by dots."""
    at, parts, whole = 0, [], ""
    while at < len(raw):
        length, inside, _ = (
            int(array[0]) for array in _varint(np.frombuffer(raw + bytes(16), np.uint8), np.array([at + 1]))
        )
        text = raw[inside : inside + length].decode("utf-8", "replace")
        whole, parts = (text, parts) if raw[at] == KEY else (whole, [*parts, text])
        at = inside + length
    return whole or ".".join(parts)


def _add(points: Points, name: str, steps: np.ndarray, items: Items, buffer: np.ndarray) -> None:
    numbers = _numbers(buffer, items.value, items.value_end)
    if numbers is not None:
        points.extend(name, steps, numbers)
        return
    for step, cell in zip(steps.tolist(), _cells(buffer, items), strict=True):
        if not isinstance(cell, dict):
            points.add(name, step, cell)


def _whole(buffer: np.ndarray, items: Items, place: str) -> np.ndarray:
    """Return the steps that items hold."""
    numbers = _numbers(buffer, items.value, items.value_end)
    if numbers is None or not (np.abs(numbers) <= LAST_STEP).all() or (numbers % 1).any():
        return np.array([whole_step(place, cell) for cell in _cells(buffer, items)], dtype=np.int64)
    return numbers.astype(np.int64)


def _cells(buffer: np.ndarray, items: Items) -> list[Any]:
    """Return the values of items."""
    numbers = _numbers(buffer, items.value, items.value_end)
    if numbers is not None:
        return numbers.tolist()
    places = zip(items.value.tolist(), items.value_end.tolist(), strict=True)
    return [value_of(buffer[a:b].tobytes().decode("utf-8", "replace")) for a, b in places]


def _digits(buffer: np.ndarray, start: np.ndarray, end: np.ndarray, width: int) -> np.ndarray | None:
    """Return the numbers of at most so many digits and nothing else, None where one of them is anything else."""
    if (start == end).any() or (end < width).any():
        return None
    text = sliding_window_view(buffer, width)[end - width] - np.uint8(ord("0"))
    text[np.arange(width) < (width - (end - start))[:, None]] = 0
    if (text > 9).any():
        return None
    value = np.zeros(len(start), dtype=np.int64)
    for digit in text.T:
        value = 10 * value + digit
    return value.astype(np.float64)


def _numbers(buffer: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray | None:
    """Return the numbers that are written at some places, None where one of them is anything else."""
    width = int((end - start).max(initial=1)) + 1
    if 1 < width <= MOST_DIGITS and (found := _digits(buffer, start, end, width - 1)) is not None:
        return found
    if width > LONGEST or (start == end).any() or not BEGINS[buffer[start]].all():
        return None
    text = sliding_window_view(buffer, width)[start]
    text[np.arange(len(text)), end - start] = ord("\n")
    text = text[np.arange(width) <= (end - start)[:, None]]
    if np.count_nonzero(DIGITS[text]) + len(start) != len(text):
        return None
    try:
        found = pd.read_csv(io.BytesIO(text.tobytes()), header=None, dtype=np.float64, na_filter=False)
    except ValueError:
        return None
    return found[0].to_numpy() if found.shape == (len(start), 1) else None
