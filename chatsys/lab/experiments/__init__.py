"""What a run performs, in this order."""

from chatsys.lab.experiments import table
from chatsys.lab.stage import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (table.EXPERIMENT,)
