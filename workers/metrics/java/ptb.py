"""Runs Stanford's PTB tokenizer, by the jar that pycocoevalcap ships.

That package's own wrapper is not used, because a carriage return or U+2028 in one caption moves
all later captions to the wrong image there, and because it writes its input into the installed
package.
"""

import subprocess
from collections.abc import Sequence

from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

from workers.metrics.java.runtime import command, environment, jar_folder

_DROPPED = frozenset(PUNCTUATIONS)
# The last line sent; getting it back as the last line shows that no line was split or joined.
_SENTINEL = "endofcaptions"


def tokens(several: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the tokens of each line, joined by single spaces, from one run of Java for all sets.

    It takes about 0.3 CPU-seconds; none is run for no sets. A line must hold no line separator.
    Its tokens depend a little on the next one: each set has the same line behind it that it would
    have alone.

    Raises `workers.metrics.java.runtime.JavaMissingError`, and RuntimeError when the tokenizer
    fails.
    """
    if not several:
        return []
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
    words = ((word for word in line.rstrip().split(" ") if word not in _DROPPED) for line in found)
    left = map(" ".join, words)
    sets = [[next(left) for _ in (*own, _SENTINEL)] for own in several]
    return [own[:-1] for own in sets]
