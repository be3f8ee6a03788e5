"""Every way in which a pack can run out of memory, up to 16 trials and 64 rows."""

import random

import pytest

from workers.memory.retreat import Flight, after_failure


def names(count):
    return tuple(f"trial-{number:03}" for number in range(count))


def retreat(flight, fits):
    """Try flights until all trained or were given up; return the tries, and who was given up."""
    left, tried, given_up = [flight], [], []
    while left:
        current = left.pop(0)
        tried.append(current)
        assert len(tried) < 10_000, "it does not end"
        if not fits(current):
            smaller = after_failure(current)
            given_up += current.trials if not smaller else ()
            left = [*smaller, *left]
    return tried, given_up


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 64])
def test_it_ends_and_nobody_is_given_up_untried(slots, rows):
    start = Flight(trials=names(slots), micro_batch=rows)
    tried, given_up = retreat(start, lambda flight: False)
    assert sorted(given_up) == sorted(start.trials)
    alone = {flight.trials for flight in tried if flight.alone and flight.micro_batch == 1}
    assert alone == {(name,) for name in start.trials}


@pytest.mark.parametrize("seed", range(20))
def test_only_who_does_not_fit_alone_is_given_up(seed):
    draw = random.Random(seed)
    for _ in range(100):
        check_one_of_many(draw)


def check_one_of_many(draw):
    start = Flight(trials=names(draw.randint(1, 16)), micro_batch=draw.randint(1, 64))
    sizes = {name: draw.choice([1, 2, 5, 200]) for name in start.trials}
    room = draw.randint(1, 100)

    def fits(flight):
        # The others take a little as long as they are there.
        rest = 0 if flight.alone else len(start.trials) - len(flight.trials)
        return flight.micro_batch * sum(sizes[name] for name in flight.trials) + rest <= room

    tried, given_up = retreat(start, fits)
    assert sorted(given_up) == [name for name in start.trials if sizes[name] > room]
    trained = [name for flight in tried if fits(flight) for name in flight.trials]
    assert sorted([*trained, *given_up]) == sorted(start.trials)  # each once


@pytest.mark.parametrize("slots", range(1, 17))
def test_every_step_is_smaller_and_holds_the_same_trials(slots):
    flights = [Flight(trials=names(slots), micro_batch=rows) for rows in range(1, 65)]
    while flights:
        flight = flights.pop()
        smaller = after_failure(flight)
        assert tuple(name for one in smaller for name in one.trials) in (flight.trials, ())
        assert all(one.micro_batch <= flight.micro_batch for one in smaller)
        assert all(one.alone >= flight.alone for one in smaller)
        assert flight not in smaller
        flights += smaller


def test_rows_are_halved_before_trials_are_parted():
    flight = Flight(trials=names(3), micro_batch=2)
    (halved,) = after_failure(flight)
    assert halved == Flight(trials=names(3), micro_batch=1)
    assert [len(one.trials) for one in after_failure(halved)] == [2, 1]
