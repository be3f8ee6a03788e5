"""The champion as a promotion finds it: its stored evidence, and its adapter in the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from sweeps import names
from sweeps.promotion import evidence_file
from sweeps.promotion.adapters import SCHEME, registered
from sweeps.promotion.evidence import Candidate
from sweeps.promotion.verdict import Evidence, Terms
from sweeps.tracking.client import Tracking


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A version of a registered model."""

    tracking: Tracking
    model: str
    version: str

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.model} version {self.version}"

    @property
    def terms(self) -> Terms | None:
        """By what it was judged; None where no gate judged it."""
        return evidence_file.terms_in(self._tags)

    def evidence(self, terms: Terms, metrics: tuple[str, ...]) -> Evidence | None:
        """Return what was measured of it by the same terms with these metrics, if it was.

        Its beams, prompt and quantization are those of its recipe, which never changes.
        """
        address = self._tags.get(evidence_file.EVIDENCE)
        found = evidence_file.read(self.tracking.client(), address) if address else None
        if (
            found is None
            or found.terms != terms
            or not set(metrics) <= set(found.scored.statistics)
        ):
            return None
        return found

    @contextmanager
    def candidate(self) -> Iterator[Candidate]:
        """Give it as it stands in the registry, as long as the block lasts.

        Raises ValueError when it cannot be fetched.
        """
        from mlflow.exceptions import MlflowException

        with TemporaryDirectory() as folder:
            source = f"{SCHEME}{self.model}/{self.version}"
            try:
                found = registered(source, self.tracking, folder)
            except (OSError, MlflowException) as error:
                raise self._gone(f"its files cannot be fetched ({error})") from error
            assert found.recipe is not None  # `registered` refuses versions without one
            yield Candidate(title=self.title, recipe=found.recipe, adapter=found.adapter)

    @property
    def _tags(self) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        client = self.tracking.client()
        try:
            return dict(client.get_model_version(self.model, self.version).tags)
        except MlflowException as error:
            raise self._gone(f"it is not in the registry ({error.message})") from error

    def _gone(self, why: str) -> ValueError:
        return ValueError(
            f"{self.title} is the champion, but {why}; `{names.command('rollback', self.model)}` "
            "returns to the champion before it"
        )
