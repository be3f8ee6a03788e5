"""What a host gets ready, what it says of its trials, and whose failure is whose."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from ray.exceptions import RayActorError

from sweeps.host.actor import HostActor
from sweeps.results import pictures
from tests.sweeps.published import sweep_run
from workers.evaluation.scoring import digest_of_ids
from workers.metrics.scorer import Scorer
from workers.recipe import Model


class LostScorer(Scorer):
    """A scorer that has gone with its node."""

    def score_each(self, several):
        raise RayActorError(error_msg="the actor is unavailable")


def test_a_scorer_that_is_gone_is_no_failure_of_the_trial(context):
    """Tune hears of it as of the host's own death, and tries again elsewhere."""
    actor = HostActor(context, "host-0", LostScorer)
    with pytest.raises(RayActorError, match="unavailable"):
        actor.open(0, {"train.learning_rate": 1e-2})
    actor.shutdown()


EARLY = """
import pickle, sys
from sweeps.host.actor import HostActor
from workers.metrics.scorer import Scorer

class Told(Scorer):
    def start(self):
        print(*({"torch", "transformers"} & sys.modules.keys()), "loaded before")
        super().start()

with open(sys.argv[1], "rb") as file:
    HostActor(pickle.load(file), "host-0", Told).shutdown()
print("torch" in sys.modules)
"""


def test_a_scorer_begins_before_torch_is_loaded(context, tmp_path):
    (tmp_path / "context").write_bytes(pickle.dumps(context))
    command = [sys.executable, "-c", EARLY, str(tmp_path / "context")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["loaded before", "True"]


def test_warming_up_keeps_small_copies_of_the_images_and_the_base_s_captions(actor, context):
    actor.warm_up()
    kept = pictures.read(context.folder.scored_images)
    ids = {one.id for one in actor._host.scored_samples(context.sweep.recipe)}
    assert set(kept.pictures) == set(kept.untrained) == ids


def test_a_base_without_room_for_captions_is_said_once_and_no_trial_fails(endless_git, context):
    sweep = context.sweep.model_copy(update={"model": Model(base=str(endless_git))})
    evaluate = sweep.evaluate.model_copy(update={"max_new_tokens": 40})
    sweep = sweep.model_copy(update={"evaluate": evaluate})
    actor = HostActor(replace(context, sweep=sweep), "host-0")
    _, cut = actor.warm_up()
    assert cut.startswith("captions: at most 31 tokens instead of 40 (evaluate.max_new_tokens)")
    actor.open(0, {"train.learning_rate": 1e-3})
    assert not actor.advance(0).failed
    actor.shutdown()


def test_an_error_of_a_trial_is_traced_to_the_line_that_failed(actor, monkeypatch):
    """Not to the host's turns only, nor through each of torch's modules."""
    actor.open(0, {"train.learning_rate": 1e-3})
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret-7c1e")

    def fail(self, *args):
        raise IndexError("planted-secret-7c1e is out of range in self")

    monkeypatch.setattr(torch.nn.Embedding, "forward", fail)
    told = actor.advance(0).failed
    assert "IndexError: *** is out of range" in told
    assert "transformers/models/git/modeling_git.py" in told
    assert 'File "workers/' in told
    assert "_call_impl" not in told
    assert "sweeps/host/rung.py" not in told
    assert "/site-packages/" not in told


def test_trial_and_sweep_say_which_images_score_them(actor, context, run_of):
    actor.warm_up()
    actor.open(0, {"train.learning_rate": 1e-3})
    parent = sweep_run(context.folder)
    samples = actor._host.scored_samples(context.sweep.recipe)
    expected = {"eval.images": "6", "eval.digest": digest_of_ids(one.id for one in samples)}
    for tags in (run_of().data.tags, parent.client.get_run(parent.run_id).data.tags):
        assert {key: tags[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({}, "yes"),
        ({"adapter.variant": "dora"}, "no: DoRA norms the whole weight of each trial"),
    ],
)
def test_a_tag_says_whether_a_trial_is_packed(actor, point, told, run_of):
    actor.open(0, point)
    assert run_of().data.tags["trial.packed"] == told


def test_an_error_of_the_trial_is_a_result_and_the_next_trial_works(actor):
    assert "exact" not in str(actor.open(0, {"train.learning_rate": 1e-2}))
    failure = actor.open(1, {"train.learning_rate": "fast"})
    assert "train.learning_rate" in failure.failed
    assert actor.advance(0).failed is None


def test_an_error_that_names_a_secret_comes_back_without_it(actor, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "the value of it")
    failure = actor.open(1, {"train.learning_rate": "the value of it"})
    assert "input_value='***'" in failure.failed


def test_what_does_not_fit_in_memory_is_marked_as_such(actor):
    """A batch of 2**50 examples' worth of memory, asked of torch in the middle of a rung."""
    assert actor.open(0, {"train.learning_rate": 1e-2}) is None
    pack = actor._host._slot("trial-000").trainer
    pack._losses = lambda *step: torch.empty(2**55, dtype=torch.uint8)
    result = actor.advance(0)
    assert "DefaultCPUAllocator" in result.failed
    assert result.violations == {"memory": 1.0}
    failure = actor.open(1, {"train.learning_rate": "fast"})
    assert failure.violations == {}


def test_closing_an_unknown_trial_does_nothing(actor):
    actor.close(99)
