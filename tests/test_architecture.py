"""The shape of the project: imports go one way, modules stay short, heavy libraries stay where they belong."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "descentcast"

ORDER = (
    "trajectories",
    "encoding",
    "language_models",
    "densities",
    "scoring",
    "kernels",
    "problems",
    "forecasts",
    "trials",
    "benchmark",
    "reports",
    "cli",
)
SHARED = ("_types", "_checks", "_shown", "errors")  # anyone may import them; they import only each other
MAP = ""  # `import descentcast`: all packages at once, so only the last of the order may
# Modules that own an optional dependency and so import it inside functions: path in the package -> the dependency.
OWNERS: dict[str, str] = {
    "kernels/_completion.py": "ot",  # not optional, but it brings torch
    "trajectories/readers/_parquet.py": "pyarrow",
    "trajectories/readers/_tensorboard.py": "tensorboard",
    "trajectories/readers/_wandb.py": "wandb",
    "trajectories/readers/_wandb_api.py": "wandb",
    "trials/_ray.py": "ray",
}
# The only modules that may import a library.
ONLY_IN = {
    "huggingface_hub": {"language_models/_hub.py"},
    "transformers": {"language_models/_transformers.py", "trajectories/recording/_hugging_face.py"},
    "lightning": {"trajectories/recording/_lightning.py"},
    "keras": {"trajectories/recording/_keras.py"},
    "optuna": {"trials/_optuna.py"},
    "ray": {"trials/_ray.py"},
}
LONGEST = 400


def modules(package: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield path and syntax tree of each module, but for the map: it re-exports everything."""
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        name = path.relative_to(package).as_posix()
        if name not in ("__init__.py", "__init__.pyi"):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(name: str, node: ast.AST) -> list[str]:
    """Return the full dotted names that a node imports into the module at path `name`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = ["descentcast", *name.split("/")[:-1]]
        base = parents[: len(parents) - node.level + 1] if node.level else []
        return [".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names]
    return []


def part(name: str) -> str:
    return name.split("/")[0].removesuffix(".pyi").removesuffix(".py")


def wrong_arrows(package: Path) -> list[str]:
    """Return every import that does not go from right to left in `ORDER`."""
    found = []
    for name, tree in modules(package):
        source = part(name)
        if source not in ORDER + SHARED:
            found.append(f"{name}: {source} has no place in the order of packages")
            continue
        left = ORDER[: ORDER.index(source) + 1] if source in ORDER else ()
        left += (MAP,) if source == ORDER[-1] else ()
        for node in ast.walk(tree):
            for target in imported(name, node):
                if target.split(".")[0] != "descentcast":
                    continue
                to = (target.split(".") + [MAP])[1]
                if to not in left + SHARED:
                    found.append(f"{name}: imports {target}")
    return found


def hidden_imports(package: Path) -> list[str]:
    """Return every import inside a function, and by name at run time, outside the owners of optional dependencies."""
    found = []
    for name, tree in modules(package):
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    allowed = OWNERS.get(name)
                    found += [
                        f"{name}: {function.name} imports {target}"
                        for target in imported(name, node)
                        if target.split(".")[0] != allowed
                    ]
            elif isinstance(function, ast.Call) and ast.unparse(function.func).split(".")[-1] in (
                "import_module",
                "__import__",
            ):
                found.append(f"{name}: imports by name: {ast.unparse(function)}")
    return found


def misplaced_libraries(package: Path) -> list[str]:
    """Return every import of a library in a module that does not own it."""
    return [
        f"{name}: imports {target}"
        for name, tree in modules(package)
        for node in ast.walk(tree)
        for target in imported(name, node)
        if name not in ONLY_IN.get(target.split(".")[0], {name})
    ]


def long_modules(root: Path) -> list[str]:
    """Return every module of the project that is longer than `LONGEST` lines."""
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("src", "tests", "benchmarks", "training", "examples")
        for path in (root / folder).rglob("*.py")
    }
    return [f"{name}: {lines} lines" for name, lines in sorted(lengths.items()) if lines > LONGEST]


def dead_links(root: Path) -> list[str]:
    """Return every relative link of a page that leads nowhere."""
    found = []
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            near = not re.match(r"[a-z]+:|#", target)
            found += [f"{page.name}: {target}"] if near and not (page.parent / target.split("#")[0]).exists() else []
    return found


def test_imports_go_one_way():
    assert wrong_arrows(PACKAGE) == []


def test_imports_stand_at_the_top():
    assert hidden_imports(PACKAGE) == []


def test_libraries_are_imported_by_their_owners_only():
    assert misplaced_libraries(PACKAGE) == []


def test_the_owners_exist_and_own_what_they_are_listed_for():
    trees = dict(modules(PACKAGE))
    for library, owners in [*ONLY_IN.items(), *((library, {name}) for name, library in OWNERS.items())]:
        for name in owners:
            targets = [target for node in ast.walk(trees[name]) for target in imported(name, node)]
            assert library in {target.split(".")[0] for target in targets}


def test_modules_are_short():
    assert long_modules(ROOT) == []


def test_links_between_pages_lead_somewhere():
    assert dead_links(ROOT) == []


def test_importing_the_package_imports_nothing_heavy():
    check = "import sys, descentcast; print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    environment = {key: value for key, value in os.environ.items() if key != "EAGER_IMPORT"}
    run = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# The checkers themselves, on small trees.


def write(package: Path, name: str, text: str) -> None:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kernels/_a.py", "from descentcast.forecasts import forecast"),
        ("kernels/_a.py", "import descentcast.forecasts._forecast"),
        ("kernels/_a.py", "from descentcast import forecasts"),
        ("kernels/_a.py", "from descentcast import Trajectories"),
        ("kernels/_a.py", "import descentcast"),
        ("kernels/_a.py", "from ..forecasts import forecast"),
        ("kernels/_a.py", "from .. import forecasts"),
        ("kernels/deep/_a.py", "from ...forecasts import forecast"),
        ("kernels/_a.py", "def f():\n    from descentcast.forecasts import forecast"),
        ("kernels/__init__.pyi", "from descentcast.cli import main"),
        ("_checks.py", "from descentcast.trajectories import Trajectories"),
        ("extras/_a.py", "import numpy"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path, name, text):
    write(tmp_path, name, text)
    assert len(wrong_arrows(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kernels/_a.py", "from descentcast.densities import Densities\nfrom descentcast import _checks, errors"),
        ("kernels/_a.py", "from descentcast.kernels._b import b\nfrom ._b import b\nfrom .. import densities"),
        ("kernels/_a.py", "import numpy, descentcastle"),
        ("_checks.py", "from descentcast.errors import ArgumentError"),
        ("cli.py", "from descentcast import reports, trials"),
        ("cli.py", "import descentcast as dc"),
        ("__init__.py", "from descentcast.cli import main"),
    ],
)
def test_a_right_arrow_passes(tmp_path, name, text):
    write(tmp_path, name, text)
    assert wrong_arrows(tmp_path) == []


def test_a_hidden_import_is_found_unless_its_module_owns_the_library(tmp_path, monkeypatch):
    write(tmp_path, "kernels/_a.py", "def f():\n    import ot\n")
    assert hidden_imports(tmp_path) == ["kernels/_a.py: f imports ot"]
    monkeypatch.setitem(OWNERS, "kernels/_a.py", "ot")
    assert hidden_imports(tmp_path) == []
    monkeypatch.setitem(OWNERS, "kernels/_a.py", "scipy")
    assert len(hidden_imports(tmp_path)) == 1
    write(tmp_path, "kernels/_a.py", "import importlib\nscipy = importlib.import_module('scipy')\n")
    assert len(hidden_imports(tmp_path)) == 1


def test_a_misplaced_library_is_found(tmp_path):
    write(tmp_path, "language_models/_transformers.py", "import transformers")
    assert misplaced_libraries(tmp_path) == []
    write(tmp_path, "language_models/_catalogue.py", "from transformers.cache_utils import Cache")
    assert len(misplaced_libraries(tmp_path)) == 1


def test_a_long_module_is_found(tmp_path):
    write(tmp_path, "training/long.py", "\n" * 401)
    write(tmp_path, "src/short.py", "\n" * 400)
    assert long_modules(tmp_path) == ["training/long.py: 401 lines"]


def test_a_dead_link_is_found(tmp_path):
    write(tmp_path, "docs/a.md", "[here](b.md#part) [there](../README.md) [web](https://example.org) [part](#part)")
    assert len(dead_links(tmp_path)) == 2
    write(tmp_path, "docs/b.md", "")
    write(tmp_path, "README.md", "")
    assert dead_links(tmp_path) == []
