"""Names in filters, paths and on a terminal, against MLflow's own parsers and store."""

import itertools
import random
import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils.search_utils import SearchModelVersionUtils, SearchUtils
from mlflow.utils.validation import _validate_model_name

from sweeps import names

PIECES = ("'", '"', "`", "\\", "%", "_", "--", "/*", "*/", ";", "(", ")", ".", " ", "\n", "#",
          "a", "OR", "AND", "=", "''", "é", "🎈", "null", "1", ",", "IN", "tags.x")  # fmt: skip
ODD = ("it's", 'say "so"', "a b", "a\\b", "100%", "a_b", "`a`", "a;b", "--", "émoji 🎈", "a#b",
       "x' OR name LIKE '%", "a''b", "a\\'b", ".hidden", "-dash", "~", "<b>", "[red]", "$(id)",
       "a&b=c+d", "a%2Fb", "a..b")  # fmt: skip
REFUSED = ("", " ", "a/b", "a:b", "a?b", "a@b", "..", "..a", ".", "both ' and \"", "end\\",
           "new\nline", "tab\t", "\x1b[31mred", "\x00", "\u202egnp", "a" * 201)  # fmt: skip


def texts(count):
    """Short texts of all that could end a filter early, drawn from a seed."""
    draw = random.Random(0)
    yield from PIECES
    for _ in range(count):
        yield "".join(draw.choices(PIECES, k=draw.randint(1, 6)))


def test_a_filter_finds_its_value_and_nothing_else():
    refused = 0
    for value, other in itertools.pairwise(texts(3000)):
        try:
            both = f"{names.equals('name', value)} AND {names.equals(names.tag('a.b'), other)}"
        except ValueError:
            refused += 1
            continue
        name, tag = SearchModelVersionUtils.parse_search_filter(both)
        assert (name["key"], name["comparator"], name["value"]) == ("name", "=", value)
        assert (tag["key"], tag["comparator"], tag["value"]) == ("a.b", "=", other)
        runs = f"{names.equals(names.tag('x'), value)} AND {names.has_tag('y')}"
        first, second = SearchUtils.parse_search_filter(runs)
        assert (first["key"], first["value"], second["value"]) == ("x", value, "%")
    assert 0 < refused < 1500


@pytest.mark.parametrize("value", ["'\"", "a'b\"c", "end\\"])
def test_a_value_that_no_filter_can_hold_is_a_sentence(value):
    with pytest.raises(ValueError, match="MLflow cannot search for a value with both kinds of"):
        names.equals("name", value)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_of_a_model_that_mlflow_takes_can_be_found_and_loaded(name):
    assert names.model(name) == name
    _validate_model_name(name)
    names.equals("name", name)
    assert _parse_model_uri(f"models:/{name}/1")[1:3] == (name, "1")
    assert _parse_model_uri(f"models:/{name}@champion").alias == "champion"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_the_name_of_a_model_is_refused(name):
    with pytest.raises(ValueError, match=r"^the name of a registered model: up to 200"):
        names.model(name)


def test_no_name_passes_that_mlflow_refuses():
    for name in texts(3000):
        try:
            names.model(name)
        except ValueError:
            continue
        try:
            _validate_model_name(name)
        except MlflowException as error:
            raise AssertionError(name) from error
        names.equals("name", name)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b]0;title\x07", "a" * 251])
def test_what_cannot_be_the_name_of_an_experiment_is_refused(name):
    with pytest.raises(ValueError, match=r"^the name of an experiment: up to 250"):
        names.experiment(name)


@pytest.mark.parametrize("name", ["/team/captions", 'it\'s "both"', "ünï", "a:b?c"])
def test_an_odd_name_of_an_experiment_is_kept(name):
    assert names.experiment(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "a\0"])
def test_a_path_is_no_name(name):
    with pytest.raises(ValueError, match="must be given by its name alone"):
        names.component(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a dog\ton a\nlawn", "a dog\ton a\nlawn"),
        ("ein Fußgänger 犬 🎈 [bold] [/]", "ein Fußgänger 犬 🎈 [bold] [/]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "text"),
        ("\x1b]0;title\x07x", "x"),
        ("\x9b2Jc1 \x9d0;title\x9cx", "c1 x"),
        ("over\rwritten\x08\x7f", "overwritten"),
        ("caf\udce9", "caf"),
        ("lone \x1b end \x1b", "lone  end "),
        ("\u202egnp.exe\u2066", "gnp.exe"),
    ],
)
def test_a_terminal_obeys_nothing_in_a_text(text, shown):
    assert names.printable(text) == shown


def test_a_long_hostile_text_takes_linear_time():
    begin = time.process_time()
    assert names.printable("\x90" * 200_000 + "x") == "x"
    assert names.printable("\x1b]" * 100_000 + "x") == "]" * 100_000 + "x"
    assert time.process_time() - begin < 5.0  # quadratic time takes minutes


def test_a_command_to_paste_is_one_command():
    assert names.command("history", "a b; rm $HOME") == "sweeps history 'a b; rm $HOME'"
