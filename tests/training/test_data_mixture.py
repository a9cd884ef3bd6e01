"""A mixture gives every source its weight, every row its turn, and the same row for the same number."""

import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rows import Rows

from lavie.errors import UsageError
from lavie.training.data import Mixture


def picks(mixture, numbers, batch_size, seed=0):
    return [(source.name, row) for source, row in (mixture.pick(n, batch_size, seed) for n in numbers)]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
weights = st.lists(st.floats(0, 10).map(lambda w: round(w, 2)), min_size=4, max_size=4).filter(lambda w: sum(w) > 0.1)


@given(sizes, st.integers(1, 16), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_no_row_is_shown_twice_before_all_rows_of_its_source_were_shown(sizes, batch_size, seed):
    sources = [Rows(str(index), size) for index, size in enumerate(sizes)]
    mixture = Mixture(sources, {source.name: 1 + i for i, source in enumerate(sources)})
    shown = {source.name: [] for source in sources}
    for name, row in picks(mixture, range(300), batch_size, seed):
        shown[name].append(row)
    for source in sources:
        rows = shown[source.name]
        for start in range(0, len(rows), len(source)):
            turn = rows[start : start + len(source)]
            assert len(set(turn)) == len(turn)


@given(weights, weights, st.integers(1, 12), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_every_source_has_had_its_share_at_every_step(first, last, batch_size, until):
    names = ["a", "b", "c", "d"]
    schedule = [(10, dict(zip(names, first, strict=True))), (10 + until + 1, dict(zip(names, last, strict=True)))]
    mixture = Mixture([Rows(name, 7) for name in names], schedule)
    had, due = Counter(), Counter()
    for step in range(60):
        batch = range(step * batch_size, (step + 1) * batch_size)
        had.update(name for name, _ in picks(mixture, batch, batch_size))
        due.update({name: batch_size * share for name, share in mixture.weights(step).items()})
        assert all(abs(had[name] - due[name]) < 3 for name in names)
    assert all(had[name] == 0 for name in names if first[names.index(name)] == last[names.index(name)] == 0)


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=9), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_pick_depends_on_its_number_alone(numbers, seed):
    def mixture():
        return Mixture([Rows("a", 50), Rows("b", 9)], [(0, {"a": 1}), (800, {"a": 1, "b": 3})])

    asked = mixture()
    together = picks(asked, numbers, 8, seed)
    assert together == [picks(mixture(), [number], 8, seed)[0] for number in numbers]
    assert together == picks(asked, numbers[::-1], 8, seed)[::-1]
    assert together == picks(pickle.loads(pickle.dumps(asked)), numbers, 8, seed)


def test_seeds_give_other_orders():
    mixture = Mixture([Rows("a", 50)])
    orders = {tuple(picks(mixture, range(50), 5, seed)) for seed in range(5)}
    assert len(orders) == 5
    first, second = picks(mixture, range(50), 5), picks(mixture, range(50, 100), 5)
    assert first != second
    assert sorted(first) == sorted(second)


def test_weights_change_linearly_between_steps_and_stay_outside():
    mixture = Mixture([Rows("a", 3), Rows("b", 3)], [(100, {"a": 1}), (200, {"a": 1, "b": 4})])
    assert mixture.weights(0) == mixture.weights(100) == {"a": 1, "b": 0}
    assert mixture.weights(150) == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert mixture.weights(200) == mixture.weights(9999) == pytest.approx({"a": 0.2, "b": 0.8})


def test_without_weights_every_row_counts_alike():
    assert Mixture([Rows("a", 30), Rows("b", 10)]).weights(0) == {"a": 0.75, "b": 0.25}


def test_the_examples_of_a_step_are_mixed():
    mixture = Mixture([Rows("a", 30), Rows("b", 30)], {"a": 1, "b": 1})
    orders = {"".join(name for name, _ in picks(mixture, range(8 * s, 8 * s + 8), 8)) for s in range(10)}
    assert len(orders) > 5
    assert all(order.count("a") == 4 for order in orders)


@pytest.mark.parametrize(
    ("names", "schedule", "message"),
    [
        ("", None, "nothing to train on"),
        ("aa", None, "Two sources have the same name"),
        ("ab", {"c": 1}, "names 'c' at step 0; the sources are a, b"),
        ("ab", {"a": 0}, "not all 0"),
        ("ab", {"a": -1, "b": 2}, "0 or more"),
        ("ab", {"a": float("nan")}, "0 or more"),
        ("ab", [], "curriculum is empty"),
        ("ab", [(0, {"a": 1}), (0, {"b": 1})], "names a step twice"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(names, schedule, message):
    with pytest.raises(UsageError, match=message):
        Mixture([Rows(name, 2) for name in names], schedule)
