"""What this installation can do: each part is tried, not looked up."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from descentcast import densities, language_models
from descentcast.errors import DescentcastError

CORE = (
    "descentcast",
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "xarray",
    "matplotlib",
    "POT",
)
# What reads or prunes with a library that is not installed by default.
OPTIONAL = ("pyarrow", "tensorboard", "wandb", "lightning", "keras", "optuna", "peft")
LEAST_FREE = 2e9  # bytes that fetching and converting a model takes


def examine() -> list[dict[str, Any]]:
    """Try what forecasts need, and say what was found.

    Returns:
        A row a check: `check`, `state` ("ok", "absent": something optional is not there, or "failed") and `detail`.
        Nothing is fetched.

    Examples:
        >>> {row["state"] for row in examine()} <= {"ok", "absent", "failed"}
        True
    """
    checks: Sequence[tuple[str, Callable[[], tuple[str, str]]]] = (
        ("python", lambda: ("ok", sys.version.split()[0])),
        ("packages", _packages),
        ("optional packages", _optional),
        ("processors", _processors),
        ("graphics card", _cards),
        ("cache", _cache),
        ("density store", _store),
        ("models fetched", _models),
        ("reading with a model", _reading),
    )
    return [{"check": name, **dict(zip(("state", "detail"), _tried(check), strict=True))} for name, check in checks]


def _tried(check: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    try:
        return check()
    except (DescentcastError, OSError, ImportError) as error:
        return "failed", str(error)


def _packages() -> tuple[str, str]:
    found = _versions(CORE)
    lacking = [name for name in CORE if name not in found]
    if lacking:
        return "failed", f"not installed: {', '.join(lacking)}"
    return "ok", ", ".join(f"{name} {number}" for name, number in found.items())


def _optional() -> tuple[str, str]:
    found = _versions(OPTIONAL)
    lacking = [name for name in OPTIONAL if name not in found]
    detail = ", ".join(f"{name} {number}" for name, number in found.items())
    if not lacking:
        return "ok", detail
    return "absent", "; ".join(filter(None, [f"not installed: {', '.join(lacking)}", detail]))


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processors() -> tuple[str, str]:
    torch = _torch()
    capability = str(torch.backends.cpu.get_cpu_capability())
    return "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {capability}"


def _cards() -> tuple[str, str]:
    torch = _torch()
    if not torch.cuda.is_available():
        return "absent", "none that torch can use: models run on the processor"
    return "ok", ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _torch() -> Any:
    language_models.loaded("descent-small")  # loads torch, which this module has no need to import itself
    return sys.modules["torch"]


def _cache() -> tuple[str, str]:
    folder = language_models.cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    state = "ok" if free >= LEAST_FREE else "failed"
    return state, f"{folder}: can be written, {free / 1e9:.1f} GB free"


def _store() -> tuple[str, str]:
    info = densities.store_info()
    if not info["limit_bytes"]:
        return "absent", "turned off by DESCENTCAST_CACHE_MB: what was read is read again"
    return "ok", f"{info['entries']} entries, {info['bytes'] / 1e6:.0f} of {info['limit_bytes'] / 1e6:.0f} MB"


def _models() -> tuple[str, str]:
    rows = language_models.known_models()
    there = [row["name"] for row in rows if row["fetched"]]
    more = [row["name"] for row in rows if not row["fetched"]]
    detail = ", ".join(there) + (f"; to be fetched when asked for: {', '.join(more)}" if more else "")
    return "ok" if there else "absent", detail


def _reading() -> tuple[str, str]:
    model = language_models.loaded("descent-small")
    law = densities.next_densities([0.1, 0.9, 0.2, 0.8, 0.1, 0.9, 0.2], model, range=(0, 1))
    above = float(law.probs[-1, 50:].sum())
    state = "ok" if above > 0.5 else "failed"
    return state, f"descent-small expects an alternating run to alternate with probability {above:.2f}"
