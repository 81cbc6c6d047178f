"""What a run performs, in this order."""

from chatsys.lab.experiments import costs, doors, growth, persistence, realtime, table
from chatsys.lab.stage import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    table.EXPERIMENT,
    persistence.EXPERIMENT,
    doors.EXPERIMENT,
    costs.EXPERIMENT,
    growth.EXPERIMENT,
    *realtime.EXPERIMENTS,
)
