"""The command line as a person meets it: what it says, its exit codes, what it leaves behind."""

import shutil
from pathlib import Path

import pytest

from sweeps.cli import app
from sweeps.spec.load import ready_text

COMMANDS = (
    "run", "resume", "status", "stop", "pause", "continue", "add", "submit", "jobs", "logs",
    "shell", "launcher", "sync", "plan", "check", "space", "compare", "report", "promote",
    "history", "rollback", "reconcile", "serve", "caption", "predict", "score", "ui", "init",
    "doctor",
)  # fmt: skip

BROKEN = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapez}
train: {epochs: 0}
search:
  space: {adapter.rnk: {choice: [4, 8]}}
"""


@pytest.fixture
def folder(sweeps, tmp_path):
    """The folder in which the command is called."""
    return tmp_path


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_help_lists_every_command_with_a_line(sweeps):
    code, out, _ = sweeps("--help")
    assert code == 0
    assert {
        command.name or command.callback.__name__ for command in app.app.registered_commands
    } == (set(COMMANDS))
    lines = [line.strip("│ ").split(maxsplit=1) for line in out.splitlines() if "│" in line]
    helped = {words[0] for words in lines if len(words) == 2}
    assert set(COMMANDS) <= helped


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(sweeps, command):
    code, out, _ = sweeps(command, "--help")
    assert code == 0
    assert f"sweeps {command}" in out


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_serve_listens_on_no_other_port_than_it_was_given(sweeps, port):
    code, _, err = sweeps("serve", "captioner", "--port", port)
    assert code == 2
    assert "Invalid value for '--port'" in err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_all_problems_of_a_file_are_told_before_anything_starts(sweeps, folder, command):
    Path("mine.yaml").write_text(BROKEN)
    code, out, err = sweeps(command, "mine.yaml", "--set", "train.warmup=2", "--set", "oops")
    assert (code, out) == (2, "")
    *problems, last = err.splitlines()
    assert last == "5 problems; nothing was started"
    assert [line.split("  ")[:2] for line in problems[:3]] == [
        ["mine.yaml:3", "data.source"],
        ["mine.yaml:4", "train.epochs"],
        ["mine.yaml:6", "search.space.adapter.rnk"],
    ]
    assert "(did you mean shapes?)" in problems[0]
    assert sorted(line.split("  ")[0] for line in problems[3:]) == ["--set", "--set"]
    assert left(folder) == ["mine.yaml"]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_recipe_gets_the_nearest_name(sweeps, folder, command):
    code, out, err = sweeps(command, "quickstrat")
    assert (code, out) == (2, "")
    assert "no recipe 'quickstrat'" in err
    assert "did you mean quickstart?" in err
    assert left(folder) == []


def test_a_missing_file_is_not_taken_for_a_recipe(sweeps):
    code, _, err = sweeps("plan", "quickstart.yml")
    assert (code, err) == (2, "error: no file quickstart.yml\n")


def test_init_writes_a_recipe_that_plans_and_never_replaces_a_file(sweeps):
    code, out, _ = sweeps("init", "quickstart")
    assert (code, "quickstart.yaml" in out) == (0, True)
    file = Path("quickstart.yaml")
    assert file.read_text() == ready_text("quickstart")
    assert sweeps("plan", "quickstart.yaml")[0] == 0

    file.write_text("mine")
    code, _, err = sweeps("init", "quickstart")
    assert (code, err) == (1, "error: quickstart.yaml is there already; --force replaces it\n")
    assert file.read_text() == "mine"
    assert sweeps("init", "quickstart", "--force")[0] == 0
    assert file.read_text() == ready_text("quickstart")


def test_init_of_an_unknown_recipe_writes_nothing(sweeps, folder):
    code, _, err = sweeps("init", "quickstrat")
    assert (code != 0, "did you mean quickstart?" in err) == (True, True)
    assert left(folder) == []


def test_plan_shows_the_sweep_and_writes_nothing(sweeps, folder, monkeypatch):
    monkeypatch.setenv("SWEEPS_CACHE", str(folder / "cache"))
    code, out, err = sweeps("plan", "quickstart")
    assert (code, err) == (0, "")
    assert "16 of 6 epochs" in out
    assert "0.0003 to 0.05, log scale" in out
    assert len([line for line in out.splitlines() if line.startswith("  trial-")]) == 5
    assert left(folder) == []


def plan_of(sweeps, base, *arguments):
    """Return heading -> text of the lines of `sweeps plan` for a base on this machine."""
    code, out, err = sweeps("plan", "quickstart", "--set", f"model.base={base}", *arguments)
    assert (code, err) == (0, "")
    lines = [line.strip().partition(" ") for line in out.partition("\nspace")[0].splitlines()]
    return {heading: text.strip() for heading, _, text in lines}


def test_plan_shows_the_memory_of_a_host(sweeps, untrained_base):
    lines = plan_of(sweeps, untrained_base, "--set", "resources.hosts=1")
    assert "of a host on a CPU with " in lines["memory"]
    assert "rank 16 on text_all, batch size 16" in lines["memory"]
    assert "quantization none and int8 and nf4" in lines["base"]
    assert "16 rows in a forward" in lines["step"]
    assert lines["captions"].endswith("instead of a step, 64 images with 3 beams")
    assert lines["slots"].startswith("4: the most on a CPU; ")
    assert "alone" not in lines


def test_plan_says_what_would_fit_on_a_gpu(sweeps, untrained_base):
    lines = plan_of(sweeps, untrained_base, "--gpu-memory", "24GB")
    assert "on a GPU with 24.0 GB" in lines["memory"]
    assert lines["slots"].startswith("16: as many as there are trials; ")
    assert "alone" not in lines  # int8 packs, too
    biased = plan_of(sweeps, untrained_base, "--set", "adapter.bias=all")
    assert biased["alone"].startswith("all trials: trained biases belong to")
    small = plan_of(sweeps, untrained_base, "--gpu-memory", "500MB")
    assert small["short"].endswith("such points are not tried")
    assert small["slots"].startswith("1: as many as fit in 90% of ")


def test_plan_shows_rates_and_how_the_base_is_loaded(sweeps, untrained_base):
    fields = (
        "train.lora_plus_ratio=16", "train.vision_learning_rate=1e-5", "adapter.targets=all",
        "model.dtype=float16", "model.attn_implementation=eager",
        "model.unquantized_modules=[git.image_encoder]",
    )  # fmt: skip
    lines = plan_of(sweeps, untrained_base, *(part for own in fields for part in ("--set", own)))
    assert lines["rates"].endswith("; vision 1e-05, B 16 times that of A")
    assert "which leaves alone git.image_encoder, dtype float16, attn_imple" in lines["base"]
    plain = plan_of(sweeps, untrained_base)
    assert "rates" not in plain
    assert "dtype" not in plain["base"]


def test_plan_refuses_the_rate_of_a_part_that_nothing_adapts(sweeps, untrained_base):
    rate = ("--set", "train.vision_learning_rate=1e-5", "--set", f"model.base={untrained_base}")
    code, out, err = sweeps("plan", "quickstart", *rate)
    assert (code, out) == (2, "")
    assert err.startswith("error: train.vision_learning_rate must be null where adapter.targets")


def test_plan_with_slots_of_the_file_and_packing_off(sweeps, untrained_base):
    chosen = ("--set", "resources.slots=3", "--set", "resources.packing='off'")
    lines = plan_of(sweeps, untrained_base, *chosen)
    assert lines["slots"].endswith("3 as the file says; auto would be 1: resources.packing is off")


def test_a_memory_that_is_no_size_is_refused(sweeps):
    code, out, err = sweeps("plan", "quickstart", "--gpu-memory", "plenty")
    assert (code, out) == (1, "")
    assert err == "error: --gpu-memory must be a size above 0 such as 24GB or 80GiB, got 'plenty'\n"


def test_set_replaces_fields_in_order(sweeps):
    overrides = ["search.trials=9", "search.trials=3", "train.epochs=2"]
    arguments = [word for override in overrides for word in ("--set", override)]
    code, out, _ = sweeps("plan", "quickstart", *arguments)
    assert code == 0
    assert "3 of 2 epochs" in out


@pytest.mark.parametrize("command", ["compare", "report", "resume", "promote", "predict"])
def test_an_unknown_sweep_is_answered_with_those_there_are(sweeps, folder, command):
    for sweep in ("shapes-2", "shapes-1"):
        (folder / "there" / sweep).mkdir(parents=True)
        (folder / "there" / sweep / "sweep.yaml").write_text("")
    code, out, err = sweeps(command, "shapes-3", "--results", "there")
    assert (code, out) == (1, "")
    assert err == "error: no sweep 'shapes-3' in there; there are shapes-1, shapes-2\n"


@pytest.mark.parametrize("sweep", ["../a-1", "/etc", "..", "../../a/b", "\x1b[2J\x1b]0;x\x07"])
@pytest.mark.parametrize(
    "command", ["compare", "report", "resume", "promote", "status", "stop", "add", "sync", "doctor"]
)
def test_what_leads_out_of_the_results_is_no_sweep(sweeps, folder, command, sweep):
    (folder / "a-1").mkdir()
    (folder / "a-1" / "sweep.yaml").write_text("")
    code, out, err = sweeps(command, sweep, "--results", "there")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith(("error: a sweep or a trial must be given by its name", "error: no sw"))
    assert "\x1b" not in err


@pytest.mark.parametrize("model", ["../a-1", "/etc", "..", "x/../../a", "a/b@c", "models:/a'/b@c"])
@pytest.mark.parametrize("command", ["predict", "caption"])
def test_what_names_no_adapter_is_a_line(sweeps, folder, empty_store, command, model):
    (folder / "sweep-results").mkdir()
    shutil.copy(empty_store, folder / "sweep-results")
    given = ("x.png", "--model", model) if command == "caption" else (model,)
    code, out, err = sweeps(command, *given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")


def test_compare_explains_all_that_it_takes(sweeps):
    _, out, _ = sweeps("compare", "--help")
    words = " ".join(out.replace("│", " ").split())
    for form in ("quickstart-1: its leaderboard", "quickstart-1/trial-003", "MLflow run"):
        assert form in words


def test_compare_of_two_says_which_is_not_there(sweeps):
    code, out, err = sweeps("compare", "shapes-1/trial-000", "shapes-2")
    assert (code, out) == (1, "")
    assert err == "error: no sweep 'shapes-1' in sweep-results; there is none yet\n"


def test_ui_without_a_store_says_how_to_get_one(sweeps, folder):
    code, _, err = sweeps("ui")
    assert code == 1
    assert "no sweep is tracked" in err
    assert left(folder) == []


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_ui_takes_a_port_that_there_is(sweeps, port):
    code, out, err = sweeps("ui", "--port", port)
    assert (code, out, "Invalid value for '--port'" in err) == (2, "", True)


def test_what_mlflow_refuses_is_a_line(sweeps, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, out, err = sweeps("history", "captioner")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "127.0.0.1" in err
    assert "Traceback" not in err


REFUSED = {
    # a command with a secret in an address -> what it says
    ("plan", "quickstart", "--set", "tracking.uri=http://ann:SECRET@host"): "tracking.uri  must be",
    ("plan", "quickstart", "--set", "storage=s3://b/x?secret_key=SECRET"): "storage  must be",
    ("plan", "quickstart", "--set", "model.base=hf://ann:SECRET@b/x"): "model.base  must be",
    ("plan", "quickstart", "--set", "data.path=s3://b/x?token=SECRET"): "data.path  must be",
    (
        "plan",
        "quickstart",
        "--set",
        "search.storage=postgresql://ann:SECRET@host/db",
    ): "search.storage  must not hold a password",
    ("plan", "quickstart", "--set", "tracking.uri={password: SECRET}"): "tracking.uri  must be",
    ("plan", "quickstart", "--set", "http://ann:SECRET@host"): "must look like train.epochs=3",
    ("plan", "quickstart", "--results", "s3://ann:SECRET@b/x"): "storage must be an address",
    ("submit", "quickstart", "--results", "s3://ann:SECRET@b/x"): "storage  must be",
    ("jobs", "--address", "http://ann:SECRET@host"): "--address must be an address without",
    ("compare", "a-1", "--results", "s3://b/x?token=SECRET"): "Invalid value for '--results'",
    ("init", "http://ann:SECRET@host"): "no recipe or cluster file",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_an_address_with_a_secret_is_refused_without_saying_it(
    sweeps, folder, monkeypatch, arguments
):
    monkeypatch.setenv("SWEEPS_CACHE", str(folder / "cache"))
    code, out, err = sweeps(*(each.replace("SECRET", "an-odd@/#one") for each in arguments))
    assert code in (1, 2)
    assert REFUSED[arguments] in err
    assert "***" in err
    assert "odd" not in out + err
    assert left(folder) == []


@pytest.mark.parametrize(
    ("variable", "instead"),
    [
        ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"),
        ("MLFLOW_REGISTRY_URI", "TRACKING_TOKEN"),
        ("RAY_ADDRESS", "RAY_AUTH_TOKEN"),
    ],
)
@pytest.mark.parametrize("command", ["doctor", "history m", "serve m", "compare a b", "status"])
def test_an_address_with_a_secret_in_the_environment_is_refused(
    sweeps, monkeypatch, command, variable, instead
):
    monkeypatch.setenv(variable, "http://ann:an-odd@/#one@host:5000")
    code, out, err = sweeps(*command.split())
    assert (code, out) == (2, "")
    said = f"error: {variable} must be an address without a secret, got http://***@host:5000; "
    assert err.startswith(said)
    assert instead in err


def test_a_traceback_has_no_secret(sweeps, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "the value of it")
    monkeypatch.setattr(app.credentials, "refuse_secrets", lambda _: {}["the value of it"])
    code, _, err = sweeps("init")
    assert code == 1
    assert err.splitlines()[-1] == "KeyError: '***'"
