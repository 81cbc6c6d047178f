"""Each mechanism that the suite takes away exists, and its removal is what the server then runs with."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chatsys.lab.faults import mutations
from chatsys.lab.faults.catalogue import chosen
from chatsys.lab.faults.mutations import FOLDER, MUTATIONS
from chatsys.lab.faults.patches import PATCHES, VARIABLE, resolve


@pytest.mark.parametrize("name", PATCHES)
def test_the_target_of_a_patch_exists(name: str) -> None:
    for patch in PATCHES[name]:
        holder, attribute = resolve(patch)
        assert callable(getattr(holder, attribute))


def test_each_mutation_names_a_fault_and_a_patch_that_exist() -> None:
    assert {mutation.fault for mutation in MUTATIONS} <= {fault.name for fault in chosen()}
    assert {mutation.patch for mutation in MUTATIONS if mutation.patch} == PATCHES.keys()


@pytest.mark.parametrize(
    ("intact", "without", "noticed"),
    [
        ([], ["3 ghosts", "others' p99 90 ms against 2 ms"], "3 ghosts"),
        (["others' p99 90 ms against 2 ms"], ["3 ghosts"], "3 ghosts"),
        ([], ["others' p99 90 ms against 2 ms"], ""),
        (["1 ghosts"], ["3 ghosts"], ""),
    ],
)
async def test_only_the_sign_of_a_mechanism_counts_and_only_without_it(
    intact: list[str], without: list[str], noticed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fell_short(_mutation: mutations.Mutation, _seed: int, *, taken: bool) -> list[str]:
        return without if taken else intact

    monkeypatch.setattr(mutations, "_fell_short", fell_short)
    caught = await mutations.tried(mutations.Mutation("a mechanism", "a fault", "ghosts"))
    assert (caught.noticed, caught.intact) == (noticed, "; ".join(intact))


@pytest.mark.process
def test_a_process_with_the_folder_on_its_path_runs_without_the_mechanism() -> None:
    program = "from chatsys.realtime.sequence import Sequence; print(Sequence.read_soon(None, 0.0))"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), *filter(None, sys.path)]), VARIABLE: "gaps"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
