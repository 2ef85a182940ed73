"""The forecast of one coordinate by drawn paths: laws in closed form, and by draws what depends on whole paths."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from descentcast.forecasts._marginal import INTERVAL, Marginal


@dataclass(frozen=True, eq=False, repr=False)
class SampledMarginal(Marginal):
    """The law of one coordinate from one start; hitting times and samples are those of drawn paths.

    Attributes:
        paths: Paths after the start, shape (draws, paths, steps): those of a draw share one kernel or curve, so that
            draws differ by what is not known and paths of a draw by chance.
    """

    paths: np.ndarray = None  # pyright: ignore[reportAssignmentType]

    def hitting_law(self, target: Any) -> np.ndarray:
        """Return the share of paths that are in `target` first at step t, shape (1, steps + 1)."""
        return self._hits(target).reshape(-1, self.steps + 1).mean(axis=0)[None]

    def hitting_times(self, target: Any) -> dict[str, np.ndarray]:
        """Return the columns of the table of hitting times; intervals are over draws."""
        hits = self._hits(target)
        law = hits.reshape(-1, self.steps + 1).mean(axis=0)
        by_draw = hits.sum(axis=-1).mean(axis=1)
        hit, times = float(law.sum()), np.arange(self.steps + 1)
        means = [float((h.sum(axis=0) @ times) / h.sum()) for h in hits if h.sum() > 0]
        low, high = np.quantile(by_draw, INTERVAL)
        mean_low, mean_high = np.quantile(means, INTERVAL) if means else (np.nan, np.nan)
        columns = {
            "start": self.starts[0],
            "probability": hit,
            "low": low,
            "high": high,
            "mean": law @ times / hit if hit else np.nan,
            "mean_low": mean_low,
            "mean_high": mean_high,
            "median": float((law.cumsum() >= hit / 2).argmax()) if hit else np.nan,
        }
        return {name: np.array([value]) for name, value in columns.items()}

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n of the drawn paths, shape (1, n, steps + 1): with replacement where there are fewer."""
        drawn = self.paths.reshape(-1, self.steps)
        chosen = rng.choice(len(drawn), size=n, replace=n > len(drawn))
        return np.column_stack([np.full(n, self.starts[0]), drawn[chosen]])[None]

    def _hits(self, target: Any) -> np.ndarray:
        """Return where each path is in the target first, shape (draws, paths, steps + 1)."""
        lower, upper = self._interval(target)
        start = np.broadcast_to(self.starts[0], (*self.paths.shape[:2], 1))
        values = np.concatenate([start, self.paths], axis=-1)
        inside = (values >= lower) & (values < upper)
        return inside & (inside.cumsum(axis=-1) == 1)
