"""A trial's way to the alias: measured, judged and recorded on a tiny base, with real MLflow."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.promotion import evidence
from sweeps.promotion.adapters import challenger_of, find_trial
from sweeps.promotion.gate import Policy
from sweeps.promotion.ledger import Ledger, LedgerEntry
from sweeps.promotion.promote import PROMOTED, REFUSED, promote
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import dump, parse
from sweeps.study.study import open_study
from sweeps.study.suggester import Suggester
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.host.host import Host

MODEL = "shapes-captioner"
FILE = """\
name: {name}
model: {{base: {base}}}
data: {{source: shapes, limit: 96, seed: {seed}, split: {{train: 0.4, validation: 0.1, test: 0.5}}}}
train: {{epochs: 1, batch_size: 4}}
adapter: {{rank: 8, alpha: 16.0}}
evaluate: {{metrics: [word_error_rate, exact_match], max_new_tokens: 6, final_beams: 1}}
search:
  space: {{train.learning_rate: {{choice: [1e-4, 2e-2]}}}}
  objective: {{metric: word_error_rate}}
  sampler: {{name: grid}}
  start: [{{train.learning_rate: 2e-2}}]
promote: {{model: {model}, approval: {approval}}}
"""


@pytest.fixture(scope="module")
def results(empty_store, tmp_path_factory):
    """A folder of results with an empty store."""
    import shutil

    root = tmp_path_factory.mktemp("results")
    shutil.copy(empty_store, root)
    return root


@pytest.fixture(scope="module")
def swept(results, untrained_base):
    """Return a function that trains both points of a sweep: the good one is trial-000."""

    def make(name, seed=0, model=MODEL, approval="false"):
        text = FILE.format(
            name=name, base=untrained_base, seed=seed, model=model, approval=approval
        )
        sweep = parse(text)
        folder = SweepFolder.create(results, name)
        folder.spec.write_text(dump(sweep))
        tracking = Tracking(uri=None, experiment=name, root=folder.root)
        parent = SweepRun.open(tracking, folder.sweep_id, text, {})
        draws, host = Suggester(open_study(sweep, folder), sweep), Host(device="cpu", threads=1)
        for trial in ("trial-000", "trial-001"):
            train(host, trial, sweep.recipe.with_point(draws.next().point), folder, parent)
        host.close()
        return parent

    return make


def train(host, trial, recipe, folder, parent):
    host.admit(trial, recipe)
    report = host.advance(trial)
    host.export(trial, folder.best_adapter(trial))
    host.evict(trial)
    run = PublishedTrial.open(parent, trial, trial, params={}, tags={})
    run.best(report.metrics, report.rung)
    score = report.metrics["val/word_error_rate"]
    record.append(
        folder,
        trial,
        RungResult(
            rung=1,
            objective=score,
            best=score,
            finished=True,
            seconds=1.0,
            metrics=dict(report.metrics),
            time=0.0,
        ),
    )
    parent.close_trial(trial, "completed")


@pytest.fixture(scope="module")
def first(swept):
    """The sweep that most tests are about."""
    return swept("shapes")


@pytest.fixture(scope="module")
def call(results):
    """Return a function: name, options -> (exit code, what was printed)."""

    def promoted(name, **options):
        written = io.StringIO()
        console = Console(file=written, width=200, highlight=False, markup=False)
        earlier, entry = find_trial(name, results)
        policy = Policy.of(earlier.sweep, **options)
        code = promote(challenger_of(earlier, entry), policy, earlier.run.tracking, console)
        return code, written.getvalue()

    return promoted


def aliases(run, model=MODEL):
    return {
        alias: int(version)
        for alias, version in run.client.get_registered_model(model).aliases.items()
    }


@pytest.fixture(scope="module")
def reigning(first, call):
    """The good trial, promoted: (exit code, what was printed)."""
    return call("shapes-1")


def test_a_first_promotion_beats_the_bare_base(first, reigning):
    code, printed = reigning
    assert code == PROMOTED
    assert "without an adapter: 48 test images" in printed
    assert "8 of 8 captions equal, all 24 weights loaded, quantization none" in printed
    assert "passed: word_error_rate 0." in printed
    assert "these test images were used for 1 judgement so far" in printed
    assert f"trial-000 lr0.02 of shapes-1 is {MODEL} version 1, alias champion" in printed
    assert aliases(first) == {"champion": 1}


def test_the_ledger_has_the_promotion_with_its_evidence(first, reigning):
    (entry,) = Ledger.open(first.tracking, MODEL).entries()
    assert (entry.kind, entry.version, entry.previous) == ("promotion", "1", None)
    assert entry.why.startswith("passed: word_error_rate")
    trial = next(run for run in first.trials() if run.data.tags["trial.id"] == "trial-000")
    assert entry.run_id == trial.info.run_id
    assert entry.evidence.startswith(f"runs:/{entry.run_id}/promotion/v1-")


def test_the_version_carries_the_verdict_and_its_table(first, reigning):
    version = first.client.get_model_version(MODEL, "1")
    tags = version.tags
    assert tags["gate.verdict"] == "passed"
    assert tags["gate.reasons"] == "none"
    assert tags["gate.objective"] == "word_error_rate"
    assert 0 < float(tags["gate.low"]) < float(tags["gate.gain"]) < float(tags["gate.high"])
    assert tags["trial.id"] == "trial-000"
    assert "| word_error_rate | 0." in version.description
    assert "| serve check | passed |" in version.description


def test_the_evidence_is_read_back_to_the_last_bit(first, reigning):
    tags = first.client.get_model_version(MODEL, "1").tags
    found = evidence.stored_evidence(first.client, tags, evidence.read_terms(tags), ())
    assert found.terms == evidence.read_terms(tags)
    assert len(found.scored.ids) == 48
    rate = found.scored.corpus["word_error_rate"]
    errors, words = found.scored.statistics["word_error_rate"].sum(axis=0)
    assert rate == errors / words
    assert f"word_error_rate {rate:.4f} against" in reigning[1]
    run_id, _, path = tags["gate.evidence"].removeprefix("runs:/").partition("/")
    with open(first.client.download_artifacts(run_id, path)) as file:
        stored = json.load(file)
    assert stored["verdict"]["challenger"] == "trial-000 lr0.02 of shapes-1"
    assert set(stored["verdict"]) == {
        "challenger", "champion", "checks", "changes", "images", "confidence",
    }  # fmt: skip
    assert set(stored["verdict"]["checks"][0]) == {"name", "passed", "measured", "asked"}
    assert {check["name"] for check in stored["verdict"]["checks"]} >= {"serve check", "latency"}


def test_stored_evidence_holds_for_the_same_terms_and_metrics_only(first, reigning):
    client, tags = first.client, first.client.get_model_version(MODEL, "1").tags
    terms, metrics = evidence.read_terms(tags), ("word_error_rate", "exact_match")
    assert evidence.stored_evidence(client, tags, terms, metrics[:1]).scored.ids
    assert evidence.stored_evidence(client, tags, terms, (*metrics, "cider")) is None
    for part in ("images", "metrics", "base"):
        other = replace(terms, **{part: "other"})
        assert evidence.stored_evidence(client, tags, other, metrics) is None
    gone = {"gate.evidence": "runs:/nothing/v1.json"}
    assert evidence.stored_evidence(client, gone, terms, ()) is None


def test_a_champion_that_is_gone_is_named_with_the_way_back(first, call):
    client, model = first.client, "lost-captioner"
    client.create_registered_model(model)
    client.create_model_version(model, first.tracking.root.as_uri())
    draft = LedgerEntry(kind="promotion", version="1", by="ann", why="better")
    Ledger.open(first.tracking, model).change_champion(lambda head: draft)
    client.delete_model_version(model, "1")
    with pytest.raises(ValueError, match=f"{model} version 1 is the champion, but it is") as no:
        call("shapes-1", to=model)
    assert f"`sweeps rollback {model}` returns" in str(no.value)


def test_the_champion_is_not_judged_against_itself(first, reigning, call):
    code, printed = call("shapes-1/trial-000")
    assert code == PROMOTED
    assert f"was already {MODEL} version 1" in printed
    assert aliases(first) == {"champion": 1}
    assert len(Ledger.open(first.tracking, MODEL).entries()) == 1


def test_other_test_images_are_refused_before_anything_is_measured(swept, first, reigning, call):
    other = swept("reseeded", seed=1)
    code, printed = call("reseeded-1")
    assert code == REFUSED
    assert "because of test images: " in printed
    assert "--allow-new-data" in printed
    assert "48 test images" not in printed
    assert "version 1 stays the champion" in printed
    tags = other.client.get_model_version(MODEL, "2").tags
    assert tags["gate.verdict"] == "refused"
    assert "gate.gain" not in tags
    assert aliases(first) == {"champion": 1, "challenger": 2}


def test_a_second_verdict_replaces_the_first_one_on_the_same_version(swept, first, call):
    if not SweepFolder(root=first.tracking.root, sweep_id="reseeded-1").is_there:
        swept("reseeded", seed=1)
        call("reseeded-1")
    first.client.set_model_version_tag(MODEL, "2", "gate.gain", "of an earlier verdict")
    code, printed = call("reseeded-1", approved_by=" ")
    assert code == REFUSED
    assert f"{MODEL} version 2 is registered" in printed
    assert "because of approval: by  ; required: none needed" in printed
    tags = first.client.get_model_version(MODEL, "2").tags
    assert "gate.gain" not in tags
    assert "approval" in tags["gate.reasons"]
    assert tags["trial.id"] == "trial-000"


@pytest.mark.slow
def test_with_new_data_allowed_both_are_scored_anew(swept, first, reigning, call):
    other = swept("anew", seed=2)
    code, printed = call("anew-1/trial-001", allow_new_data=True, dry_run=True)
    assert code == REFUSED
    assert f"{MODEL} version 1: 48 test images" in printed
    assert "any: both were rescored" in printed
    assert "because of gain in word_error_rate: -0." in printed
    assert "nothing is registered" in printed
    found = other.client.search_model_versions(f"name = '{MODEL}'")
    assert {each.tags["sweep.id"] for each in found} <= {"shapes-1", "reseeded-1"}


@pytest.mark.slow
def test_a_worse_challenger_is_refused_by_the_stored_scores(first, reigning, call):
    """By the id of its run in MLflow, as a person copies it from there."""
    trial = next(run for run in first.trials() if run.data.tags["trial.id"] == "trial-001")
    code, printed = call(trial.info.run_id)
    assert code == REFUSED
    assert f"{MODEL} version 1: scores as stored with it" in printed
    assert "refused: word_error_rate" in printed
    assert aliases(first)["champion"] == 1


@pytest.mark.slow
def test_where_approval_is_demanded_a_person_decides(swept, call):
    model = "approved-captioner"
    run = swept("approved", seed=3, model=model, approval="true")
    code, printed = call("approved-1")
    assert code == REFUSED
    assert "because of approval: nobody's; required: --approve-by NAME" in printed
    assert aliases(run, model) == {"challenger": 1}
    reasons = run.client.get_model_version(model, "1").tags["gate.reasons"]
    assert reasons == "approval: nobody's; required: --approve-by NAME"
    code, printed = call("approved-1", approved_by="Ada")
    assert code == PROMOTED
    assert "these test images were used for 2 judgements" in printed
    (entry,) = Ledger.open(run.tracking, model).entries()
    assert (entry.version, entry.approved_by) == ("1", "Ada")


@pytest.mark.slow
def test_a_slowdown_limit_measures_the_champion_in_the_same_hour(first, reigning, call, results):
    spec = SweepFolder(root=results, sweep_id="shapes-1").spec
    text = spec.read_text()
    sweep = parse(text)
    limited = sweep.promote.model_copy(update={"max_slowdown": 1e-6})
    spec.write_text(dump(sweep.model_copy(update={"promote": limited})))
    try:
        code, printed = call("shapes-1/trial-001")
    finally:
        spec.write_text(text)
    assert code == REFUSED
    assert f"{MODEL} version 1: 48 test images" in printed
    assert "because of slowdown: " in printed


def test_nobody_names_a_model(first, call, results):
    spec = SweepFolder(root=results, sweep_id="shapes-1").spec
    text = spec.read_text()
    spec.write_text(dump(parse(text).model_copy(update={"promote": None})))
    try:
        with pytest.raises(ValueError, match=r"no promote\.model; name one with --to"):
            call("shapes-1")
    finally:
        spec.write_text(text)


def test_a_run_that_is_no_trial_or_not_there_is_named(first, call, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match=f"run {first.run_id} is not a trial's"):
        call(first.run_id)
    with pytest.raises(ValueError, match=r"no run 0{32} in sqlite"):
        call("0" * 32)
