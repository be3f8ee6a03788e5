"""Several trials of one host actor at once: called from threads, as Ray's calls come."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from ray.exceptions import RayActorError

from sweeps.host.actor import HostActor
from sweeps.host.context import SweepContext
from sweeps.results import best, record
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from workers.memory.fit import Device
from workers.memory.footprint import Correction
from workers.metrics.scorer import Scorer

FILE = """
name: together
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 2, batch_size: 4, learning_rate: 1e-3}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: loss}}
schedule: {{name: fifo}}
resources: {{packing: {packing}}}
"""
RATES = (1e-3, 3e-3, 1e-4)
ENDLESS = {"train.learning_rate": 1e-3, "train.batch_size": 1, "data.limit": 4000}
"""More steps to a rung than any test waits for."""


@pytest.fixture
def make(tmp_path, untrained_base):
    """Return a function: name, packing, kind -> an actor of a sweep of its own, and its context."""
    actors = []

    def actor(name, packing="auto", kind=HostActor):
        folder = SweepFolder.create(tmp_path, name)
        sweep = parse(FILE.format(base=untrained_base, packing=packing))
        context = SweepContext(sweep=sweep, folder=folder, threads=1)
        actors.append(kind(context, "host-0"))
        return actors[-1], context

    yield actor
    for each in actors:
        each._loop.close()


@pytest.fixture
def calls():
    with ThreadPoolExecutor(max_workers=8) as calls:
        yield calls


def until(is_so):
    while not is_so():
        time.sleep(0.01)


def until_training(actor, name):
    """Wait until the host has work for a slot."""
    until(lambda: actor._loop.do(lambda: actor._host.is_at_work(name)))


def numbers(results):
    """What is reported of rungs, without the times."""
    times = ("measured/seconds_per_epoch", "measured/latency_ms")
    return [
        (result.rung, result.objective, result.best, result.finished,
         {key: value for key, value in result.metrics.items() if key not in times})
        for result in results
    ]  # fmt: skip


def life(actor, number):
    """Train a trial to its end; what is reported of its rungs."""
    assert actor.open(number, {"train.learning_rate": RATES[number]}) is None
    results = [actor.advance(number) for _ in range(2)]
    actor.close(number)
    return numbers(results)


def test_trials_that_take_turns_have_the_numbers_files_and_captions_of_trials_alone(make, calls):
    (one, alone), (other, at_once) = make("alone", "off"), make("at-once", "off")
    expected = [life(one, number) for number in range(3)]
    lives = [calls.submit(life, other, number) for number in range(3)]
    assert [each.result() for each in lives] == expected
    for number in range(3):
        name = f"trial-{number:03d}"
        assert numbers(record.read(at_once.folder, name)) == expected[number]
        kept = [context.folder.best_adapter(name) for context in (alone, at_once)]
        assert best.read_predictions(kept[0]) == best.read_predictions(kept[1])
        weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in kept]
        assert weights[0] == weights[1]


def test_packed_trials_have_the_numbers_of_trials_alone(make, calls):
    (one, _), (other, at_once) = make("alone"), make("packed")
    expected = [life(one, number) for number in range(3)]
    lives = [calls.submit(life, other, number) for number in range(3)]
    for number, each in enumerate(lives):
        assert each.result() == numbers(record.read(at_once.folder, f"trial-{number:03d}"))
        for (rung, *_, metrics), (place, *_, alone) in zip(
            each.result(), expected[number], strict=True
        ):
            assert rung == place
            assert metrics == pytest.approx(alone, rel=0.0, abs=1e-4)


class OnGpu(HostActor):
    """Believes to be on a GPU."""

    def share(self):
        return Device(gpu=True, bytes=2.0**34)


def test_trials_that_train_ahead_have_the_numbers_of_trials_alone(make, calls):
    """As on a GPU; what a trial trains past its last rung is on its record."""
    (one, _), (other, context) = make("in-time", "off"), make("ahead", "off", OnGpu)
    expected = [life(one, number) for number in range(3)]
    lives = [calls.submit(life, other, number) for number in range(3)]
    assert [each.result() for each in lives] == expected
    other.open(3, {"train.learning_rate": RATES[0]})
    other.advance(3)
    until(lambda: not other._loop.do(lambda: other._host.busy))
    other.close(3)
    for trial, steps in (("trial-000", []), ("trial-003", ["9"])):
        lines = record.lines(context.folder.record(trial))
        tags = [line.logged.get("tags", {}).get("trial.discarded_steps") for line in lines]
        assert [tag for tag in tags if tag] == steps


def test_an_error_of_one_trial_leaves_those_beside_it_alone(make, calls):
    actor, _ = make("errors")
    diverging = {"train.learning_rate": 1e30, "train.max_grad_norm": None, "guard.stop": False}
    for number, point in enumerate((diverging, {"train.learning_rate": 1e-3})):
        assert actor.open(number, point) is None
    broken, sound = (calls.submit(actor.advance, number) for number in range(2))
    assert "NonFiniteLossError" in broken.result().failed
    assert (sound.result().rung, sound.result().failed) == (1, None)
    assert sorted(actor._host._slots) == ["trial-001"]


def test_closing_a_trial_in_the_middle_of_a_rung_releases_who_waits_for_it(make, calls):
    actor, context = make("closing")
    actor.open(0, ENDLESS, fencing_token="first")
    waiting = calls.submit(actor.advance, 0)
    until_training(actor, "trial-000")
    actor.close(0, "second")  # another one's word
    assert not waiting.done()
    actor.close(0, "first")
    assert "trial-000 was closed in the middle of a rung" in waiting.result().failed
    assert record.read(context.folder, "trial-000") == []
    assert actor.open(1, {"train.learning_rate": 1e-3}) is None
    assert actor.advance(1).rung == 1


def test_a_trial_that_is_opened_anew_in_the_middle_of_a_rung_trains_it_once(make, calls):
    """Its Trainable has died; the next one asks for the slot while the rung is in flight."""
    actor, context = make("anew")
    actor.open(0, ENDLESS, fencing_token="first")
    waiting = calls.submit(actor.advance, 0)
    until_training(actor, "trial-000")
    point = {"train.learning_rate": 1e-3}
    assert actor.open(0, point, fencing_token="second") is None
    assert "in the middle of a rung" in waiting.result().failed
    assert [actor.advance(0).rung for _ in range(2)] == [1, 2]
    assert [each.rung for each in record.read(context.folder, "trial-000")] == [1, 2]


def test_a_rung_that_is_asked_for_twice_leaves_nobody_waiting(make, calls):
    actor, _ = make("twice")
    actor.open(0, ENDLESS)
    waiting = calls.submit(actor.advance, 0)
    until_training(actor, "trial-000")
    assert "slot 'trial-000' is at work" in actor.advance(0).failed
    assert "in the middle of a rung" in waiting.result().failed


def test_quick_calls_are_answered_and_a_host_ends_while_a_rung_trains(make, calls):
    actor, _ = make("ending")
    actor.open(0, ENDLESS)
    waiting = calls.submit(actor.advance, 0)
    until_training(actor, "trial-000")
    assert not actor.share().gpu
    assert actor.correction() == Correction()  # nothing is measured on a CPU
    actor.files()
    actor.close(7)
    assert not waiting.done()
    actor.shutdown()
    with pytest.raises(RayActorError, match="the host ends with its sweep"):
        waiting.result()


class SlowScorer(Scorer):
    def score_each(self, several):
        time.sleep(0.5)
        return super().score_each(several)


def test_a_host_ends_while_captions_are_scored(make, calls):
    actor, context = make("scoring", kind=partial(HostActor, make_scorer=SlowScorer))
    actor.open(0, {"train.learning_rate": 1e-3})
    waiting = calls.submit(actor.advance, 0)
    until(lambda: actor._loop.do(lambda: "trial-000" in actor._host._outbox))
    actor.shutdown()
    with pytest.raises(RayActorError, match="the host ends with its sweep"):
        waiting.result()
    assert record.read(context.folder, "trial-000") == []
