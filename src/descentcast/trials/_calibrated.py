"""The prior of the variance between runs, as calibrated on development families."""

import numpy as np
from scipy.special import softmax

from descentcast.trials._variance import VariancePrior

# Fitted by maximum likelihood of squares between runs and errors of effects in trials of 1, 2 and 4 runs an arm of the
# development families of benchmarks/trials.toml and of trainings on breast_cancer, every family alike; the bias by
# maximum likelihood of what real outcomes say against virtual ones there, with a wide component for what no family
# there does. Then rounded. docs/trials.md says in which order.
OFFSETS, PLACES = 4.0 ** np.arange(8), 4.0 ** np.arange(1, 8)
# Runs that differ for good, phi from 1 to 16,384, and runs that settle in different places, about 1,000 to 3,000.
_offset = 1.3 * softmax(-0.6 * np.arange(8))
_settled = 3.8 * softmax(-0.5 * ((np.arange(7) - 4.7) / 1.5) ** 2)
_weights = np.concatenate([[1.0], _offset, _settled]) / 6.1


def _each(described: float, offset: float, settled: float) -> tuple[float, ...]:
    return (described, *[offset] * len(OFFSETS), *[settled] * len(PLACES))


CALIBRATED = VariancePrior(
    weights=tuple(_weights.tolist()),
    recurrence=_each(0.0, -5.3, -2.0),
    passage=_each(0.0, 0.8, -2.7),
    dof=_each(9.0, 6.0, 6.0),
    scales=(0.66, *OFFSETS.tolist(), *PLACES.tolist()),
    together=_each(0.0, 0.0, 0.6),
    bias=(0.1, 0.5, 2.0, 10.0),
    bias_weights=(0.8, 0.08, 0.1, 0.02),
    shared=0.8,
    source="fifteen development families",
)
