"""States of several coordinates are written for a model as its prior wrote them."""

import numpy as np
from training.contexts import write

from descentcast.densities import lay_out
from descentcast.encoding import JointView, View
from descentcast.language_models import Alphabet


def test_states_are_written_as_the_prior_writes_them():
    """The same cells, by the code of the training prior, give the same symbols."""
    rng = np.random.default_rng(0)
    view = JointView((View(-1.0, 1.0, 2), View(0.0, 2.0, 2)))
    runs = [rng.uniform([-1, 0], [1, 2], (t, 2)) for t in (4, 1, 3)]
    cells = [np.column_stack([v.encode(run[:, i]) for i, v in enumerate(view.views)]) for run in runs]
    symbols, _ = write(cells, [np.zeros((len(run), 4, 10)) for run in runs], digits=2)
    context = lay_out(runs, view, Alphabet(1))
    np.testing.assert_array_equal(context.prompt, symbols)
    assert context.probes(np.array([1734])).chains == ((11, 1, 7, 3, 4, 10),)
