from ._base import Alphabet as Alphabet
from ._base import Forest as Forest
from ._base import ForestLogProbs as ForestLogProbs
from ._base import LanguageModel as LanguageModel
from ._catalogue import known_models as known_models
from ._catalogue import located as located
from ._loading import load_model as load_model
from ._loading import pull as pull
