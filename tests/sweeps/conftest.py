"""Fixtures of the driver's tests."""

import io
import shutil
import sys
from importlib.metadata import packages_distributions

import numpy as np
import pytest
from rich.console import Console

from sweeps.tracking.client import Tracking
from workers.metrics import catalog
from workers.metrics.scorer import Scored


@pytest.fixture(scope="session")
def scored():
    """Return a function: hits (images,) of exact match -> what scoring such captions gives.

    Each caption has three words, of which a miss has one wrong.
    """

    def make(hits, metrics=("exact_match", "word_error_rate"), prefix="image"):
        hits = np.asarray(hits, dtype=float)
        ones = np.ones(len(hits))
        every = {
            "exact_match": np.stack([hits, ones], axis=1),
            "word_error_rate": np.stack([1 - hits, 3 * ones], axis=1),
        }
        statistics = {name: every[name] for name in metrics}
        corpus, images = {}, {}
        for name, rows in statistics.items():
            pool = catalog.get(name).pool
            corpus |= {output: float(value) for output, value in pool(rows.sum(axis=0)).items()}
            images |= pool(rows)
        ids = tuple(f"{prefix}-{number}" for number in range(len(hits)))
        return Scored(ids=ids, corpus=corpus, images=images, statistics=statistics)

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database as MLflow makes it, which takes it seconds."""
    root = tmp_path_factory.mktemp("store")
    Tracking(uri=None, experiment="none", root=root).client().search_experiments()
    return root / "tracking.db"


@pytest.fixture
def tracking(empty_store, tmp_path):
    """An embedded store of its own for the test."""
    root = tmp_path / "results"
    root.mkdir()
    shutil.copy(empty_store, root)
    return Tracking(uri=None, experiment="tested", root=root)


@pytest.fixture(scope="session")
def traps(tmp_path_factory):
    """A folder with a file for every usual module; each that is imported leaves a line in `ran`."""
    folder = tmp_path_factory.mktemp("traps")
    installed = {name for name in packages_distributions() if name.isidentifier()}
    ours = {"search_spaces", "sweeps", "workers"}
    for name in {"sitecustomize", "usercustomize"} | sys.stdlib_module_names | installed | ours:
        trap = f"open({str(folder / 'ran')!r}, 'a').write({name + chr(10)!r})\n"
        (folder / f"{name}.py").write_text(trap)
    return folder


@pytest.fixture(scope="module")
def ended(request, tmp_path_factory, untrained_base):
    """The sweep of the module's `FILE`, run as the command line runs it.

    Exit code, what it printed, results.
    """
    import ray

    from sweeps.cli import outcome
    from sweeps.spec.load import parse

    results = tmp_path_factory.mktemp("results")
    written = io.StringIO()
    sweep = parse(request.module.FILE.format(base=untrained_base))
    code = outcome.run_sweep(sweep, results, None, Console(file=written, width=200))
    yield code, written.getvalue(), results
    ray.shutdown()
