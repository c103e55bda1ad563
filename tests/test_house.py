"""The house keeps its own rules: layout of imports, style, types."""

import ast
import configparser
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from counterbench.plugins import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "counterbench"
CHECKS = {
    "import contracts": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "ruff": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
}

pytestmark = pytest.mark.skipif(not (ROOT / "ruff.toml").exists(), reason="only in a checkout")


@pytest.mark.parametrize("name", CHECKS)
def test_rules(name):
    result = subprocess.run([sys.executable, *CHECKS[name]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_code_copies_the_habits_we_forbid():
    """No hard-coded CUDA, no unpickling, no global seeds (defects 37, 38 and 43 of the anchor)."""
    allowed = {
        "training/resuming.py": ["weights_only=True"],
        "training/recipes.py": ["fork_rng"],
        "training/features.py": ["fork_rng"],
        "training/recogniser.py": ["fork_rng"],
        "training/reference.py": ["fork_rng"],
        "training/segmenters.py": ["fork_rng"],
        "features/lpips.py": ["weights_only=True"],
        "features/inception.py": ["weights_only=True"],
        "networks/monai_bundles.py": ["weights_only=True"],
    }
    for path in (ROOT / "counterbench").rglob("*.py"):
        text = path.read_text()
        for habit, excuse in (
            (".cuda()", None),
            ("pickle.load", None),
            ("np.random.seed", None),
            ("torch.load(", "weights_only=True"),
            ("torch.manual_seed(seed", "fork_rng"),
        ):
            if habit in text:
                place = path.relative_to(ROOT / "counterbench").as_posix()
                assert excuse is not None, f"{place}: {habit}"
                assert excuse in allowed.get(place, []), f"{place}: {habit}"
                assert excuse in text


def test_nothing_is_cached_beyond_its_owner():
    """A cache on a method lives as long as the process, and keeps every object that it was ever called on."""
    excused = [
        path
        for path in (ROOT / "counterbench").rglob("*.*")
        if path.suffix in (".py", ".j2") and "B019" in path.read_text()
    ]
    assert excused == []


def test_four_files_are_flat_and_packages_only_re_export():
    package = ROOT / "counterbench"
    assert sorted(path.name for path in package.glob("*.py")) == ["__init__.py", "__main__.py", "api.py", "errors.py"]
    for path in package.rglob("__init__.py"):
        if path.parent in (package, package / "catalog", package / "metrics"):  # they import on first use
            continue
        kinds = {type(node) for node in ast.parse(path.read_text()).body}
        assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}, path


def test_every_module_is_below_its_folder_in_the_layers():
    """The contract names every folder, so that a new one has a place in the sentence."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    layers = parser["importlinter:contract:layers"]["layers"].replace("|", " ").split()
    folders = {
        f"counterbench.{path.stem}"
        for path in (ROOT / "counterbench").iterdir()
        if path.name[0] != "_" or path.stem == "__main__"
    }
    assert set(layers) == {name for name in folders if name != "counterbench.py"}
    assert len(layers) == len(set(layers))


RETIRED = {"candidate", "examinee", "entry", "letter", "util", "utils", "helper", "manager"}
"""Words that CONTRIBUTING.md gives up, each for another one. (`VariableEntry` and its kin are entries of a YAML file: the word's own sense.)"""
POSITIONAL_OPTIONS = {"generator", "reached"}
"""What the protocols of models and mechanisms pass by position."""
FOREIGN_ORDER = {
    "datasets/dataset.py: Dataset.__init__": "readers from outside extend it, and pass on what they are given",
    "training/resuming.py: CheckpointFiles.save_checkpoint": "a method of Lightning's",
}
"""Functions whose order of arguments others decide."""
EXAMPLES = ("api.py", "causal", "mechanisms", "metrics")
"""Where every public class and function of a module shows itself at work; protocols have nothing to show."""


def definitions(*places):
    """(module, node) of every public class and function of the modules there."""
    for place in places or ("",):
        path = PACKAGE / place
        for module in [path] if path.suffix else sorted(path.rglob("*.py")):
            for node in ast.parse(module.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    yield module.relative_to(PACKAGE).as_posix(), node


def test_contributing_lists_the_folders_in_the_order_of_the_layers():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    layers = parser["importlinter:contract:layers"]["layers"].strip().split("\n")
    flat = {"__main__", "api", "errors"}
    rows = [{name.strip().removeprefix("counterbench.") for name in line.split("|")} - flat for line in layers]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text[text.index("| folder |") : text.index("![")].split("\n")[2:]
    assert [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in listed if line] == [row for row in rows if row]


def test_contributing_names_what_there_is():
    """Files that it sends somebody to; those to be written have a <name>."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:counterbench|tests|docs|benchmarks|datasets|models)/[\w./-]*)`", text)
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_a_class_has_a_name_of_its_own():
    places = defaultdict(list)
    for module, node in definitions():
        if isinstance(node, ast.ClassDef):
            places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_names_keep_to_the_table_of_words():
    """What CONTRIBUTING.md calls a contestant is no candidate in the code."""
    found = set()
    for _, node in definitions():
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", node.name)}
        if words & RETIRED and not (
            isinstance(node, ast.ClassDef) and node.name.endswith("Entry") and node.name != "Entry"
        ):
            found.add(node.name)
    assert found == set()


def public_functions(body, prefix=""):
    """(qualified name, node) of public functions, public methods and constructors."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield prefix + node.name, node


def positional_options(name, node):
    """(how many arguments may be given by position, which options among them stand after the second)."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    first = len(names) - len(node.args.defaults)
    own = 1 if "." in name and "staticmethod" not in [ast.unparse(one) for one in node.decorator_list] else 0
    return len(names) - own, [option for option in names[max(first, own + 2) :] if option not in POSITIONAL_OPTIONS]


def test_options_are_keywords():
    """At most four arguments by position, and no option after the second; click calls its commands by keywords anyway."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for name, node in public_functions(ast.parse(path.read_text(encoding="utf-8")).body):
            count, options = positional_options(name, node)
            if any(".command(" in ast.unparse(decorator) for decorator in node.decorator_list):
                continue
            if (count > 4 or options) and f"{place}: {name}" not in FOREIGN_ORDER:
                found.append(f"{place}: {name}")
    assert found == []


def test_whatever_is_public_shows_an_example():
    """The examples themselves are run with all other tests (--doctest-modules)."""
    silent = [
        f"{module}: {node.name}"
        for module, node in definitions(*EXAMPLES)
        if not any("Protocol" in ast.unparse(base) for base in getattr(node, "bases", ()))
        if ">>> " not in (ast.get_docstring(node) or "")
    ]
    assert not silent


def test_shipped_weights_stay_small():
    """What everybody downloads, below 80 MB in all: models below 67 MB, judges, verifiers and feature spaces below 13 MB, and the template's maps."""
    for folder, most in (("models", 67_000_000), ("datasets", 13_000_000)):
        weights = list((ROOT / folder).rglob("*.safetensors"))
        assert len(weights) > 5
        assert sum(path.stat().st_size for path in weights) < most


NAMES_THAT_MEAN_SOMETHING_ELSE = {
    "truth": "also the baseline that gives the true counterfactual, and what a source knows",
    "parts": "also the parts of an image, and of a network",
    "estimate": "also how the row skill of an intervention is known where the truth is not",
}
PLACES_THAT_MAY_NAME_METRICS = {"records/older.py": "what records meant while readers knew metrics by their names"}


def test_a_metric_is_known_by_its_name_in_its_own_file_only():
    """Whatever others must know of a number stands in its cell, and travels in the record."""
    package = ROOT / "counterbench"
    names = set(registry.metrics.builtins()) - NAMES_THAT_MEAN_SOMETHING_ELSE.keys()
    named = [
        f"{place}:{node.lineno} {node.value}"
        for path in sorted(package.rglob("*.py"))
        if (place := path.relative_to(package).as_posix()).partition("/")[0] != "metrics"
        and place not in PLACES_THAT_MAY_NAME_METRICS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert named == []
