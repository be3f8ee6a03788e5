"""The console of all commands: control characters in names, captions and logs have no effect."""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sweeps.names import printable


class Terminal(Console):
    """A console without markup on which only its own styles are escape sequences."""

    def __init__(self) -> None:
        # A file has no width: wide enough for every column of the leaderboard. No markup and no
        # emoji codes: names, paths, captions and errors may hold what looks like them.
        width = None if sys.stdout.isatty() else 160
        super().__init__(highlight=False, markup=False, emoji=False, width=width)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, without the control characters of the texts."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=printable(segment.text))
