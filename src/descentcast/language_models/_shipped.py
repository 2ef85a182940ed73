"""What was trained for reading runs and comes inside the package: decoders from scratch, adapters of the catalogue.

Where it lies:

    trained/<decoder>/           config.json, model.safetensors, card.json
    trained/<base>-adapter/      adapter_config.json, adapter_model.safetensors, card.json
"""

import json
from pathlib import Path
from typing import Any

TRAINED = Path(__file__).parent / "trained"


def shipped_decoder(name: str) -> Path | None:
    """Return the folder of a decoder that comes inside the package, or None."""
    folder = TRAINED / name
    return folder if (folder / "card.json").is_file() and folder.parent == TRAINED else None


def shipped_adapter(base: str) -> Path | None:
    """Return the folder of the adapter that comes inside the package for a model of the catalogue, or None."""
    folder = TRAINED / f"{base}-adapter"
    return folder if (folder / "card.json").is_file() and folder.parent == TRAINED else None


def decoder_names() -> list[str]:
    """Return the names of the decoders that come inside the package."""
    return sorted(path.parent.name for path in TRAINED.glob("*/config.json"))


def card(folder: Path) -> dict[str, Any]:
    """Return the card of something shipped: what it was trained on, how long, licence, figures."""
    return json.loads((folder / "card.json").read_text())


def megabytes(folder: Path) -> float:
    """Return the size of a folder's weights."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
