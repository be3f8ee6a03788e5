"""Where a study lies, and that no password is written down."""

import optuna
import pytest

from sweeps.results.folder import SweepFolder
from sweeps.spec import storage
from sweeps.spec.load import SpecError, dump, located, parse
from sweeps.study.study import open_study, prepare_study

FILE = """
name: storage
model: {base: tiny:shapes}
data: {source: shapes}
search:
  space: {adapter.rank: {choice: [2, 4, 8]}}
  storage: ADDRESS
"""


def sweep_in(address):
    return parse(FILE.replace("ADDRESS", str(address)))


@pytest.mark.parametrize("address", ["sqlite:///{}/team.db", "{}/other.log"])
def test_a_study_lies_where_the_file_says(address, tmp_path):
    sweep = sweep_in(address.format(tmp_path))
    folder = SweepFolder.create(tmp_path / "results", "storage")
    study, _ = prepare_study(sweep, folder, resuming=False)
    study.tell(study.ask(), 0.5)
    assert not folder.study.exists()
    assert len(open_study(sweep, folder).trials) == 1


def test_plain_optuna_reads_a_study_in_a_database(tmp_path):
    address = f"sqlite:///{tmp_path}/team.db"
    folder = SweepFolder.create(tmp_path, "storage")
    prepare_study(sweep_in(address), folder, resuming=False)
    study = optuna.load_study(study_name=folder.sweep_id, storage=address)
    assert study.user_attrs["objective"] == "cider"


def test_a_password_comes_from_the_environment_and_is_never_dumped(tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_FILE", str(tmp_path / "secret.db"))
    sweep = sweep_in("sqlite:///${TEAM_FILE}")
    prepare_study(sweep, SweepFolder.create(tmp_path, "storage"), resuming=False)
    assert (tmp_path / "secret.db").exists()
    assert "${TEAM_FILE}" in dump(sweep)
    assert "secret.db" not in dump(sweep)


def test_a_variable_that_is_not_set_is_named(tmp_path):
    sweep = sweep_in("postgresql://me:${NO_SUCH_VARIABLE}@host/db")
    with pytest.raises(ValueError, match="no variable NO_SUCH_VARIABLE"):
        open_study(sweep, SweepFolder.create(tmp_path, "storage"))


@pytest.mark.parametrize(
    ("address", "must"),
    [
        ("postgresql://me:secret@host/db", "must not hold a password"),
        ("mysql+pymysql://host/db?password=secret", "must not hold a password"),
        ("redis://host", "must be an address that begins with one of sqlite, postgresql, mysql"),
        ("study.db", "must be the path of a .log file, or the address of a database"),
    ],
)
def test_what_is_no_storage_is_refused_without_its_password(address, must):
    with pytest.raises(SpecError) as raised:
        sweep_in(address)
    (problem,) = raised.value.issues
    assert problem.path == "search.storage"
    assert must in problem.message
    assert "secret" not in str(problem)


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_FOLDER", str(tmp_path / "no-such-folder"))
    with pytest.raises(
        ValueError, match=r"sqlite:///\$\{TEAM_FOLDER\}/a\.db cannot be opened"
    ) as e:
        open_study(sweep_in("sqlite:///${TEAM_FOLDER}/a.db"), SweepFolder.create(tmp_path, "s"))
    assert "no-such-folder" not in str(e.value)


def test_another_sweep_of_the_same_name_in_a_shared_storage_is_not_joined(tmp_path):
    sweep = sweep_in(tmp_path / "team.log")
    for person in ("one", "two"):
        folder = SweepFolder.create(tmp_path / person, "storage")
        if person == "one":
            study, _ = prepare_study(sweep, folder, resuming=False)
            study.ask()
            continue
        with pytest.raises(ValueError, match="already has a study storage-1"):
            prepare_study(sweep, folder, resuming=False)


def test_cmaes_keeps_no_pickles_in_a_database_of_others():
    text = FILE.replace("{choice: [2, 4, 8]}", "{int_uniform: [2, 8]}")
    text += "  sampler: {name: cmaes}\n"
    parse(text.replace("ADDRESS", "sqlite:///mine.db"))
    with pytest.raises(SpecError, match="cmaes reads pickles back"):
        parse(text.replace("ADDRESS", "postgresql://host/db"))


def test_relative_files_are_named_from_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located(sweep_in("team.log")).search.storage == str(tmp_path / "team.log")
    assert storage.absolute_address("sqlite:///team.db") == f"sqlite:///{tmp_path}/team.db"
    assert storage.absolute_address("postgresql://host/db") == "postgresql://host/db"
