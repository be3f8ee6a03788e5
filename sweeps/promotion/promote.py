"""Promotion: a trial's adapter is registered, judged, and becomes the champion if it passes."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from sweeps.promotion import evidence_file, registry, serve_check, wording
from sweeps.promotion.champion import Champion
from sweeps.promotion.entries import Draft, Entry
from sweeps.promotion.evidence import Bench, Candidate
from sweeps.promotion.evidence_file import Judged
from sweeps.promotion.held_out import HeldOut, count_uses
from sweeps.promotion.judging import Judging
from sweeps.promotion.ledger import Ledger
from sweeps.promotion.limits import Wish, asked, limits
from sweeps.promotion.nominee import Nominee, nominee
from sweeps.promotion.serve_check import Expected, Served
from sweeps.promotion.verdict import Check, Verdict
from sweeps.spec.sweep import Promote
from sweeps.tracking.client import Tracking, user
from workers.metrics.scorer import Scorer

PROMOTED, REFUSED = 0, 3
"""Exit codes."""


def promote_named(name: str, results: Path, wish: Wish, console: Console) -> int:
    """Promote the trial that `name` names, see `nominee`; return the exit code."""
    return promote(nominee(name, results), wish, console)


def promote(chosen: Nominee, wish: Wish, console: Console) -> int:
    """Judge a trial and make it the champion if it passes; return the exit code.

    Raises ValueError or OSError, in words, for what cannot be judged at all: no model is named,
    the adapter is gone, the test split is empty or has no captions.
    """
    wanted = asked(chosen.earlier.sweep, wish)
    side = chosen.candidate
    held_out = HeldOut.of(side.recipe)
    evaluate = side.recipe.evaluate
    with closing(Scorer(evaluate.metrics, held_out.references)) as scorer:
        scorer.start()
        bench = Bench(
            held_out=held_out, scorer=scorer, batch_size=evaluate.batch_size, console=console
        )
        case = Case(chosen=chosen, side=side, bench=bench, wanted=wanted, wish=wish)
        return case.tried() if wish.dry_run else case.decided()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One promotion, from the registry to the alias."""

    chosen: Nominee
    side: Candidate
    bench: Bench
    wanted: Promote
    wish: Wish

    def tried(self) -> int:
        """Judge against the champion of now, and leave everything as it is."""
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "model"
            registry.save(copy, self._adapter, self.side.recipe, self._tracking)
            verdict = self._judging(str(copy)).against(self._champion(self._reigning))
        self._say(verdict, self._count(verdict))
        self.bench.console.print("a dry run: nothing is registered and no champion changes")
        return PROMOTED if verdict.passed else REFUSED

    def decided(self) -> int:
        """Register the adapter as the challenger, judge it, and make it champion if it passes."""
        version = registry.register(
            self._tracking, self.chosen.run_id, self._adapter, self.side.recipe,
            self._model, self.chosen.tags,
        )  # fmt: skip
        judging = self._judging(f"models:/{self._model}/{version}")

        def judge(head: Entry | None) -> Draft | None:
            champion = self._champion(head.version if head else None)
            if champion is not None and champion.version == str(version):
                return None
            return self._judged(judging, champion, version)

        moved = self._ledger.move(judge)
        return self._concluded(version, moved)

    def _judged(self, judging: Judging, champion: Champion | None, version: int) -> Draft | None:
        """Judge, keep the verdict whatever it is, and return what the ledger is to hold of it."""
        verdict = judging.against(champion)
        uses = self._count(verdict)
        run_id, client = self.chosen.run_id, self._tracking.client()
        judged = Judged(
            model=self._model, version=version, verdict=verdict, terms=judging.terms,
            challenger=judging.evidence, beams=self.side.recipe.evaluate.final_beams, uses=uses,
            approved_by=self.wish.approved_by,
        )  # fmt: skip
        address = evidence_file.write(client, run_id, judged)
        evidence_file.tag(client, judged, address)
        self._say(verdict, uses)
        if not verdict.passed:
            return None
        return Draft(
            kind="promotion", version=str(version), by=user(), why=wording.headline(verdict),
            evidence=address, run_id=run_id, approved_by=self.wish.approved_by,
        )  # fmt: skip

    def _concluded(self, version: int, moved: Entry | None) -> int:
        """Say how it ended; a champion is no challenger any more."""
        name = f"{self._model} version {version}"
        champion = self._reigning
        if moved is None and champion != str(version):
            stays = f"version {champion} stays the champion" if champion else "there is no champion"
            self.bench.console.print(f"{name} is registered, alias challenger; {stays}")
            return REFUSED
        registry.unchallenge(self._tracking, self._model, version)
        state = "is" if moved else "was already"
        self.bench.console.print(f"{self.side.title} {state} {name}, alias champion")
        return PROMOTED

    def _judging(self, uri: str) -> Judging:
        def ask(expected: Expected) -> Served:
            return serve_check.ask(uri, self._tracking, expected.requests)

        return Judging(
            self.side, self.bench, limits(self.chosen.earlier.sweep, self.wanted), ask,
            self.wish.allow_new_data, self._approval(),
        )  # fmt: skip

    def _approval(self) -> tuple[Check, ...]:
        by = self.wish.approved_by
        if not self.wanted.approval and by is None:
            return ()
        return (
            Check(
                name="approval",
                passed=bool(by and by.strip()),
                measured=f"by {by}" if by else "nobody's",
                asked="--approve-by NAME" if self.wanted.approval else "none needed",
            ),
        )

    def _champion(self, version: str | None) -> Champion | None:
        if version is None:
            return None
        return Champion(tracking=self._tracking, model=self._model, version=version)

    def _count(self, verdict: Verdict) -> int:
        """Count a use of the test images, if they were used; return all uses so far."""
        client, run_id = self._tracking.client(), self.chosen.run_id
        return count_uses(client, run_id, self.bench.held_out.digest, more=bool(verdict.changes))

    def _say(self, verdict: Verdict, uses: int) -> None:
        wording.say(verdict, self.bench.console)
        self.bench.console.print(
            f"these test images have judged {uses} time{'s' * (uses != 1)} so far; "
            "the more often, the less a narrow gain means"
        )

    @property
    def _reigning(self) -> str | None:
        """The version that is the champion now: the ledger's, or the alias' before there is one."""
        head = self._ledger.head()
        return head.version if head else self._ledger.alias()

    @property
    def _adapter(self) -> Path:
        assert self.side.adapter is not None  # a trial has one
        return self.side.adapter

    @property
    def _model(self) -> str:
        return self.wanted.model

    @property
    def _tracking(self) -> Tracking:
        return self.chosen.tracking

    @property
    def _ledger(self) -> Ledger:
        return Ledger.open(self._tracking, self._model)
