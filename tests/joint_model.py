"""A language model of two coordinates with a known joint law: what joint densities and particles are held against."""

import numpy as np

from tests.conftest import FakeModel


class JointModel(FakeModel):
    """The next state of two coordinates, `digits` digits each, follows a known law of the last state read.

    Each coordinate is pulled to the middle; unless `coupling` is 0, the second is also drawn to where the first goes.

    Attributes:
        coupling: How strongly.
    """

    def __init__(self, coupling: float = 2.0, digits: int = 1, sd: float = 0.15, slope: float = 0.8) -> None:
        super().__init__(slope=slope, sd=sd, digits=2 * digits)
        self.side, self.coupling = 10**digits, coupling

    def one(self, code: int) -> np.ndarray:
        """Return the law of one coordinate's next code, shape (10^digits,)."""
        x = (np.arange(self.side) + 0.5) / self.side - 0.5
        weights = np.exp(-0.5 * ((x - self.slope * x[code]) / self.sd) ** 2)
        return weights / weights.sum()

    def joint(self, first: int, second: int) -> np.ndarray:
        """Return the law of the next pair of codes, shape (10^digits, 10^digits)."""
        x = (np.arange(self.side) + 0.5) / self.side
        tilt = np.exp(-self.coupling * np.abs(x[:, None] - x))
        law = np.outer(self.one(first), self.one(second)) * tilt
        return law / law.sum()

    def law(self, code: int) -> np.ndarray:
        """Return the joint law by the number that a state is written as."""
        return self.joint(*divmod(code, self.side)).ravel()
