"""Requests to a driver: what is refused, with the nearest name, and what becomes of the others."""

import json
from dataclasses import replace

import pytest

from sweeps.driver import requests
from sweeps.driver.callbacks import StopRequested
from sweeps.results import inbox
from sweeps.results.best import Best
from sweeps.results.folder import SweepFolder
from sweeps.results.inbox import Answer, Request
from sweeps.results.segments import Segment
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.spec.problems import SpecError
from sweeps.study.trials import TrialState

FILE = """
name: asked
model: {base: tiny:shapes}
data: {source: shapes}
train: {epochs: 4}
search:
  space:
    adapter.rank: {choice: [2, 4, 64]}
    train.learning_rate: {log_uniform: [1e-4, 1e-2]}
    quantization: {choice: [none, nf4]}
    adapter.dropout: {uniform: [0.0, 0.2], when: {quantization: nf4}}
"""
POINT = {"adapter.rank": 4, "train.learning_rate": 1e-3, "quantization": "none"}


def state_of(name, state, rungs, point=POINT):
    return TrialState(
        name=name, state=state, point=point, reported={},
        adapter=Best(value=0.5, rung=rungs - 1, metrics={}),
        rungs=[RungResult(rung=rung) for rung in range(1, rungs + 1)],
    )  # fmt: skip


TRIALS = {
    "trial-000": state_of("trial-000", "completed", 4),
    "trial-001": state_of("trial-001", "running", 3, {**POINT, "train.learning_rate": 2e-3}),
}


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder.create(tmp_path, "asked")
    made.snapshot("trial-001", 3).mkdir(parents=True)
    return made


@pytest.fixture(scope="module")
def sweep():
    rules = "rules: [\"adapter.rank <= 32 or quantization == 'none'\"]"
    return parse(FILE.replace(rules, ""))


def refusals(request, sweep, folder):
    with pytest.raises(SpecError) as refused:
        requests.check(request, sweep, folder, TRIALS)
    return str(refused.value)


def add(point, **more):
    return Request(kind="add", point=point, **more)


@pytest.mark.parametrize(
    "request_",
    [
        Request(kind="stop-trial", trial="trial-001"),
        Request(kind="pause"),
        add({"adapter.rank": 64}),
        add({"adapter.rank": 64}, trial="trial-000"),
        add({"train.learning_rate": 5e-3}, trial="trial-001", rung=3),
        add({"train.learning_rate": 5e-3}, trial="trial-000", rung=0),
        add({"quantization": "nf4"}, trial="trial-000"),
    ],
)
def test_what_makes_sense_is_let_through(request_, sweep, folder):
    requests.check(request_, sweep, folder, TRIALS)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(kind="stop-trial", trial="trial-01"), ["did you mean trial-001?"]),
        (Request(kind="stop-trial", trial="trial-000"), ["that runs", "is completed"]),
        (add({}), ["must change a field"]),
        (add({"adapter.rnk": 4}), ["adapter.rnk", "did you mean adapter.rank?"]),
        (add({"adapter.rank": 3}), ["adapter.rank", "2, 4, 64"]),
        (add({"train.learning_rate": 1.0}), ["0.0001 to 0.01", "got 1.0"]),
        (add({"adapter.dropout": 0.1, "quantization": "none"}), ["adapter.dropout", "left out"]),
        (add({"adapter.rank": 4}, trial="trial-000"), ["must be a new point", "trial-000"]),
        (add({"adapter.rank": 4}, trial="trial-7"), ["must be a trial of asked-1"]),
        (add({"adapter.rank": 64}, trial="trial-001", rung=3), ["must stay 4", "trial-001"]),
        (add({"train.learning_rate": 5e-3}, rung=3), ["must come with --from"]),
        (add({"train.learning_rate": 5e-3}, trial="trial-001", rung=1), ["rungs 3 or best"]),
    ],
)
def test_what_makes_none_is_refused_in_words(request_, words, sweep, folder):
    said = refusals(request_, sweep, folder)
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(("rung", "shape"), [(0, 4), (2, 2), (3, 2)])
def test_a_state_has_the_shape_of_whoever_trained_it(rung, shape, sweep, folder):
    """Its best rung is the second, after which it took over the weights of a smaller one."""
    point = {**POINT, "adapter.rank": 2}
    segment = Segment(trial="trial-001", rung=2, donor="trial-000", point=point, perturbed=())
    changed = replace(
        state_of("trial-001", "running", 3), point=point, sampled=POINT, segments=(segment,)
    )
    folder.snapshot("trial-001", 2).mkdir()
    for rank in (2, 4):
        asked = add(
            {"train.learning_rate": 5e-3, "adapter.rank": rank}, trial="trial-001", rung=rung
        )
        given = (asked, sweep, folder, {"trial-001": changed})
        if rank == shape:
            requests.check(*given)
        else:
            with pytest.raises(SpecError, match=f"must stay {shape}"):
                requests.check(*given)


def test_a_state_after_the_last_epoch_leaves_nothing_to_train(sweep, folder):
    done = {
        "trial-000": replace(TRIALS["trial-000"], adapter=Best(value=0.5, rung=4, metrics={})),
    }
    with pytest.raises(SpecError, match="below the 4 epochs"):
        requests.check(
            add({"train.learning_rate": 5e-3}, trial="trial-000", rung=0), sweep, folder, done
        )


def test_a_copy_leaves_out_what_its_change_switches_off(sweep):
    point = {**POINT, "quantization": "nf4", "adapter.dropout": 0.1}
    origin = {"trial-000": state_of("trial-000", "stopped", 2, point)}
    request = add({"quantization": "none"}, trial="trial-000")
    assert requests.full_point(request, sweep, origin) == POINT


def test_values_are_yaml():
    given = ["adapter.rank=64", "quantization=none", "train.learning_rate=1e-3"]
    assert requests.point_of(given) == {**POINT, "adapter.rank": 64}
    with pytest.raises(SpecError, match="must look like"):
        requests.point_of(["adapter.rank"])


def test_requests_come_in_their_order_and_are_answered_once(folder):
    asked = [add({"adapter.rank": 2}, trial="trial-000", rung=0), Request(kind="pause")]
    for request in asked:
        inbox.post(folder, request)
    assert inbox.waiting(folder) == asked
    assert inbox.answered(folder, asked[0], 0.0) is None
    inbox.answer(folder, asked[0], Answer(done=True, said="one more"))
    assert inbox.waiting(folder) == asked[1:]
    assert inbox.answered(folder, asked[0], 5.0) == Answer(done=True, said="one more")
    (kept,) = (folder.control / "done").iterdir()
    assert json.loads(kept.read_text())["request"]["point"] == {"adapter.rank": 2}


def test_what_is_no_request_is_answered_as_such(folder):
    folder.control.mkdir()
    (folder.control / "1-broken.json").write_text('{"kind": "sto')
    (asked,) = inbox.waiting(folder)
    inbox.answer(folder, asked, Answer(done=False, said="this is no request"))
    assert inbox.waiting(folder) == []


def test_a_trial_that_is_to_stop_does_so_after_its_last_rung_on_record(folder):
    stopper = StopRequested(folder)
    folder.record("trial-001").write_text('{"rung": 1}\n{"rung": 2}\n')
    results = [{"trial": "trial-001", "rung": rung} for rung in (1, 2)]
    assert not any(stopper("x", result) for result in results)
    folder.stopping("trial-001").touch()
    assert [stopper("x", result) for result in results] == [False, True]
    assert not stopper("x", {"trial": "trial-000", "rung": 2})
