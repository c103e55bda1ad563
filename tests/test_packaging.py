import configparser
from pathlib import Path

import pytest

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


def test_tests_mirror_the_package():
    """Every test file stands for a module or a folder of counterbench, but for those about the tests themselves."""
    for path in {*(ROOT / "tests").rglob("test_*.py")} - {*(ROOT / "tests" / "mutation").iterdir()}:
        folder = ROOT / "counterbench" / path.parent.relative_to(ROOT / "tests")
        assert folder.is_dir(), path
