"""The tokenization of the COCO evaluation: Stanford's PTB tokenizer, lower case, no punctuation.

Starting its Java takes longer than tokenizing some hundred captions, so this process keeps the
tokens of words; only captions with other words are tokenized by Java.

The tokenizer is a finite automaton that keeps nothing from one token to the next: its tables show
on what the tokens of a word depend. Of words of ASCII letters, digits, hyphens, apostrophes and
commas only those that end with a digit look past the white space behind them, for a digit that
the next word begins with (``2 1/2``, telephone numbers). At the end of a line, with a period
behind, abbreviations look at the next line: whether it is empty, or begins with a capital or a
digit. No word looks back. So each word is tokenized once, in all places that may differ, and
tokens that are the same in all of them are so everywhere.

The jar is that of pycocoevalcap. That package's own wrapper is not used, because a carriage return
or U+2028 in one caption moves all later captions to the wrong image there, and because it writes
its input into the installed package.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from workers.metrics.java.runtime import command, environment, jar_folder

Captions = Mapping[str, Sequence[str]]

# The last line sent; getting it back as the last line shows that no line was split or joined.
_SENTINEL = "endofcaptions"
# The tokenizer's time grows with the square of a word's length: a minute for 50,000 emoji.
_ENDLESS = re.compile(r"(\S{1000})(?=\S)")
_WORD = re.compile(r"(?<!\S)[A-Za-z0-9',-]{1,40}\.?(?!\S)|(?<!\S)\.(?!\S)")
# What lines must not have: other characters, a period that no line ends with, an empty line behind
# one, two numbers in a row, and words that are too long to be any.
_ODD = re.compile(r"[^A-Za-z0-9',. \n-]|\.(?!\n)|\.\n\n|[0-9] [0-9]|[^ \n]{41}")
_BEHIND = ("", " end")
_BEHIND_PERIOD = ("", "\nA dog", "\n2 dogs")
_KEPT = 100_000
"""Words that are kept, about 20 MiB; those that come later are not learned."""


def tokens_of_lines(several: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return each line's tokens, joined by single spaces, from one run of Java for all sets.

    It takes about 0.3 CPU-seconds; none is run for no sets. A line must hold no line separator.
    Its tokens depend a little on the next one: each set has the same line behind it that it would
    have alone.

    Raises `workers.metrics.java.runtime.JavaMissingError`, and RuntimeError when the tokenizer
    fails.
    """
    if not several:
        return []
    # Here, because metrics that read the text as it is do without the package.
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    lines = [line for own in several for line in (*own, _SENTINEL)]
    arguments = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
    done = subprocess.run(
        command("-cp", STANFORD_CORENLP_3_4_1_JAR, *arguments),
        cwd=jar_folder("pycocoevalcap.tokenizer"),
        env=environment(),
        # "replace" makes a lone surrogate a question mark, which is dropped with the punctuation.
        input="\n".join(lines).encode("utf-8", "replace"),
        capture_output=True,
        check=False,
        process_group=0,  # Ctrl-C in the terminal is for this process to handle
    )
    found = done.stdout.decode().rstrip("\n").split("\n")
    if done.returncode or found[-1] != _SENTINEL or len(found) != len(lines):
        raise RuntimeError(
            f"the PTB tokenizer returned {len(found) - 1} of {len(lines) - 1} captions and ended "
            f"with code {done.returncode}: {done.stderr.decode(errors='replace')[-500:]!r}"
        )
    # At plain spaces only: the no-break space of "2 1/2" and of telephone numbers is within a word.
    words = (
        (word for word in line.rstrip().split(" ") if word not in PUNCTUATIONS) for line in found
    )
    left = map(" ".join, words)
    sets = [[next(left) for _ in (*own, _SENTINEL)] for own in several]
    return [own[:-1] for own in sets]


class Vocabulary:
    """The tokens of known words, from which those of lines are made."""

    def __init__(self) -> None:
        self._tokens: dict[str, str | None] = {}
        """Word -> its tokens; None if they depend on its place."""

    def learn(self, lines: Iterable[str]) -> None:
        """Tokenize those words of the lines that are new; raises as the PTB tokenizer does.

        All take one run of Java; without new words there is none.
        """
        words = dict.fromkeys(word for line in lines for word in _WORD.findall(line))
        room = max(0, _KEPT - len(self._tokens))
        new = [word for word in words if word not in self._tokens][:room]
        behind = {word: _BEHIND_PERIOD if word.endswith(".") else _BEHIND for word in new}
        lines_of = [f"{word}{each}".split("\n") for word in new for each in behind[word]]
        found = iter(tokens_of_lines(lines_of))
        for word in new:
            own = {each: next(found)[0] for each in behind[word]}
            expected = {each: own[""] + each.split("\n")[0] for each in own}
            same = all(own[each] == expected[each].strip() for each in own)
            self._tokens[word] = own[""] if same else None

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


_vocabulary = Vocabulary()


def tokenize_each(several: Sequence[Captions]) -> list[dict[str, list[str]]]:
    """Return sets of captions as tokens joined by single spaces, same images, same order.

    A caption without words becomes the empty string, and more than 1000 characters without white
    space are taken apart. New words of all sets take one run of Java; sets with captions that are
    not made of known words take one more run, whole and all together: the tokens of such a caption
    depend a little on the next one. Raises as `tokens_of_lines` does.
    """
    sets = [
        [_ENDLESS.sub(r"\1 ", " ".join(text.split())) for own in each.values() for text in own]
        for each in several
    ]
    _vocabulary.learn(line for lines in sets for line in lines)
    known = [_vocabulary.tokens(lines) for lines in sets]
    odd = [lines for lines, tokens in zip(sets, known, strict=True) if tokens is None]
    found = iter(tokens_of_lines(odd))
    return [
        _by_image(captions, next(found) if tokens is None else tokens)
        for captions, tokens in zip(several, known, strict=True)
    ]


def _by_image(captions: Captions, tokens: Sequence[str]) -> dict[str, list[str]]:
    each = iter(tokens)
    return {image: [next(each) for _ in own] for image, own in captions.items()}
