from . import encoding as encoding
from . import problems as problems
from . import scoring as scoring
from .kernels import TransitionKernel as TransitionKernel
from .trajectories import Trajectories as Trajectories
from .trajectories import Trajectory as Trajectory
