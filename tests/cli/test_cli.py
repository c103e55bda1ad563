import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from counterbench.cli import environment, main
from counterbench.plugins import summaries

ROOT = Path(__file__).parents[2]

TOY = str(Path(__file__).parents[1] / "toy.py")


@pytest.fixture
def run(tmp_path, monkeypatch, toy):
    monkeypatch.chdir(tmp_path)

    def invoke(*words):
        # The toy is registered by the test session already; the plug-in door has a test of its own below.
        return CliRunner().invoke(main, list(words), catch_exceptions=False)

    return invoke


EVALUATE = ("evaluate", "--model", "toy-exact", "--dataset", "toy", "--suite", "quick", "--device", "cpu", "-q")


def test_evaluate_prints_a_table_and_writes_record_scores_and_picture(run, tmp_path):
    result = run(*EVALUATE)
    assert result.exit_code == 0, result.output
    for word in ("row skill", "beaten by doing nothing", "effect", "target", "do(a)", "do(b)"):
        assert word in result.stdout
    assert len(result.stdout.splitlines()) < 20
    assert "All numbers, with intervals and baselines: --detail" in result.stderr
    long = run(*EVALUATE, "--detail").stdout
    for word in (
        "composition",
        "effectiveness do(a)",
        "truth do(b)",
        "95 % interval",
        "identity",
        "retrieve",
        "ceiling",
    ):
        assert word in long
    assert long.endswith(result.stdout)
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    assert sorted(p.name for p in folder.iterdir()) == [
        "grid.png",
        "plan.parquet",
        "record.json",
        "samples.parquet",
        "totals.safetensors",
    ]
    assert str(folder.relative_to(tmp_path)) in result.stderr


def test_numbers_are_shown_in_subgroups_when_evaluating_and_afterwards(run, tmp_path):
    plain = run(*EVALUATE)
    assert "by c" not in plain.stdout
    result = run(*EVALUATE, "--by", "c")  # the record is there: it is only divided
    assert result.exit_code == 0, result.output
    assert "was made before" in result.stderr
    assert "by c\nzero:" in result.stdout
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    again = run("view", str(folder), "--by", "c")
    assert again.stdout.strip() == result.stdout[result.stdout.index("by c\n") :].strip()
    assert run("view", str(folder)).stdout.strip() == result.stdout.strip()
    (told,) = json.loads(run("view", str(folder), "--by", "a:2,c", "--json").stdout)
    assert len(told["names"]) == 6
    stored = json.loads((folder / "record.json").read_text())["subgroups"]
    assert [one["by"] for one in stored] == ["c"]
    for word, why in (("colour", "no such variable or role"), ("a", "how many bins")):
        for command in (("view", str(folder)), EVALUATE):
            refused = run(*command, "--by", word)
            assert refused.exit_code == 1
            assert why in refused.stderr


def test_scores_per_sample_reproduce_the_numbers(run, tmp_path):
    import pyarrow.parquet

    run(*EVALUATE)
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    record = json.loads((folder / "record.json").read_text())
    rows = pyarrow.parquet.read_table(folder / "samples.parquet").to_pylist()
    for number in record["numbers"]:
        mine = [
            r
            for r in rows
            if all(r[k] == number[k] for k in ("metric", "quantity", "intervened", "measured", "cycles", "space"))
        ]
        assert len(mine) == number["n"]
        if number["quantity"] == "peak_memory":
            continue
        ratio = sum(r["score"] for r in mine) / sum(r["relative_to"] for r in mine)
        value = {"skill": 1 - ratio, "root": max(ratio, 0) ** 0.5}.get(number["kind"], ratio)
        assert value == pytest.approx(number["value"], abs=1e-12)


def test_json_alone_on_stdout(run):
    result = run(*EVALUATE, "--json")
    assert json.loads(result.stdout)["inputs"]["model"] == "toy-exact"


def without_cost(text):
    return [number for number in json.loads(text)["numbers"] if number["metric"] != "cost"]


def test_overwrite_policies(run, tmp_path):
    first = run(*EVALUATE, "--json").stdout
    again = run(*EVALUATE, "--json")
    assert again.stdout == first  # the stored record, seconds included
    assert "made before" in again.stderr
    refused = run(*EVALUATE, "--overwrite", "never")
    assert refused.exit_code == 1
    assert "made before" in refused.stderr
    anew = run(*EVALUATE, "--overwrite", "always", "--json").stdout
    assert anew != first
    assert without_cost(anew) == without_cost(first)
    assert run(*EVALUATE, "--seed", "1").exit_code == 0
    assert len(list((tmp_path / "results" / "toy-formula" / "quick").iterdir())) == 2


def test_a_damaged_stored_record_is_not_mistaken_for_a_result(run, tmp_path):
    run(*EVALUATE)
    (path,) = tmp_path.rglob("record.json")
    path.write_text(path.read_text()[:100])
    result = run(*EVALUATE)
    assert result.exit_code == 1
    assert "is not a record" in result.stderr


def test_a_suite_without_questions_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, title: M, cycles: 0, single: false, metrics: [composition, truth]}"
    )
    result = run("evaluate", "--model", "identity", "--dataset", "toy", "--suite", "mine.yaml", "--device", "cpu", "-q")
    assert result.exit_code == 1
    assert "asks nothing that composition, truth could judge" in result.stderr


def test_the_stored_plan_can_be_asked_again(run, tmp_path):
    text = run(*EVALUATE, "--json").stdout
    first = json.loads(text)
    (plan,) = tmp_path.rglob("plan.parquet")
    words = [word for word in EVALUATE if word not in ("--suite", "quick")]
    other = run(*words, "--plan", str(plan), "--json").stdout
    assert json.loads(other)["inputs"]["plan"] == first["inputs"]["plan"]
    values = [
        {(n["metric"], n["quantity"], n["intervened"], n["measured"], n["cycles"]): n["value"] for n in without_cost(t)}
        for t in (text, other)
    ]
    assert values[0].items() <= values[1].items()


def test_metrics_option(run):
    result = run(*EVALUATE, "--metrics", "composition", "--json")
    assert {n["metric"] for n in json.loads(result.stdout)["numbers"]} == {"composition"}


def test_a_suite_that_asks_too_little_says_what_is_skipped(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("{name: mine, title: M, cycles: 0, metrics: [composition, truth]}")
    result = run(
        "evaluate", "--model", "identity", "--dataset", "toy", "--suite", "mine.yaml", "--device", "cpu", "-q", "--json"
    )
    assert "asks no question that composition could judge" in json.loads(result.stdout)["skipped"]["composition"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "--model", "vea"), "Unknown model for morphomnist 'vea'. Did you mean 'vae'?"),
        (
            ("evaluate", "--model", "vae", "--dataset", "morphomist"),
            "Unknown dataset 'morphomist'. Did you mean 'morphomnist'?",
        ),
        (
            ("evaluate", "--model", "identity", "--metrics", "efectiveness"),
            "Unknown metric 'efectiveness'. Did you mean 'effectiveness'?",
        ),
        (("evaluate", "--model", "identity", "--suite", "fast"), "Unknown suite 'fast'."),
        (("evaluate", "--model", "identity", "--source", "cifar"), "Known: digits, mnist"),
        (("evaluate", "--model", "identity", "--device", "tpu9"), "Unknown device 'tpu9'"),
        (("evaluate", "--model", "identity", "--dataset", "none.yaml"), "Cannot read none.yaml: No such file"),
        (("evaluate", "--model", "nowhere.yaml"), "Cannot read nowhere.yaml"),
        (("evaluate", "--model", "identity", "--data-dir", "nowhere"), "data folder nowhere does not exist"),
        (("evaluate", "--model", "identiy"), "Did you mean 'identity'?"),
        (("evaluate", "--model", "."), "holds no finished model"),
        (("evaluate", "--model", "identity", "--metrics", ","), "No metric is given"),
        (("evaluate", "--model", "identity", "--plan", "none.parquet"), "There is no plan none.parquet"),
        (("evaluate", "--model", "identity", "--device", "cpu:3"), "Unknown device 'cpu:3'"),
        (("generate", "--model", "identity", "--do", "digit=1", "--out", "picture"), "must end with .png"),
        (("show", "morphomnist", "--picture", "g.bmp"), "must end with .png"),
        (("evalute",), "Unknown command 'evalute'. Did you mean 'evaluate'?"),
        (("show", "compositoin"), "Did you mean 'composition'?"),
        (("generate", "--do", "thickness"), "expected VARIABLE=VALUE"),
        (("generate", "--model", "identity", "--do", "thikness=2"), "Did you mean 'thickness'?"),
        (("generate", "--model", "identity", "--do", "thickness=45"), "from 0.5 to 7 px"),
        (("generate", "--model", "identity", "--do", "thickness=big"), "'big' is not a number"),
        (("generate", "--model", "identity", "--do", "digit=11"), "not a class of 'digit'"),
        (("generate", "--model", "identity", "--do", "image=1"), "no variable 'image' to set"),
        (("generate", "--model", "identity", "--do", "digit=1", "--count", "0"), "number from 1 to 64"),
        (("generate", "--model", "truth", "--do", "digit=1"), "truth does not answer questions about digit"),
        (("--plugin", "nothing.py", "list"), "no such file"),
        (("train", "--model", "vae", "--device", "warp"), "Unknown device 'warp'"),
        (
            ("train-judges", "--variable", "thikness", "--output", "o"),
            "choose a variable of morphomnist: thickness, intensity, digit",
        ),
        (("data", "prepare", "--split", "tests"), "Did you mean 'test'?"),
    ],
)
def test_a_users_mistake_is_one_sentence(run, words, said):
    result = run(*words)
    assert result.exit_code != 0
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_unwritable_output(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(*EVALUATE, "--output", "file")
    assert result.exit_code == 1
    assert "Cannot write to file" in result.stderr


def test_a_full_disk_keeps_the_earlier_record(run, tmp_path, monkeypatch):
    run(*EVALUATE)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.json")}
    from counterbench.storage import files

    def full(path, text):
        with files.atomic(path):
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr("counterbench.records.record.write_text", full)
    result = run(*EVALUATE, "--overwrite", "always")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "record.json" in result.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.json")} == before


def test_interrupting_an_evaluation_keeps_earlier_records(run, tmp_path, monkeypatch):
    run(*EVALUATE)
    (path,) = tmp_path.rglob("record.json")
    before = path.read_bytes()
    from counterbench.evaluation import session

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(session._Session, "examine_chunk", interrupted)
    result = run(*EVALUATE, "--overwrite", "always")
    assert result.exit_code == 130
    assert "interrupted. Nothing had been finished yet." in result.stderr  # there is no folder to name
    assert path.read_bytes() == before


def test_an_interrupted_evaluation_names_the_folder_that_keeps_its_answers(run, tmp_path, monkeypatch):

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    from counterbench.evaluation import results_folder

    monkeypatch.setattr(results_folder, "save", interrupted)  # all questions are answered, and no record is written
    result = run(*EVALUATE)
    assert result.exit_code == 130
    (kept,) = tmp_path.glob("results/*/*/*/unfinished")
    assert f"is kept in {kept.parent.relative_to(tmp_path)}; run the same command to go on" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run(*EVALUATE).exit_code == 0
    assert not kept.exists()


def test_two_evaluations_into_one_folder(run, tmp_path):
    from counterbench.storage.files import claimed

    assert run(*EVALUATE).exit_code == 0
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    with claimed(folder.relative_to(tmp_path)):
        result = run(*EVALUATE, "--overwrite", "always")
    assert result.exit_code == 1
    assert "is in use by another run" in result.stderr


def test_a_cache_that_cannot_be_written_is_said_once(tmp_path):
    """In a process of its own: the session's cache is in use."""
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "COUNTERBENCH_CACHE": str(tmp_path / "file" / "cache")}
    command = [sys.executable, "-m", "counterbench", "--plugin", TOY, *EVALUATE]
    made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    said = [line for line in made.stderr.splitlines() if "cannot be written" in line]
    assert len(said) == 1, made.stderr
    assert said[0].startswith(
        f"counterbench: the cache {tmp_path / 'file' / 'cache'} cannot be written (Not a directory)"
    )


def test_list_and_show(run):
    everything = run("list").stdout
    for word in ("models", "vae", "identity", "morphomnist", "composition", "standard", "spline_flow", "thickness"):
        assert word in everything
    for name in ("morphomnist", "vae", "composition", "standard", "spline_flow", "truth", "classifier", "identity"):
        assert run("show", name).exit_code == 0
    card = run("show", "morphomnist").stdout
    for word in ("thickness, intensity, digit -> image", "licence", "27,104 train", "Castro"):
        assert word in card


def test_files_of_ones_own_are_shown(run, tmp_path):
    for folder, name, words in (
        ("benchmarks/suites", "quick", "Quick suite"),
        ("models/morphomnist", "vae", "trained weights shipped"),
        ("datasets", "ellipse", "source formula (default)"),
    ):
        shutil.copy(ROOT / folder / f"{name}.yaml", "mine.yaml")
        assert words in run("show", "mine.yaml").stdout
    assert "no_such.yaml" in run("show", "no_such.yaml").stderr


def test_show_draws_the_graph(run, tmp_path):
    assert run("show", "morphomnist", "--picture", "g.png").exit_code == 0
    assert (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"
    assert "Unknown dataset" in run("show", "vae", "--picture", "h.png").stderr


def test_generate_draws_a_grid(run, tmp_path):
    result = run(
        "generate",
        "--model",
        "toy-exact",
        "--dataset",
        "toy",
        "--do",
        "a=2",
        "--do",
        "c=two",
        "--count",
        "3",
        "--out",
        "g.png",
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "g.png"
    assert (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"


def test_data_prepare_prints_fingerprints(run, toy):
    result = run("data", "prepare", "--dataset", "toy", "-q")
    assert toy.Toy().split("test").fingerprint in result.stdout


def shell(*words, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "counterbench", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_plugins_on_the_command_line(tmp_path):
    result = shell("--plugin", TOY, *EVALUATE, "--limit", "10", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["inputs"]["dataset"] == "toy"
    assert "toy-linear" in shell("--plugin", TOY, "list", "mechanisms", cwd=tmp_path).stdout


HEAVY = "{'torch', 'pydantic', 'networkx', 'numpy', 'pytorch_lightning', 'matplotlib', 'pyarrow', 'scipy'}"


@pytest.mark.parametrize(
    "command", ["", "main(['--help'], standalone_mode=False)", "main(['--version'], standalone_mode=False)"]
)
def test_help_and_import_need_nothing_heavy(command):
    """What makes them instant, on any machine."""
    code = (
        f"import sys; from counterbench.cli import main; {command or 'pass'}; print(sorted({HEAVY} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert ("evaluate" in result.stdout) == ("help" in command)


def imported_by(words, cwd):
    """Which heavy packages a command imports, in a process of its own."""
    code = f"""
import contextlib, io, sys
from counterbench.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({words!r})
print([name for name in ("torch", "torchmetrics", "numpy", "scipy", "matplotlib", "networkx") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout))


def test_listing_imports_no_torch(tmp_path):
    assert imported_by(["list"], tmp_path) == set()


def test_listing_says_what_the_docstrings_say():
    """Summaries are read from source files; they must be those that Python itself would give."""
    from counterbench.cli import describe
    from counterbench.models.baselines import BASELINES
    from counterbench.plugins import registry

    for kind in (registry.metrics, registry.mechanisms, registry.objectives, registry.judges, registry.features):
        for name, module in kind._builtins.items():
            assert summaries.of_registered(module) == inspect.getdoc(kind.get(name)).split("\n")[0] != "", name
    words = {name: f"baseline: {inspect.getdoc(baseline).splitlines()[0]}" for name, baseline in BASELINES.items()}
    assert words.items() <= dict(describe.KINDS["models"]()).items()


def test_compare_prints_a_table_draws_a_picture_and_refuses_other_questions(run, tmp_path):
    run(*EVALUATE)
    words = [word if word != "toy-exact" else "identity" for word in EVALUATE]
    run(*words)
    run(*EVALUATE, "--seed", "1")
    folders = {}
    for path in (tmp_path / "results").rglob("record.json"):
        inputs = json.loads(path.read_text())["inputs"]
        folders[inputs["model"], inputs["seed"]] = str(path.parent)
    exact, identity, elsewhere = folders["toy-exact", 0], folders["identity", 0], folders["toy-exact", 1]
    result = run("compare", exact, identity)
    assert result.exit_code == 0, result.output
    assert "toy-exact is better than identity" in result.stdout
    assert "toy-exact (rank)" not in result.stdout
    assert "toy-exact (rank)" in run("compare", exact, identity, "--detail").stdout
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    compared = json.loads(run("compare", exact, f"{identity}/record.json", "--json").stdout)
    assert compared["models"] == ["toy-exact", "identity"]
    refused = run("compare", exact, elsewhere)
    assert refused.exit_code == 1
    assert "the field 'plan' differs" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run("compare", exact, str(tmp_path / "nothing")).exit_code == 1
    assert run("compare", exact, identity, "--picture", "x.txt").exit_code == 1


def test_plans_are_shown_exported_and_asked(run, tmp_path):
    shown = run("plan", "show", "--dataset", "toy", "-q").stdout
    assert "1,080 questions about 120 images" in shown
    assert "do(a) then do(c), and the other order" in shown
    for ending in ("csv", "parquet", "json"):
        exported = run("plan", "export", "--dataset", "toy", "--suite", "quick", "--output", f"p.{ending}", "-q")
        assert exported.stdout.strip() in run("plan", "show", "--dataset", "toy", "--suite", "quick", "-q").stdout
    asked = json.loads(run(*EVALUATE, "--plan", "p.csv", "--json").stdout)
    assert asked["inputs"]["plan"] == exported.stdout.strip()
    both = run(*EVALUATE, "--plan", "p.csv", "--limit", "5")
    assert both.exit_code == 1
    assert "exclude each other" in both.stderr
    wrong = run("plan", "export", "--dataset", "toy", "--output", "p.txt")
    assert wrong.exit_code == 1
    assert "must end with .parquet, .csv or .json" in wrong.stderr


def test_doctor_names_missing_files_and_their_place(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_WEIGHTS", str(tmp_path / "w"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "t"))
    result = run("doctor")
    assert result.exit_code == 0
    assert "ok       posterior" in result.stdout
    assert "missing  lpips" in result.stdout
    assert str(tmp_path / "w" / "vgg16-397923af.pth") in result.stdout
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in result.stdout


def test_detail_prints_more(run):
    short = run(*EVALUATE).stdout
    full = run(*EVALUATE, "--detail").stdout
    assert len(full.splitlines()) > 3 * len(short.splitlines())
    assert "after 2 cycles" in full
    assert "after 2 cycles" not in short


def sh(script, cwd, **environment):
    """A line of a shell, where `$CB` is the command."""
    return subprocess.run(
        ["sh", "-c", script.replace("$CB", f"{sys.executable} -m counterbench")],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("words", ["--help", "--version", "list metrics", "evaluate --help"])
def test_a_full_disk_behind_stdout_is_one_sentence(tmp_path, words):
    done = sh(f"$CB {words} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "counterbench: No space left on device.\n")


@pytest.mark.parametrize("words", ["--help", "list metrics"])
def test_a_reader_that_has_gone_is_told_by_the_status_alone(tmp_path, words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "counterbench", *words.split()]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_streams_that_are_closed_swallow_what_is_said(tmp_path):
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        done = sh(f"$CB list metrics {closed}", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert ("composition" in done.stdout) == (closed == "2>&-")


def test_an_evaluation_without_stdout_and_with_a_strange_matplotlib_is_whole(tmp_path):
    """A notebook hands its backend to `!counterbench`, which need not have it; no file of results becomes stdout."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    done = sh(f"$CB --plugin {TOY} {' '.join(EVALUATE)} >&-", tmp_path, MPLBACKEND="module://matplotlib_of_nobody")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    assert (folder / "grid.png").read_bytes()[:4] == b"\x89PNG"
    json.loads((folder / "record.json").read_text())


def test_an_unknown_backend_stops_no_command(tmp_path):
    done = sh("$CB check composition --dataset ellipse -q; $CB show vae", tmp_path, MPLBACKEND="nobody")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_that_lacks_a_character_spells_it(tmp_path, encoding):
    card = (ROOT / "datasets" / "ellipse.yaml").read_text()
    title = next(line for line in card.splitlines() if line.startswith("title:"))
    (tmp_path / "mine.yaml").write_text(card.replace(title, 'title: "é → ½ 漢"'), encoding="utf-8")
    command = [sys.executable, "-m", "counterbench", "show", "mine.yaml"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    expected = {"ascii": "e -> 1/2 ?", "utf-8": "é → ½ 漢"}.get(encoding, "é -> ½ ?")
    assert done.stdout.decode(encoding).startswith(expected)


def test_a_table_in_ascii_has_no_arrows_and_json_stays_utf_8(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(charset="ascii")
    table = runner.invoke(main, [*EVALUATE, "--detail"], catch_exceptions=False)
    assert table.exit_code == 0
    assert table.stdout_bytes.isascii()
    assert b"l1 after 1 cycle v" in table.stdout_bytes
    (path,) = tmp_path.rglob("record.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["notes"] = ["½ → 漢"]
    path.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    printed = runner.invoke(main, [*EVALUATE, "--json"], catch_exceptions=False)
    assert json.loads(printed.stdout_bytes.decode("utf-8"))["notes"] == ["½ → 漢"]


def test_messages_cannot_steer_the_terminal(run):
    for words in (
        ["show", "\x1b]0;title\x07x"],
        ["evaluate", "--model", "\x1b[31mred\x9b"],
        ["--plugin", "\x1b[2J.py", "list"],
    ):
        said = run(*words).stderr
        assert said.startswith("counterbench: ")
        assert not any(letter < " " for letter in said.rstrip("\n"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "MPLBACKEND": "agg"}),
        ({"MPLBACKEND": "x"}, {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "MPLBACKEND": "agg"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active", "MPLBACKEND": "agg"}),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200", "MPLBACKEND": "agg"}),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9", "MPLBACKEND": "agg"}),
    ],
)
def test_waiting_threads_sleep_unless_the_user_says_otherwise(before, after):
    settled = dict(before)
    environment.settle(settled)
    assert settled == after


def test_the_environment_is_settled_before_torch_and_never_by_the_library(tmp_path):
    (tmp_path / "look.py").write_text(
        "import os, sys\nprint(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules, 'matplotlib' in sys.modules)\n"
    )
    names = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT", "MPLBACKEND")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-m", "counterbench", "--plugin", "look.py", "list", "suites"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=plain)
    assert done.stdout.splitlines()[0] == "passive False False"
    code = "import os; before = dict(os.environ); import counterbench; counterbench.evaluate; import counterbench.api, counterbench.cli; print(before == dict(os.environ))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=plain)
    assert done.stdout == "True\n", done.stderr


def test_where_there_is_a_record_there_is_everything_else(run, monkeypatch, tmp_path):
    """A run that is killed just before its record leaves nothing that the next one would not make again."""

    there = []

    def killed(record, path):
        there.extend(sorted(other.name for other in path.parent.iterdir() if other.is_file() and other.name[0] != "."))
        raise KeyboardInterrupt

    from counterbench.evaluation import results_folder

    with monkeypatch.context() as patch:
        patch.setattr(results_folder, "write_record", killed)
        assert run(*EVALUATE).exit_code == 130
    assert there == ["grid.png", "plan.parquet", "samples.parquet", "totals.safetensors"]
    assert list(tmp_path.rglob("record.json")) == []
    assert run(*EVALUATE).exit_code == 0
    assert len(list(tmp_path.rglob("record.json"))) == 1


@pytest.mark.parametrize(
    "command", [["evaluate", "--model", "identity"], ["train", "--model", "vae"], ["data", "draw"], ["plan", "show"]]
)
def test_a_seed_beyond_32_bits_is_refused_everywhere(command):
    said = CliRunner().invoke(main, [*command, "--seed", str(2**32)])
    assert said.exit_code == 2
    assert "is not in the range 0<=x<=4294967295" in said.output


def test_no_name_leads_out_of_the_output(tmp_path):
    from counterbench.evaluation import results_folder

    inputs = SimpleNamespace(dataset="../../a", source="../b", suite="quick", model="../c", hash="0" * 64)
    folder = results_folder.folder_of(inputs, tmp_path)
    assert folder.parents[2] == tmp_path
    assert folder.resolve().is_relative_to(tmp_path.resolve())


def test_answers_are_kept_and_judged_again_without_the_model(run, tmp_path):
    """A record that was made without its answers is made again; a second time it is shown."""
    result = run(*EVALUATE)
    (folder,) = (tmp_path / "results" / "toy-formula" / "quick").iterdir()
    assert run("rejudge", str(folder)).stderr.startswith("counterbench: There are no kept answers in")
    result = run(*EVALUATE, "--keep-answers")
    assert "Keeping the answers needs about" in result.stderr
    assert "made again to keep them" in result.stderr
    assert (folder / "answers.json").is_file()
    assert "was made before; showing it" in run(*EVALUATE, "--keep-answers").stderr
    before = json.loads((folder / "record.json").read_text())
    result = run("rejudge", str(folder), "--json", "-q", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    judged = json.loads(result.stdout)
    assert (judged["origin"], judged["numbers"]) == ("kept", before["numbers"])
    assert json.loads((folder / "record.json").read_text()) == before
    result = run("rejudge", str(folder / "record.json"), "--metric", "composition", "--output", "elsewhere", "-q")
    assert "judged again from the answers" in result.stdout
    assert [path.name for path in tmp_path.rglob("elsewhere/*/*/*/record.json")] == ["record.json"]


def test_show_tells_options_that_a_family_has_from_its_base_and_knows_old_names():
    shown = CliRunner().invoke(main, ["show", "flow_matching"])
    assert shown.exit_code == 0
    assert "    guidance: weight of what an intervention reaches" in shown.output
    old, new = (CliRunner().invoke(main, ["show", name]).output for name in ("flow", "spline_flow"))
    assert old == new
