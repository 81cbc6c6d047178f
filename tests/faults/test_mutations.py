"""Each mechanism that the suite removes exists, and a server then really runs without it."""

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
def test_patch_target_exists(name: str) -> None:
    for patch in PATCHES[name]:
        holder, attribute = resolve(patch)
        assert callable(getattr(holder, attribute))


def test_mutation_names_a_fault_and_a_patch_that_exist() -> None:
    assert {mutation.fault for mutation in MUTATIONS} <= {fault.name for fault in chosen()}
    assert {mutation.patch for mutation in MUTATIONS if mutation.patch} == PATCHES.keys()


@pytest.mark.parametrize(
    ("intact", "without", "noticed"),
    [
        ([], ["3 ghosts", "others' p99 90 ms, up from 2 ms"], "3 ghosts"),
        (["others' p99 90 ms, up from 2 ms"], ["3 ghosts"], "3 ghosts"),
        ([], ["others' p99 90 ms, up from 2 ms"], ""),
        (["1 ghosts"], ["3 ghosts"], ""),
    ],
)
async def test_mutation_counts_only_its_sign_and_only_without_the_mechanism(
    intact: list[str], without: list[str], noticed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shortcomings(_mutation: mutations.Mutation, _seed: int, *, removed: bool) -> list[str]:
        return without if removed else intact

    monkeypatch.setattr(mutations, "_shortcomings", shortcomings)
    caught = await mutations.attempt(mutations.Mutation("a mechanism", "a fault", "ghosts"))
    assert (caught.noticed, caught.intact) == (noticed, "; ".join(intact))


@pytest.mark.process
def test_process_with_the_folder_on_its_path_lacks_the_mechanism() -> None:
    program = "from chatsys.realtime.sequence import Sequence; print(Sequence.read_soon(None, 0.0))"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), *filter(None, sys.path)]), VARIABLE: "gaps"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
