import configparser
import importlib.util
import re
from pathlib import Path

import pytest

import counterbench

ROOT = Path(__file__).parents[1]
MAPPED = {
    "counterbench.catalog.models": "models",
    "counterbench.catalog.datasets": "datasets",
    "counterbench.catalog.benchmarks": "benchmarks",
}


@pytest.fixture(scope="module")
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_list_of_packages_is_what_is_on_disk(options):
    listed = set(options["options"]["packages"].split()) - set(MAPPED)
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "counterbench").rglob("__init__.py")}
    assert listed == found


def test_declared_folders_are_mapped(options):
    mapping = dict(line.split(" = ") for line in options["options"]["package_dir"].strip().splitlines())
    for package, folder in MAPPED.items():
        assert mapping[package] == folder
        assert (ROOT / folder).is_dir()
        assert not (ROOT / folder / "__init__.py").exists()  # `datasets` must not shadow Hugging Face's


def test_every_declared_file_is_in_the_wheels_patterns(options):
    for package, folder in MAPPED.items():
        patterns = [p.strip() for p in options["options.package_data"][package].split(",")]
        covered = {path for pattern in patterns for path in (ROOT / folder).glob(pattern)}
        needed = {
            p
            for p in (ROOT / folder).rglob("*")
            if p.suffix in (".yaml", ".safetensors")
            and not {"unfinished", "records"} & set(p.parts)  # records belong to the checkout
        }
        assert needed <= covered


def test_links_of_the_readme_work_where_nothing_lies_beside_it():
    spec = importlib.util.spec_from_file_location("absolute_links", ROOT / ".ci" / "absolute_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = module.absolute((ROOT / "README.md").read_text(), "https://host/us/bench/", "v1")
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", readme)
    assert len(links) > 20
    assert not re.findall(r"\]\((?!https?:|#)", readme)  # of any kind, a picture that is a link included
    assert not re.findall(r'(?:src|href)="(?!https?:|#)', readme)
    for picture, target in links:
        assert target.startswith(("https:", "#"))
        if target.startswith("https://host"):
            kind, _, path = target.removeprefix("https://host/us/bench/").split("/", 2)
            assert kind == ("raw" if picture else "blob")
            assert (ROOT / path.split("#")[0]).exists()


def test_the_version_is_said_once_more_where_people_cite_it(options):
    assert options["metadata"]["version"] == "attr: counterbench.__version__"
    assert f"\nversion: {counterbench.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {counterbench.__version__} - " in (ROOT / "CHANGELOG.md").read_text()


def test_tests_mirror_the_package():
    """Every test file stands for a module or a folder of counterbench, but for those about the tests themselves."""
    for path in {*(ROOT / "tests").rglob("test_*.py")} - {*(ROOT / "tests" / "mutation").iterdir()}:
        folder = ROOT / "counterbench" / path.parent.relative_to(ROOT / "tests")
        assert folder.is_dir(), path
