"""The scorer that the hosts of a node share, on real Ray."""

import os
import signal

import psutil
import pytest
import ray

from sweeps.fleet import cluster
from sweeps.fleet.scorer import NodeScorer, start_scorer
from workers.metrics.scorer import Scorer

METRICS = ("bleu", "cider", "exact_match")
REFERENCES = {
    "one": ["a red square", "one square, red"],
    "two": ["two blue circles on grey"],
    "three": ["a green triangle", "the triangle is green"],
}
CAPTIONS = {"one": "a red square", "two": "two red circles", "three": "a triangle"}


@pytest.fixture(scope="module")
def node():
    cluster.connect()
    yield ray.get_runtime_context().get_node_id()
    ray.shutdown()


@pytest.fixture(scope="module")
def actor(node):
    return start_scorer("shared-1", node)


@pytest.fixture(scope="module")
def alone():
    scorer = Scorer(METRICS, REFERENCES)
    yield scorer.score(CAPTIONS).corpus
    scorer.close()


@ray.remote(num_cpus=0)
def host_scores():
    return NodeScorer("shared-1", METRICS, REFERENCES).score(CAPTIONS).corpus


def process_of(actor):
    (state,) = [
        info
        for info in ray._private.state.actors().values()
        if info["ActorID"] == actor._actor_id.hex()
    ]
    return state["Pid"]


def test_ray_on_this_machine_has_no_process_that_nobody_asks(node):
    running = " ".join(" ".join(each.cmdline()) for each in psutil.Process().children())
    assert "raylet" in running
    assert "dashboard.py" not in running
    assert "monitor.py" not in running


def test_two_hosts_at_once_get_the_scores_of_a_scorer_of_their_own(actor, alone):
    assert ray.get([host_scores.remote(), host_scores.remote()]) == [alone, alone]


def test_an_error_of_the_scorer_reaches_the_host_as_it_is(actor):
    scorer = NodeScorer("shared-1", METRICS, REFERENCES)
    with pytest.raises(ValueError, match="'three'"):
        scorer.score({"one": "a", "two": "b"})


def test_a_scorer_that_was_killed_is_started_again_and_the_score_repeated(actor, alone):
    scorer = NodeScorer("shared-1", METRICS, REFERENCES)
    scorer.start()
    assert scorer.score(CAPTIONS).corpus == alone
    os.kill(process_of(actor), signal.SIGKILL)
    assert scorer.score(CAPTIONS).corpus == alone


def test_a_host_without_a_scorer_on_its_node_takes_another_one(node, alone):
    elsewhere = start_scorer("moved-1", "e" * len(node))
    assert NodeScorer("moved-1", METRICS, REFERENCES).score(CAPTIONS).corpus == alone
    cluster.stop([elsewhere], 30.0)
