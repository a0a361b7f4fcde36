"""How good a generator is, on which features, against which images, and how sure that is."""

from ganlib.evaluation.drawing import Draw, Reference, draw, open_reference
from ganlib.evaluation.record import Evaluation

__all__ = ["Draw", "Evaluation", "Reference", "draw", "open_reference"]
