"""One promotion's judging: each side is measured once, and judged against any champion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sweeps.promotion import gate, serve_check
from sweeps.promotion.champion import Champion
from sweeps.promotion.evidence import Bench, Candidate, terms_of
from sweeps.promotion.serve_check import Expected, Served
from sweeps.promotion.verdict import Check, Evidence, Limits, Terms, Verdict

if TYPE_CHECKING:
    from workers.inference.predict import Adapted

Ask = Callable[[Expected], Served]
"""Sends the requests to the registered challenger."""


@dataclass(frozen=True)
class Judging:
    """A challenger, and what it takes to judge it. What was measured is kept."""

    challenger: Candidate
    bench: Bench
    limits: Limits
    ask: Ask
    """Called once, when nothing else is loaded."""
    allow_new_data: bool
    given: tuple[Check, ...] = ()
    """Checks that need no measuring."""

    def against(self, champion: Champion | None) -> Verdict:
        """Judge the challenger against a champion; None is the bare base.

        A champion that was judged by other terms ends it, unless both are to be scored anew.
        """
        checks = [*self.given, *self._agreement(champion)]
        title = champion.title if champion else self.challenger.bare.title
        if not all(check.passed for check in checks if check not in self.given):
            return Verdict(challenger=self.challenger.title, champion=title, checks=tuple(checks))
        measured, served = self._measured
        other = self._against(champion)
        if isinstance(other, Check):
            return Verdict(
                challenger=self.challenger.title, champion=title, checks=(*checks, other)
            )
        return gate.judge(measured, other, self.limits, (*checks, served))

    @cached_property
    def terms(self) -> Terms:
        """By what the challenger is judged."""
        return terms_of(self.challenger.recipe, self.bench.held_out)

    @property
    def evidence(self) -> Evidence | None:
        """What was measured of the challenger; None when it was not needed."""
        return self._measured[0] if "_measured" in self.__dict__ else None

    def _agreement(self, champion: Champion | None) -> tuple[Check, ...]:
        if champion is None:
            return ()
        return gate.agreement(self.terms, champion.terms, rescored=self.allow_new_data)

    @cached_property
    def _measured(self) -> tuple[Evidence, Check]:
        """The challenger's evidence and its serve check."""
        kept: list[Expected] = []
        side, samples = self.challenger, self.bench.held_out.samples
        adapter = side.adapter
        assert adapter is not None  # a challenger has one

        def look(adapted: "Adapted") -> None:
            kept.append(serve_check.expected(adapted, side.recipe, adapter, samples))

        evidence = self.bench.measure(side, self.terms, look)
        self.bench.console.print("loading the registered model back, as it is served")
        return evidence, serve_check.check(kept[0], self.ask(kept[0]))

    def _against(self, champion: Champion | None) -> Evidence | Check:
        """Return the other side's evidence, or the check that says why it cannot be had."""
        if champion is None:
            return self._bare
        kept = self._kept(champion)
        if kept is not None:
            self.bench.console.print(f"{champion.title}: scores as stored with it")
            return replace(kept, title=champion.title)
        with champion.candidate() as candidate:
            ours, theirs = self.challenger.recipe.task, candidate.recipe.task
            if ours != theirs:
                asked = f"{theirs}, as {champion.title}"
                return Check(name="task", passed=False, measured=ours, asked=asked)
            terms = terms_of(candidate.recipe, self.bench.held_out)
            return self.bench.measure(candidate, terms)

    def _kept(self, champion: Champion) -> Evidence | None:
        """Return stored evidence where it will do: times of another hour do not compare."""
        if self.limits.max_slowdown is not None:
            return None
        return champion.evidence(self.terms, self.challenger.recipe.evaluate.metrics)

    @cached_property
    def _bare(self) -> Evidence:
        return self.bench.measure(self.challenger.bare, self.terms)
