"""Promotion: a trial's adapter is registered, judged, and becomes the champion if it passes."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from sweeps import names
from sweeps.promotion import evidence, gate, registry
from sweeps.promotion.adapters import SCHEME, TrainedAdapter, fetch_registered
from sweeps.promotion.evidence import HeldOut, record_verdict
from sweeps.promotion.gate import Check, Evidence, Policy, Verdict
from sweeps.promotion.ledger import Ledger, LedgerEntry
from sweeps.tracking.client import Tracking, user

PROMOTED, REFUSED = 0, 3
"""Exit codes."""


def promote(
    challenger: TrainedAdapter, policy: Policy, tracking: Tracking, console: Console
) -> int:
    """Judge a trial's adapter and make it the champion if it passes; return the exit code.

    It is registered as the challenger first, and every verdict is kept. A dry run judges it
    against the current champion and changes nothing but the count of uses of the test images.

    Raises ValueError or OSError when nothing can be judged: the test split is empty or has no
    captions, or the champion is gone.
    """
    assert challenger.run_id is not None  # a trial has a run
    client, recipe, run_id = tracking.client(), challenger.recipe, challenger.run_id
    model, ledger = policy.model, Ledger.open(tracking, policy.model)
    known: Evidence | None = None

    opening = HeldOut.open(recipe, tracking, console)
    with opening as held_out, TemporaryDirectory() as folder:
        version, uri, path = "", f"{folder}/model", challenger.path
        if policy.dry_run:
            registry.save(Path(uri), path, recipe, tracking)
        else:
            made = registry.register(tracking, run_id, path, recipe, model, challenger.tags)
            version, uri = str(made), f"{SCHEME}{model}/{made}"

        def decide(head: LedgerEntry | None) -> LedgerEntry | None:
            """Judge against the champion at the ledger's head, and keep the verdict."""
            nonlocal known
            champion = head.version if head else None
            if champion == version:
                return None
            verdict = evaluate(challenger, champion, policy, tracking, held_out, uri, known)
            known = verdict.evidence  # measured once, also when another promoter is faster
            images, used = verdict.terms.images, bool(verdict.deltas)
            uses = evidence.count_uses(client, run_id, images, more=used)
            address = None
            if not policy.dry_run:
                address = record_verdict(client, challenger, verdict, policy, version, uses)
            print_verdict(verdict, uses, console)
            if not verdict.passed:
                return None
            return LedgerEntry(
                kind="promotion",
                version=version,
                by=user(),
                why=verdict.headline,
                evidence=address,
                run_id=run_id,
                approved_by=policy.approved_by,
            )

        if policy.dry_run:
            entry = decide(ledger.champion())
            console.print("a dry run: nothing is registered and no champion changes")
            return PROMOTED if entry else REFUSED
        entry = ledger.change_champion(decide)

    champion = ledger.champion()
    if entry is None and (champion is None or champion.version != version):
        stays = f"version {champion.version} stays the champion" if champion else None
        now = stays or "there is no champion"
        console.print(f"{model} version {version} is registered, alias challenger; {now}")
        return REFUSED
    registry.remove_challenger(tracking, model, version)
    state = "is" if entry else "was already"
    console.print(f"{challenger.title} {state} {model} version {version}, alias champion")
    return PROMOTED


def evaluate(
    challenger: TrainedAdapter,
    champion: str | None,
    policy: Policy,
    tracking: Tracking,
    held_out: HeldOut,
    uri: str,
    known: Evidence | None = None,
) -> Verdict:
    """Judge a challenger against a version of the policy's model; None is its bare base.

    A champion that was judged by other terms is a refusal, unless both are rescored.
    `uri` is the address from which MLflow loads the challenger, `known` its evidence if it was
    measured before. Raises ValueError for a champion that is gone.
    """
    from mlflow.exceptions import MlflowException

    terms = known.terms if known else held_out.terms(challenger.recipe)
    checks: list[Check] = []
    if policy.approval or policy.approved_by is not None:
        by = policy.approved_by
        passed, measured = bool(by and by.strip()), f"by {by}" if by else "nobody's"
        required = "--approve-by NAME" if policy.approval else "none needed"
        checks.append(Check(name="approval", passed=passed, measured=measured, required=required))

    version, title = None, f"{policy.model} version {champion}"
    refusal = Verdict(challenger=challenger.title, champion=title, terms=terms, checks=())
    if champion is not None:
        version = registry.get_or_none(tracking.client().get_model_version, policy.model, champion)
        if version is None:
            raise _champion_is_gone(title, policy.model, "it is not in the registry")
        before = evidence.read_terms(version.tags)
        equal_terms = gate.compare_terms(terms, before, rescored=policy.allow_new_data)
        checks += equal_terms
        if not all(check.passed for check in equal_terms):
            return replace(refusal, checks=tuple(checks), evidence=known)
    ours = known or held_out.measure(challenger, terms, served=uri)
    if version is None:
        return gate.judge(ours, held_out.measure(challenger, terms, bare=True), policy, checks)
    if policy.max_slowdown is None:  # else both are timed in the same hour
        metrics = challenger.recipe.evaluate.metrics
        theirs = evidence.stored_evidence(tracking.client(), version.tags, terms, metrics)
        if theirs is not None:
            held_out.console.print(f"{title}: scores as stored with it")
            return gate.judge(ours, replace(theirs, title=title), policy, checks)
    with TemporaryDirectory() as folder:
        try:
            adapter = fetch_registered(f"{SCHEME}{policy.model}/{champion}", tracking, folder)
        except (OSError, MlflowException) as error:
            reason = f"its files cannot be fetched ({error})"
            raise _champion_is_gone(title, policy.model, reason) from error
        if challenger.recipe.task != adapter.recipe.task:
            measured, required = challenger.recipe.task, f"{adapter.recipe.task}, as {title}"
            task = Check(name="task", passed=False, measured=measured, required=required)
            return replace(refusal, checks=(*checks, *ours.checks, task), evidence=ours)
        theirs = held_out.measure(adapter, held_out.terms(adapter.recipe))
        return gate.judge(ours, theirs, policy, checks)


def print_verdict(verdict: Verdict, uses: int, console: Console) -> None:
    """Print the verdict's tables, its headline and, when it is a refusal, why."""
    for number, (header, *rows) in enumerate(verdict.tables):
        if number:
            console.print()
        grid = Table(box=None, pad_edge=False, header_style="bold")
        for column in header:
            grid.add_column(column, overflow="fold")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
    for warning in verdict.warnings:
        console.print(warning, style="yellow", soft_wrap=True)
    style = "bold green" if verdict.passed else "bold red"
    console.print(verdict.headline, style=style, soft_wrap=True)
    for reason in verdict.reasons:
        console.print(f"  because of {reason}", soft_wrap=True)
    console.print(
        f"these test images were used for {uses} judgement{'s' * (uses != 1)} so far; "
        "the more there are, the less a narrow gain means"
    )


def _champion_is_gone(title: str, model: str, why: str) -> ValueError:
    return ValueError(
        f"{title} is the champion, but {why}; "
        f"`{names.command('rollback', model)}` returns to the champion before it"
    )
