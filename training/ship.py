"""Put a trained model into the package: weights in float16, and the card that says what it is and how it was made.

    python -m training.ship small out/descent-small
    python -m training.ship adapter out/adapter --base smollm2-135m [--after FOLDER]

`--after` names the folder, with its card, that the training went on from (`--init`): what it took is added. `--gpu`
names the accelerator where one was used: hours are then of the clock, and kept apart from core-hours.

The card is written from the training's own log and configuration; figures on the reporting families are in
docs/adapter.md, from `benchmarks/adapter.py`.
"""

import argparse
import csv
import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from descentcast.language_models import load_model
from descentcast.language_models._adapters import weights_fingerprint
from descentcast.language_models._shipped import TRAINED
from training.contexts import BEGIN, LONGEST, Prior

HERE = Path(__file__).parent


def halved(source: Path, target: Path) -> int:
    """Write the weights of `source` as float16; return how many numbers they are."""
    weights = {name: weight.half().contiguous() for name, weight in load_file(source).items()}
    save_file(weights, target, metadata={"format": "pt"})
    return sum(weight.numel() for weight in weights.values())


def card(out: Path, config: Path, command: str, after: Path | None = None, gpu: str | None = None) -> dict[str, Any]:
    """Return what the log and the configuration say about a training, and the card of what it went on from."""
    earlier = json.loads((after / "card.json").read_text()) if after else {}
    settings = tomllib.loads(config.read_text())
    rows = list(csv.DictReader((out / "log.csv").open()))
    tested = [row for row in rows if row["dev_divergence"]]
    last = rows[-1]
    hours = {kind: earlier.get(kind, 0) for kind in ("core_hours", "gpu_hours")}
    spent = float(last["seconds"]) / 3600
    hours["gpu_hours" if gpu else "core_hours"] += spent
    told = f"{command} --hours {spent:.2g}{' --workers 12' * bool(gpu)} --out FOLDER"
    told += " --init what the shipped one went on from (training/NOTES.md says how that was trained)" * bool(after)
    return {
        "trained_on": "the synthetic prior of training/ (fields, noises and loss curves under [training] in "
        "benchmarks/families.toml): no real data, none of the families that figures are reported on",
        "prior": {k: v for k, v in vars(Prior(**settings.get("prior", {}))).items() if k != "fields"},
        "steps": earlier.get("steps", 0) + int(last["step"]),
        "tokens": earlier.get("tokens", 0) + int(last["tokens"]),
        **{kind: round(each, 3) for kind, each in hours.items()},
        "gpu": gpu or earlier.get("gpu"),
        "development_divergence": {
            "unit": "nats a digit above the law's own entropy, where the law is known",
            "held_out_draws": float(tested[-1]["dev_divergence"]) if tested else None,
            "other_forms": float(tested[-1]["dev_other_forms"]) if tested else None,
        },
        "configuration": settings,
        "reproduce": told,
    }


def ship_small(out: Path, after: Path | None = None, gpu: str | None = None) -> Path:
    """Put the decoder in `out` into the package."""
    folder = TRAINED / "descent-small"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = halved(out / "model.safetensors", folder / "model.safetensors")
    config = json.loads((out / "config.json").read_text())
    config |= {"dtype": "float16", "descentcast": {"begin": BEGIN, "longest": LONGEST}}
    _write(folder / "config.json", config)
    command = "python -m training.train_small --config training/small.toml"
    about = card(out, HERE / "small.toml", command, after, gpu)
    own = {"name": "descent-small", "parameters": f"{numbers / 1e6:.1f}M", "licence": "Apache-2.0"}
    _write(folder / "card.json", own | about)
    return folder


def ship_adapter(out: Path, base: str, after: Path | None = None, gpu: str | None = None) -> Path:
    """Put the adapter in `out` into the package, bound to the weights of `base`."""
    folder = TRAINED / f"{base}-adapter"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = halved(out / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    shutil.copy(out / "adapter_config.json", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    _write(folder / "adapter_config.json", config | {"base_model_name_or_path": base})
    own = {
        "name": f"{base}-adapter",
        "base": base,
        "base_fingerprint": weights_fingerprint(load_model(base, dtype="float32", adapter=None)._network),  # type: ignore[attr-defined]
        "parameters": f"{numbers / 1e6:.1f}M",
        "licence": "Apache-2.0",
    }
    command = "python -m training.train_adapter --config training/adapter.toml --base FOLDER --dtype bfloat16"
    _write(folder / "card.json", own | card(out, HERE / "adapter.toml", command, after, gpu))
    return folder


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and ship."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["small", "adapter"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--after", type=Path)
    parser.add_argument("--gpu")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    how = (given.after, given.gpu)
    folder = ship_small(given.out, *how) if given.kind == "small" else ship_adapter(given.out, given.base, *how)
    print(folder, f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
