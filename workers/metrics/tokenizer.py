"""The tokenization of the COCO evaluation: Stanford's PTB tokenizer, lower case, no punctuation.

It runs the jar that pycocoevalcap ships. That package's own wrapper is not used, because a
carriage return or U+2028 in one caption moves all later captions to the wrong image there, and
because it writes its input into the installed package.
"""

import subprocess
from collections.abc import Mapping, Sequence

from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

from workers.metrics.java import command, jar_folder

_DROPPED = frozenset(PUNCTUATIONS)
# The last line sent; getting it back as the last line shows that no line was split or joined.
_SENTINEL = "endofcaptions"


def tokenize(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the captions as tokens joined by single spaces, same images, same order.

    A caption without words becomes the empty string. One run of Java, about 0.3 CPU-seconds.

    Raises `workers.metrics.java.JavaMissingError`, and RuntimeError when the tokenizer fails.
    """
    flat = [" ".join(caption.split()) for several in captions.values() for caption in several]
    lines = iter(_run(flat))
    return {image: [next(lines) for _ in several] for image, several in captions.items()}


def _run(captions: Sequence[str]) -> list[str]:
    """Return the tokens of each caption; a caption must hold no line separator."""
    arguments = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
    done = subprocess.run(
        command("-cp", STANFORD_CORENLP_3_4_1_JAR, *arguments),
        cwd=jar_folder("pycocoevalcap.tokenizer"),
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
    return " ".join(word for word in line.split() if word not in _DROPPED)
