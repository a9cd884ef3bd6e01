"""The examples of a run are the same however many processes, workers and micro-batches read them, and from any step."""

import os
import pickle
import signal
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rows import Rows

from lavie.errors import LavieError, UsageError
from lavie.training.data import ClipRequest, Mixture, Skipped, TrainingData
from lavie.training.data.transfer import pack, unpack

REQUEST = ClipRequest(2, 4, 6)


@dataclass(frozen=True)
class Growing:
    """A request that changes with the step."""

    def __call__(self, step):
        return ClipRequest(1 + step % 3, 4, 6)


class ThreadCount(Rows):
    def caption(self, row, generator):
        return f"{torch.get_num_threads()} {os.getpid()}"


def data(batch_size=4, seed=0, num_images=2, broken=(), request=REQUEST):
    videos = Mixture([Rows("a", 30, broken), Rows("b", 5)], [(0, {"a": 1}), (10, {"a": 1, "b": 1})])
    return TrainingData(videos, request, batch_size, seed, Mixture([Rows("stills", 11)]), num_images)


def same(one, other):
    assert [e.number for e in one] == [e.number for e in other]
    for left, right in zip(one, other, strict=True):
        assert (left.seed, left.skipped, left.clip.name) == (right.seed, right.skipped, right.clip.name)
        for a, b in zip((left.clip, *left.images), (right.clip, *right.images), strict=True):
            assert a.caption == b.caption
            assert a.tensors.keys() == b.tensors.keys()
            assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
        assert torch.equal(torch.rand(3, generator=left.generator()), torch.rand(3, generator=right.generator()))


def read(data, *steps, **how):
    return [example for batch in data.loader(*steps, **how) for example in batch]


@given(st.integers(0, 20), st.sampled_from([(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)]), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_the_shares_of_all_processes_are_the_batches_of_one(first, split, seed):
    processes, micro_batch = split
    alone = read(data(seed=seed), first, first + 3)
    shares = [
        read(data(seed=seed), first, first + 3, process_index=r, num_processes=processes, micro_batch=micro_batch)
        for r in range(processes)
    ]
    same(sorted((e for share in shares for e in share), key=lambda e: e.number), alone)


def test_a_run_that_goes_on_at_a_step_sees_what_the_whole_run_saw():
    whole = read(data(), 0, 12)
    same(read(data(), 7, 12), whole[28:])


def test_micro_batches_of_a_step_follow_one_another():
    loader = data(batch_size=8).loader(3, 5, process_index=1, num_processes=2, micro_batch=2)
    assert [[e.number for e in batch] for batch in loader] == [[28, 29], [30, 31], [36, 37], [38, 39]]
    assert len(loader) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    same(read(data(broken={3, 4, 5}), 0, 12, workers=workers), read(data(broken={3, 4, 5}), 0, 12))


def test_everything_that_a_worker_needs_can_be_pickled():
    training = data(request=Growing())
    examples = read(pickle.loads(pickle.dumps(training)), 0, 3)
    same(examples, read(training, 0, 3))
    assert [e.clip.tensors["video"].shape[1] for e in examples[::4]] == [1, 2, 3]
    assert examples[8].images[0].tensors["video"].shape == (3, 1, 4, 6)


def test_spawned_workers_give_the_same_examples():
    training = data(batch_size=2)
    loader = training.loader(0, 2, workers=1)
    loader.multiprocessing_context = "spawn"
    same([e for batch in loader for e in batch], read(training, 0, 2))


def test_a_worker_computes_on_one_thread_in_its_own_process():
    training = TrainingData(Mixture([ThreadCount("a", 4)]), REQUEST, 2, 0)
    (example, *_) = read(training, 0, 1, workers=1)
    threads, process = map(int, example.clip.caption.split())
    assert threads == 1
    assert process != os.getpid()


def test_loading_leaves_the_global_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    read(data(), 0, 2)
    read(data(), 0, 2, workers=1)
    assert torch.equal(torch.rand(4), expected)


def test_broken_files_are_passed_over_and_named():
    broken = set(range(0, 30, 2))
    examples = read(data(broken=broken), 0, 30)
    skipped = [item for e in examples for item in e.skipped]
    assert {item.name for item in skipped} == {f"a/{row}.mp4" for row in broken}
    assert skipped[0] == Skipped(skipped[0].name, "it is damaged")
    assert len(examples) == 120
    assert all(int(e.clip.caption.split()[1]) not in broken for e in examples if e.clip.caption[0] == "a")


def test_a_broken_file_does_not_change_the_examples_without_it():
    whole, holed = read(data(), 0, 10), read(data(broken={3}), 0, 10)
    assert any(e.skipped for e in holed)
    for number, example in enumerate(holed):
        if not example.skipped:
            same([example], [whole[number]])


@pytest.mark.parametrize("workers", [0, 1])
def test_twenty_broken_files_in_a_row_end_the_run_with_one_sentence(workers):
    training = data(broken=range(30))
    with pytest.raises(LavieError, match=r"^20 files of a in a row cannot be used, the last one is a/\d+\.mp4: it is"):
        read(training, 0, 1, workers=workers)


def test_every_example_has_random_numbers_of_its_own():
    examples = [*read(data(), 0, 4), *read(data(seed=1), 0, 4)]
    draws = {tuple(torch.rand(2, generator=e.generator()).tolist()) for e in examples}
    assert len(draws) == len(examples)
    assert torch.equal(examples[0].generator().get_state(), examples[0].generator().get_state())


@pytest.mark.parametrize(("processes", "micro_batch"), [(3, 0), (2, 3), (1, 5)])
def test_a_batch_that_cannot_be_split_evenly_is_refused(processes, micro_batch):
    with pytest.raises(UsageError, match=f"multiple of {processes * (micro_batch or 1)}"):
        data(batch_size=4).loader(0, 1, 0, processes, micro_batch)


def test_joint_training_needs_images():
    with pytest.raises(UsageError, match="source of captioned images"):
        TrainingData(Mixture([Rows("a", 2)]), REQUEST, 2, 0, num_images=1)


def test_an_interrupt_reaches_the_main_process_only():
    batches = iter(data().loader(0, 40, workers=1))
    first = next(batches)
    children = torch.multiprocessing.active_children()
    assert children
    for child in children:
        os.kill(child.pid, signal.SIGINT)
    same([*first, *(e for batch in batches for e in batch)], read(data(), 0, 40))


def test_tensors_of_a_batch_travel_in_one_block_for_each_dtype():
    value = [{"a": torch.rand(2, 3), "b": torch.arange(4)}, (torch.rand(1).half(), "words", torch.rand(0, 2))]
    packed = pickle.loads(pickle.dumps(pack(value)))
    assert {dtype: len(block) for dtype, block in packed.blocks.items()} == {
        torch.float32: 6,
        torch.int64: 4,
        torch.float16: 1,
    }
    (first, second) = unpack(packed)
    assert torch.equal(first["a"], value[0]["a"])
    assert torch.equal(first["b"], value[0]["b"])
    assert torch.equal(second[0], value[1][0])
    assert second[1] == "words"
    assert second[2].shape == (0, 2)
