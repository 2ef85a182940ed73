"""What each coordinate is best taken as: itself, its logarithm or its logit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descentcast._shown import Shown
from descentcast.encoding import Transform, transform
from descentcast.errors import ArgumentError
from descentcast.kernels._grid import as_trajectories
from descentcast.kernels._observables import choose_observable
from descentcast.trajectories import Trajectories

CANDIDATES = ("identity", "log", "logit")


@dataclass(frozen=True, eq=False, repr=False)
class TransformChoice(Shown):
    """Transforms of each coordinate by how well a cheap estimator foretells the next value in them.

    Attributes:
        table: coordinate, transform, log_score, steps: one row a coordinate and transform, best first within a
            coordinate. `log_score` is the mean prequential log density of the next value in the recorded units, nats a
            step, higher is better.
        transforms: The best transform of each coordinate.
        left_out: Transforms whose domain does not hold all values, in words.
    """

    table: pd.DataFrame
    transforms: tuple[Transform, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return choice and table as plain values."""
        return {
            "transforms": [which.to_dict() for which in self.transforms],
            "table": self.table.to_dict("records"),
            "left_out": list(self.left_out),
        }


def choose_transform(runs: Trajectories, transforms: Sequence[str | Transform] = CANDIDATES) -> TransformChoice:
    """Choose the transform of each coordinate by prequential log score.

    The score of a transform z is `mean over t of log f_t(z(x_{t+1})) + log z'(x_{t+1})`, with f_t a local-linear law
    (as `choose_observable` takes it) fitted in z to the transitions before t. The second term, the transform's
    Jacobian, makes it a density of x, so that scores of different transforms compare.

    Args:
        runs: The runs.
        transforms: Names, or transforms of your own ends such as `Logit(high=100.0)`; the first wins ties.

    Returns:
        The scores, and the best transform of each coordinate.

    Raises:
        ArgumentError: An unknown transform, an empty list.
        DataError: A coordinate that never changes, that no transform holds, or of fewer than 40 transitions.

    References:
        Dawid (1984), Statistical theory: the prequential approach, J. R. Stat. Soc. A 147.

    Examples:
        >>> rng, x = np.random.default_rng(0), [1.0]
        >>> for _ in range(200):
        ...     x.append(x[-1] * np.exp(0.3 * rng.normal()))
        >>> choose_transform(Trajectories.from_arrays([x])).transforms
        (Log(low=0.0),)
    """
    runs = as_trajectories(runs)
    maps = [transform(which) for which in transforms]
    if not maps:
        raise ArgumentError("transforms is empty, must name one at least")
    rows, chosen, left_out = [], [], []
    for index, name in enumerate(runs.names):
        values = np.concatenate(runs.coordinate(index))
        usable = [which for which in maps if which.holds(values).all()]
        left_out += [
            f"{name}: no {which.name}, which does not hold all values" for which in maps if which not in usable
        ]
        # Where no transform is usable, the first one raises and says why.
        tables = [choose_observable(runs, [index], [which], strides=[1]).table for which in usable or maps[:1]]
        scores = [float(table["log_score"].iloc[0]) for table in tables]
        order = np.argsort(-np.array(scores), kind="stable")
        chosen.append(usable[order[0]])
        rows += [
            {
                "coordinate": name,
                "transform": usable[i].name,
                "log_score": scores[i],
                "steps": int(tables[i]["steps"].iloc[0]),
            }
            for i in order
        ]
    return TransformChoice(pd.DataFrame(rows), tuple(chosen), tuple(left_out))
