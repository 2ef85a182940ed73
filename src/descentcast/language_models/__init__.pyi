from ._base import Alphabet as Alphabet
from ._base import Forest as Forest
from ._base import ForestLogProbs as ForestLogProbs
from ._base import LanguageModel as LanguageModel
from ._loading import load_model as load_model
