"""The experiments of a run, in order of execution."""

from chatsys.lab.experiments import (
    backup,
    buses,
    costs,
    distance,
    durability,
    endpoints,
    growth,
    peers,
    persistence,
    realtime,
    table,
    upkeep,
    workers,
)
from chatsys.lab.runner.environment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    table.EXPERIMENT, persistence.EXPERIMENT, endpoints.EXPERIMENT, costs.EXPERIMENT, durability.EXPERIMENT,
    backup.EXPERIMENT, growth.EXPERIMENT, distance.EXPERIMENT, realtime.EXPERIMENT, workers.EXPERIMENT,
    buses.EXPERIMENT, peers.EXPERIMENT, upkeep.EXPERIMENT,
)  # fmt: skip
