"""Every reader reads a changed file, or refuses it in a sentence, in 2 s and 200 MB: mutants that know the formats."""

import sys
import time

import pytest

pytest.importorskip("resource")
from fuzz.readers import READERS
from fuzz.run import CORPUS, content, failure, keep, mutants, warm_up, whole

FAILED = sorted(path for path in CORPUS.iterdir() if path.name != "README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "mutant"
    warm_up(folder)
    return folder


@pytest.mark.parametrize("path", FAILED, ids=lambda path: path.name)
def test_no_file_that_ever_failed_fails_again(path, folder):
    name = path.name.rpartition("-")[0]
    assert not failure(name, path.read_bytes(), folder)


def test_every_mutant_is_read_or_refused_in_a_sentence_within_bounds(folder, pytestconfig):
    total = pytestconfig.getoption("--mutants", None)
    seed = pytestconfig.getoption("--mutants-from", 0)
    wrong, began, count = [], time.process_time(), 0
    for name, number in mutants(total, seed) if total else mutants():
        count += 1
        mutant = content(name, number)
        said = failure(name, mutant, folder)
        if said:
            wrong.append(f"{name} {number}: {said} Kept as {keep(name, mutant, number).name}.")
    print(f"{count} mutants from {seed} in {time.process_time() - began:.0f} s of one core", file=sys.stderr)
    assert not wrong, "\n".join(wrong)


def test_the_same_number_gives_the_same_mutant():
    for name in READERS:
        if name not in ("mp4", "gif", "clip"):  # made by an encoder that may differ
            assert content(name, 7) == content(name, 7)


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("safetensors", "pt")])
def test_the_file_that_mutants_come_from_is_read(name, folder):
    assert not failure(name, whole(name), folder)
    (folder / f"b{READERS[name].suffix}").write_bytes(whole(name))
    if name not in ("sequence", "note", "family") and "precomputed" not in name:  # read under another name
        READERS[name].read(folder / f"b{READERS[name].suffix}")
