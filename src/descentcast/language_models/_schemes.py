"""How a model's tokens write numbers: one digit a token, or three; other tokenizers are refused by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast.errors import TokenizerError
from descentcast.language_models._base import Alphabet


@dataclass(frozen=True, eq=False)
class TokenScheme:
    """The token of each symbol of the answer alphabet.

    Attributes:
        alphabet: One or three digits a symbol.
        token_ids: Token id of each symbol, shape (A,).
        begin: Token ids that the tokenizer puts before every text (BOS), often empty.
    """

    alphabet: Alphabet
    token_ids: np.ndarray
    begin: tuple[int, ...]


def symbol_scheme(begin: int) -> TokenScheme:
    """Return the scheme of a decoder whose tokens are the symbols themselves: digits, ",", newline, then `begin`."""
    alphabet = Alphabet(1)
    return TokenScheme(alphabet, np.arange(alphabet.size), (begin,))


def token_scheme(tokenizer: Any, name: str) -> TokenScheme:
    """Find out how `tokenizer` writes numbers, and prove it on a round trip.

    Args:
        tokenizer: A Hugging Face tokenizer: called on a text it gives `input_ids`.
        name: What to call the model in errors.

    Returns:
        One digit a token (Llama 2, Gemma, Mistral, Qwen, SmolLM2) or three (Llama 3, GPT-4o, Phi-4).

    Raises:
        TokenizerError: Numbers are cut otherwise (GPT-2, Pythia), or digits, "," and newline are not single distinct
            tokens.
    """
    begin = _begin(tokenizer)
    for alphabet in (Alphabet(1), Alphabet(3)):
        scheme = _scheme(tokenizer, alphabet, begin)
        if scheme is not None:
            return scheme
    pieces = [tokenizer.decode([i]) for i in _ids(tokenizer, "1234567,89", begin)]
    raise TokenizerError(
        f"{name}: its tokenizer cuts 1234567,89 into {pieces}; needed is one digit a token (like SmolLM2, Gemma, "
        "Llama 2) or three digits a token (like Llama 3)"
    )


def _begin(tokenizer: Any) -> tuple[int, ...]:
    """Return what stands before every text, by comparing two texts of which neither starts like the other."""
    one, two = (tuple(tokenizer(text)["input_ids"]) for text in ("1", "2"))
    shared = 0
    while shared < min(len(one), len(two)) - 1 and one[shared] == two[shared]:
        shared += 1
    return one[:shared]


def _ids(tokenizer: Any, text: str, begin: tuple[int, ...]) -> list[int]:
    return list(tokenizer(text)["input_ids"])[len(begin) :]


def _scheme(tokenizer: Any, alphabet: Alphabet, begin: tuple[int, ...]) -> TokenScheme | None:
    width = alphabet.digits_per_symbol
    numbers = [f"{i:0{width}d}" for i in range(alphabet.base)]
    # Tokens are read off inside a text: some tokenizers put a blank before a first word.
    frame = _ids(tokenizer, ",".join(numbers[:2]) + "\n" + numbers[2], begin)
    if len(frame) != 5:
        return None
    separator, newline = frame[1], frame[3]
    listed = _ids(tokenizer, numbers[0] + "," + ",".join(numbers), begin)[2:]
    if len(listed) != 2 * len(numbers) - 1 or any(token != separator for token in listed[1::2]):
        return None
    ids = np.array([*listed[0::2], separator, newline], dtype=np.int64)
    if len(set(ids.tolist())) != alphabet.size:
        return None
    rng = np.random.default_rng(0)
    groups = 3 if width == 1 else 2
    values = rng.integers(0, alphabet.base, size=(24, groups))
    text = "\n".join(",".join("".join(numbers[i] for i in row) for row in block) for block in np.split(values, 4))
    expected = []
    for j, row in enumerate(values):
        expected += [*ids[row], newline if (j + 1) % 6 == 0 else separator]
    if _ids(tokenizer, text, begin) != [int(i) for i in expected[:-1]]:
        return None
    return TokenScheme(alphabet=alphabet, token_ids=ids, begin=begin)
