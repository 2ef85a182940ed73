"""The estimators that the figures compare, by the names that their tables use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import descentcast as dc

ADAPTER = Path(__file__).resolve().parents[2] / "src/descentcast/language_models/trained/smollm2-135m-adapter"
# Frozen models are read at every visit, which takes minutes a view.
VIEWS, FROZEN_VIEWS = 4, 2
LOCAL_LINEAR, FROZEN, GEMMA, ADAPTED, SMALL = (
    "local-linear",
    "SmolLM2-135M, frozen",
    "Gemma-3-270M, frozen",
    "SmolLM2-135M + adapter",
    "descent-small",
)


def _in_context(name: str, adapter: Path | None) -> Callable[[], Any]:
    def made() -> dc.InContextKernel:
        model = dc.load_model(name, adapter=adapter)
        return dc.InContextKernel(model, views=VIEWS if model.restarts else FROZEN_VIEWS)

    return made


ESTIMATORS: dict[str, Callable[[], Any]] = {
    LOCAL_LINEAR: dc.LocalLinearKernel,
    SMALL: _in_context("descent-small", None),
    FROZEN: _in_context("smollm2-135m", None),
    ADAPTED: _in_context("smollm2-135m", ADAPTER),
    GEMMA: _in_context("gemma3-270m", None),
}
