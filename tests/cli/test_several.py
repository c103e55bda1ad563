"""Several models, or datasets, in one command."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from counterbench.cli import main

REST = ("--suite", "mechanisms", "--limit", "20", "--device", "cpu", "-q", "--output", "out")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, list(words))


def records(folder):
    return sorted(
        (told["inputs"]["model"], told["inputs"]["dataset"])
        for told in (json.loads(path.read_text()) for path in folder.rglob("record.json"))
    )


def test_every_model_is_asked_about_every_dataset(run, tmp_path):
    words = ("evaluate", "--model", "spline, identity", "--model", "spline")
    done = run(*words, "--dataset", "ellipse, ellipse", *REST)
    assert done.exit_code == 0, done.output
    assert records(tmp_path / "out") == [("identity", "ellipse"), ("spline", "ellipse")]  # each once
    assert "1 of 2: spline on ellipse" in done.stdout
    last = done.stdout.strip().splitlines()[-2:]
    assert [line.split()[0] for line in last] == ["spline", "identity"]
    assert all("row skill" in line for line in last)
    done = run("evaluate", "--model", "identity", "--dataset", "ellipse,scm-linear-3-2-0", *REST)
    assert done.exit_code == 0, done.output
    assert ("identity", "scm-linear-3-2-0") in records(tmp_path / "out")


def test_one_that_fails_stops_no_other_and_is_told_at_the_end(run, tmp_path):
    done = run("evaluate", "--model", "linear", "--model", "identity", "--dataset", "scm-linear-3-2-0", *REST)
    assert done.exit_code == 1
    assert records(tmp_path / "out") == [("identity", "scm-linear-3-2-0")]
    assert "no trained weights" in done.stderr
    assert "1 of 2 evaluations could not be made: linear on scm-linear-3-2-0" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "identity", "--model", "splin", "--dataset", "ellipse"), "Did you mean 'spline'"),
        (("--model", "identity", "--dataset", "ellipse,elipse"), "Did you mean 'ellipse'"),
        (("--model", "identity", "--dataset", " , "), "--dataset names none"),
        (("--model", " , ", "--dataset", "ellipse"), "--model names none"),
        (("--model", "identity", "--model", "truth", "--dataset", "ellipse", "--json"), "prints one record"),
        (("--model", "spine", "--dataset", "ellipse"), "Unknown model for ellipse 'spine'. Did you mean 'spline'"),
        (
            ("--model", "identity", "--dataset", "ellipse", "--metrics", "FID"),
            "FID is a number of the metric 'realism'",
        ),
        (("--model", "identity", "--dataset", "ellipse", "--metrics", "truht"), "Did you mean 'truth'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(run, tmp_path, words, said):
    done = run("evaluate", *words, *REST)
    assert done.exit_code in (1, 2)  # 2: a name that there is not
    assert said in done.stderr
    assert not records(tmp_path)


def test_a_trained_folder_is_called_after_itself_and_name_goes_before(run, tmp_path):
    done = run(
        "train",
        "--model",
        "linear",
        "--dataset",
        "ellipse",
        "--epochs",
        "1",
        "--limit",
        "100",
        "--output",
        "tonight",
        "--device",
        "cpu",
        "-q",
    )
    assert done.exit_code == 0, done.output
    ask = ("evaluate", "--model", "tonight", "--dataset", "ellipse", *REST)
    assert run(*ask).stdout.startswith("tonight: ")
    assert run(*ask, "--name", "ours").stdout.startswith("ours: ")
    assert run(*ask).stdout.startswith("ours: ")  # a name stays, and makes nothing again
    assert len(records(tmp_path / "out")) == 1
    done = run(*ask, "--model", "identity", "--name", "ours")
    assert done.exit_code == 1
    assert "--name 'ours' is one name, and these are 2 models" in done.stderr
    done = run(*ask, "--name", " ")
    assert "is no name; give 1 to 60 characters" in done.stderr
    assert "is a baseline's name" in run(*ask, "--name", "identity").stderr


def test_a_file_gives_options_and_the_command_line_goes_before_it(run, tmp_path):
    (tmp_path / "evening.yaml").write_text(
        "model: [identity, spline]\ndataset: [ellipse]\nsuite: mechanisms\nlimit: 30\nmetrics: [truth]\nquiet: true\noutput: out\n"
    )
    done = run("evaluate", "--config", "evening.yaml", "--limit", "20")
    assert done.exit_code == 0, done.output
    told = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    assert sorted(one["inputs"]["model"] for one in told) == ["identity", "spline"]
    assert {one["inputs"]["limit"] for one in told} == {20}
    assert {tuple(one["inputs"]["metrics"]) for one in told} == {("truth",)}
    (tmp_path / "json.yaml").write_text("model: identity\ndataset: ellipse\njson: true\n")
    done = run("evaluate", "--config", "json.yaml", "--metrics", "truth", *REST)
    assert json.loads(done.stdout)["inputs"]["model"] == "identity"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limt: 3", "Unknown option in evening.yaml 'limt'. Did you mean 'limit'?"),
        ("config: a.yaml", "Unknown option in evening.yaml 'config'"),
        ("[1, 2]", "expected keys and values"),
        ("limit: many", "'many' is not a valid integer"),
        (None, "Cannot read evening.yaml"),
    ],
)
def test_a_file_that_says_something_else_is_refused(run, tmp_path, text, said):
    if text is not None:
        (tmp_path / "evening.yaml").write_text(text)
    done = run("evaluate", "--config", "evening.yaml", "--model", "identity")
    assert done.exit_code in (1, 2)
    assert said in done.stderr


def test_slips_are_told_before_torch_is_there():
    """In another process: what `sys.modules` holds when the message comes."""
    words = ["evaluate", "--model", "vea", "--dataset", "morphomnist"]
    program = f"""
import sys
from counterbench.cli import main
try:
    main({words!r})
except SystemExit as end:
    sys.exit(90 if "torch" in sys.modules else end.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Did you mean 'vae'" in done.stderr


def test_without_images_the_suite_is_mechanisms(run, tmp_path):
    rest = [word for word in REST if word not in ("--suite", "mechanisms")]
    done = run("evaluate", "--model", "identity", "--dataset", "ellipse", *rest)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("record.json")
    assert json.loads(path.read_text())["inputs"]["suite"] == "mechanisms"


def test_a_finished_training_says_that_nothing_was_left(run):
    words = (
        "train",
        "--model",
        "linear",
        "--dataset",
        "ellipse",
        "--limit",
        "60",
        "--output",
        "m",
        "--device",
        "cpu",
        "-q",
    )
    assert "Trained. Evaluate it with" in run(*words, "--epochs", "1").stderr
    again = run(*words, "--epochs", "1", "--resume")
    assert again.exit_code == 0
    assert "nothing was left to do" in again.stderr
    longer = run(*words, "--epochs", "2", "--resume")
    assert longer.exit_code == 1
    assert "train it further with --init m" in longer.stderr


def test_words_of_the_field_and_datasets_choose_what_is_shown(run):
    assert run("show", "FID").stdout.startswith("realism  (metric)")
    assert run("show", "LPIPS").stdout.startswith("lpips  (feature)")
    shown = run("show", "vae", "--dataset", "adni").stdout
    assert shown.startswith("Deep SCM with a conditional VAE  (vae, for adni)")
    assert "mechanism)" not in shown
    everything = run("show", "vae").stdout
    assert "(vae, for morphomnist)" in everything
    assert "vae is also a recipe for adni" in everything
    assert "vae  (mechanism)" in everything
    wrong = run("show", "vae", "--dataset", "ellipse")
    assert wrong.exit_code == 2


def test_more_names_than_a_path_can_hold_are_names(run):
    done = run("evaluate", "--model", ",".join(["identity"] * 60), "--dataset", "ellipse", *REST)
    assert done.exit_code == 0, done.output
