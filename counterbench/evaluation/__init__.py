"""The exam and the contestant meet: asking, numbers, missing answers, the folder of results."""

from counterbench.evaluation.evaluation import Evaluation, evaluate
from counterbench.evaluation.exam import SPLIT, Exam, choose_device, prepare

__all__ = ["SPLIT", "Evaluation", "Exam", "choose_device", "evaluate", "prepare"]
