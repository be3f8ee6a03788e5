"""The tokenization of the COCO evaluation: Stanford's PTB tokenizer, lower case, no punctuation.

It runs the jar that pycocoevalcap ships. That package's own wrapper is not used, because a
carriage return or U+2028 in one caption moves all later captions to the wrong image there, and
because it writes its input into the installed package.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

from workers.metrics.java import command, environment, jar_folder

_DROPPED = frozenset(PUNCTUATIONS)
# The last line sent; getting it back as the last line shows that no line was split or joined.
_SENTINEL = "endofcaptions"
# The tokenizer's time grows with the square of a word's length: a minute for 50,000 emoji.
_ENDLESS = re.compile(r"(\S{1000})(?=\S)")


Captions = Mapping[str, Sequence[str]]


def tokenize(captions: Captions) -> dict[str, list[str]]:
    """Return the captions as tokens joined by single spaces, same images, same order.

    A caption without words becomes the empty string, and what goes on for more than 1000
    characters without white space is taken apart. One run of Java, about 0.3 CPU-seconds.

    Raises `workers.metrics.java.JavaMissingError`, and RuntimeError when the tokenizer fails.
    """
    return tokenize_each([captions])[0]


def tokenize_each(several: Sequence[Captions]) -> list[dict[str, list[str]]]:
    """Return what `tokenize` returns for each, from one run of Java for all.

    What becomes of a line depends a little on the next one, so that lines are not tokenized alone,
    and each set has the same line behind it that it would have alone.
    """
    lines: list[str] = []
    for captions in several:
        lines += [_one_line(caption) for own in captions.values() for caption in own]
        lines.append(_SENTINEL)
    found = iter(_run(lines[:-1]))
    return [_taken(captions, found) for captions in several]


def _taken(captions: Captions, lines: Iterator[str]) -> dict[str, list[str]]:
    """Take the lines of one set of captions, and the one behind them."""
    taken = {image: [next(lines) for _ in own] for image, own in captions.items()}
    next(lines, None)
    return taken


def _one_line(caption: str) -> str:
    return _ENDLESS.sub(r"\1 ", " ".join(caption.split()))


def _run(captions: Sequence[str]) -> list[str]:
    """Return the tokens of each caption; a caption must hold no line separator."""
    arguments = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
    done = subprocess.run(
        command("-cp", STANFORD_CORENLP_3_4_1_JAR, *arguments),
        cwd=jar_folder("pycocoevalcap.tokenizer"),
        env=environment(),
        # "replace" makes a lone surrogate a question mark, which is dropped with the punctuation.
        input="\n".join([*captions, _SENTINEL]).encode("utf-8", "replace"),
        capture_output=True,
        check=False,
        process_group=0,  # Ctrl-C in the terminal is for this process to handle
    )
    *lines, last = done.stdout.decode().rstrip("\n").split("\n")
    if done.returncode or last != _SENTINEL or len(lines) != len(captions):
        raise RuntimeError(
            f"the PTB tokenizer returned {len(lines)} of {len(captions)} captions and ended with "
            f"code {done.returncode}; it said {done.stderr.decode(errors='replace')[-500:]!r}"
        )
    return [_words(line) for line in lines]


def _words(line: str) -> str:
    # At plain spaces only: the no-break space of "2 1/2" and of telephone numbers is within a word.
    return " ".join(word for word in line.rstrip().split(" ") if word not in _DROPPED)
