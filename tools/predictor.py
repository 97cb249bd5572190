"""For programs of your own: `from tools.predictor import Predictor`, see there how it is used."""
from tools.core.predictor import Face, Predictor

__all__ = ['Face', 'Predictor']
