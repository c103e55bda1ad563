"""The exam and the contestant meet: asking, numbers, missing answers, the folder of results."""

from counterbench.evaluation.evaluation import Evaluation, evaluate
from counterbench.evaluation.exam import SPLIT, Exam, prepare

__all__ = ["SPLIT", "Evaluation", "Exam", "evaluate", "prepare"]
