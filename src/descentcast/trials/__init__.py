"""Virtual randomized trials: design, simulation, analysis."""

from descentcast.trials._arms import RunEvidence
from descentcast.trials._calibrated import CALIBRATED
from descentcast.trials._contrasts import Comparison, compare
from descentcast.trials._next import NextRun, next_run
from descentcast.trials._outcomes import Outcome, outcome_of
from descentcast.trials._plan import Plan, plan
from descentcast.trials._result import TrialResult
from descentcast.trials._sequential import SequentialTrial
from descentcast.trials._trial import Trial
from descentcast.trials._variance import VariancePrior

__all__ = [
    "CALIBRATED",
    "Comparison",
    "NextRun",
    "Outcome",
    "Plan",
    "RunEvidence",
    "SequentialTrial",
    "Trial",
    "TrialResult",
    "VariancePrior",
    "compare",
    "next_run",
    "outcome_of",
    "plan",
]
