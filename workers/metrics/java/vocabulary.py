"""Words whose tokens are known, so that captions of such words need no run of the PTB tokenizer.

The tokenizer is a finite automaton that keeps nothing from one token to the next: its tables show
on what the tokens of a word depend. Of words of ASCII letters, digits, hyphens, apostrophes and
commas only those that end with a digit look past the white space behind them, for a digit that
the next word begins with (``2 1/2``, telephone numbers). At the end of a line, with a period
behind, abbreviations look at the next line: whether it is empty, or begins with a capital or a
digit. No word looks back. So each word is asked for once, in all places that may differ, and
tokens that are the same in all of them are so everywhere.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from workers.metrics.java import ptb

_WORD = re.compile(r"(?<!\S)[A-Za-z0-9',-]{1,40}\.?(?!\S)|(?<!\S)\.(?!\S)")
# What lines must not have: other characters, a period that no line ends with, an empty line behind
# one, two numbers in a row, and words that are too long to be any.
_ODD = re.compile(r"[^A-Za-z0-9',. \n-]|\.(?!\n)|\.\n\n|[0-9] [0-9]|[^ \n]{41}")
_BEHIND = ("", " end")
_BEHIND_PERIOD = ("", "\nA dog", "\n2 dogs")
_KEPT = 100_000
"""Words that are kept, about 20 MiB; those that come later are not learned."""


class Vocabulary:
    """Learns words, and makes the tokens of lines from those that it knows."""

    def __init__(self) -> None:
        self._tokens: dict[str, str | None] = {}
        """Word -> its tokens; None if they depend on its place."""

    def learn(self, lines: Iterable[str]) -> None:
        """Ask the PTB tokenizer for those words of the lines that are new; raises what it raises.

        All are asked for in one run of Java; without new words there is none.
        """
        words = dict.fromkeys(word for line in lines for word in _WORD.findall(line))
        room = max(0, _KEPT - len(self._tokens))
        new = [word for word in words if word not in self._tokens][:room]
        asked = [f"{word}{behind}".split("\n") for word in new for behind in _behind(word)]
        found = iter(ptb.tokens(asked))
        for word in new:
            self._tokens[word] = _settled({b: next(found)[0] for b in _behind(word)})

    def tokens(self, lines: Sequence[str]) -> list[str] | None:
        """Return the tokens of each line if they follow from those of known words, else None.

        A line has single spaces between its words and none around them.
        """
        if _ODD.search("".join(f"{line}\n" for line in lines)):
            return None
        found = [[self._tokens.get(word) for word in line.split()] for line in lines]
        if any(None in own for own in found):
            return None
        return [" ".join(filter(None, own)) for own in found]


def _behind(word: str) -> tuple[str, ...]:
    """Return what is to be put behind a word, once each; nothing is the first of it."""
    return _BEHIND_PERIOD if word.endswith(".") else _BEHIND


def _settled(found: Mapping[str, str]) -> str | None:
    """Return the tokens of a word, from those of its line with each thing behind it.

    None if something that is behind it changes them.
    """
    alone = found[""]
    expected = {behind: alone + behind.split("\n")[0] for behind in found}
    return alone if all(found[behind] == expected[behind].strip() for behind in found) else None
