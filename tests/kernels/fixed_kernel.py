"""An estimator that always answers the same, and says what it was given."""

import numpy as np

from descentcast.kernels import KernelEstimator, TransitionKernel


class FixedKernel(KernelEstimator):
    """Returns the rows it was made with; `given` is shared by its copies and collects what they were fitted to."""

    def __init__(self, matrix, overflow=None, given=None):
        self.matrix = matrix
        self.overflow = overflow
        self.given = given

    def _fit_coordinate(self, index, columns, edges):
        if self.given is not None:
            self.given.append([c.copy() for c in columns])
        matrix = np.asarray(self.matrix, dtype=float)
        overflow = np.zeros((len(matrix), 2)) if self.overflow is None else self.overflow
        return TransitionKernel(edges, matrix, overflow)
