"""Answers to the questions of `decide`: by the model of the batcher.

As a program it answers one question for `gpufleet.worker`: pickled on standard input, its answer on standard
output.
"""

from __future__ import annotations

import os
import pickle
import sys

from gpufleet.decide.autoscaling import capacity as carrying
from gpufleet.decide.triton import tuning
from gpufleet.sim import batcher, capacity

COMMAND = (sys.executable, "-m", __name__)
_NICE = 10


def answer(question: tuning.Question | carrying.Question) -> tuning.Choice | float:
    """The best setting, or what a setting carries; takes seconds of one CPU, the same for equal questions."""
    model = batcher.Model(question.time, spread=question.spread, contention=question.contention)
    measure = capacity.measure_with(model, question.objective)
    if isinstance(question, carrying.Question):
        return measure(question.setting)
    return tuning.search(question.time, question.objective, question.limits, measure)


def main() -> None:
    os.nice(_NICE)
    question = pickle.load(sys.stdin.buffer)
    pickle.dump(answer(question), sys.stdout.buffer)


if __name__ == "__main__":
    main()
