"""The error that refuses a data set, naming everything that is wrong with it at once."""

from collections.abc import Sequence


class DataError(ValueError):
    """A data set that cannot be used.

    `problems` holds one line per bad image, caption or row, by name; it is empty when the
    whole set is at fault.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def refusal(where: str, problems: Sequence[str]) -> DataError:
    """Return the error that lists all `problems` of the set at `where`, and the fix."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    listing = "".join(f"\n  {problem}" for problem in problems)
    return DataError(
        f"data.path {where} has {count}:{listing}\n"
        "Fix them, or leave them out with data.on_bad_sample: skip.",
        problems,
    )
