"""The errors a caller can act on. Every one is a `DescentcastError`; its message is one line meant for a person."""


class DescentcastError(Exception):
    """Base of every error that descentcast raises on purpose."""


class ArgumentError(DescentcastError, ValueError):
    """An argument is not what the function takes: the message names it, what it was and what is allowed."""


class DataError(DescentcastError, ValueError):
    """Recorded runs, or a file of them, cannot be used: the message names the file or run and the place in it."""


class ModelError(DescentcastError, RuntimeError):
    """A language model cannot be had or cannot be used here."""


class TokenizerError(ModelError):
    """A model's tokenizer does not write numbers digit by digit or three digits at a time."""


class FetchError(ModelError):
    """A model could not be fetched: no network, a full disk, a wrong checksum."""
