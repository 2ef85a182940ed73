"""A fixed benchmark of kernel estimators: problems whose kernels are known, contexts, judging by simulation."""

from descentcast.benchmark._estimators import DEFAULT as DEFAULT_ESTIMATORS
from descentcast.benchmark._estimators import ESTIMATORS
from descentcast.benchmark._files import RESULTS, read_results, write_whole
from descentcast.benchmark._run import SEEDS, VIEWS, run_benchmark
from descentcast.benchmark._suite import BenchmarkProblem, Suite, load_suite
from descentcast.benchmark._tables import BenchmarkClaim, by_problem, claims, summarised

__all__ = [
    "DEFAULT_ESTIMATORS",
    "ESTIMATORS",
    "RESULTS",
    "SEEDS",
    "VIEWS",
    "BenchmarkClaim",
    "BenchmarkProblem",
    "Suite",
    "by_problem",
    "claims",
    "load_suite",
    "read_results",
    "run_benchmark",
    "summarised",
    "write_whole",
]
