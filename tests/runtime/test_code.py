"""The hash of code follows its imports, and nothing else."""

import pytest

from counterbench.runtime import code


@pytest.fixture
def package(tmp_path, monkeypatch):
    home = tmp_path / "house"
    (home / "inner").mkdir(parents=True)
    files = {
        "__init__": "",
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import typed\ndef f():\n    from house.inner import b\n",
        "inner/__init__": "",
        "inner/b": "import house.c as c\nimport numpy\n",
        "c": "",
        "typed": "",
        "other": "from house import a\n",
    }
    for name, text in files.items():
        (home / f"{name}.py").write_text(text)
    monkeypatch.setattr(code, "_FOLDER", home)
    monkeypatch.setattr(code, "_PACKAGE", "house")
    _forget()
    yield home
    _forget()


def _forget():
    code._behind.cache_clear()
    code._imported.cache_clear()


@pytest.mark.parametrize(
    ("changed", "matters"),
    [("a", True), ("inner/b", True), ("inner/__init__", True), ("c", True), ("typed", False), ("other", False)],
)
def test_what_is_imported_on_the_way_matters_and_nothing_else(package, changed, matters):
    before = code.code_hash(["house.a"])
    path = package / f"{changed}.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert (code.code_hash(["house.a"]) != before) == matters


def test_other_packages_are_passed_over(package):
    assert code.code_hash(["house.a", "numpy", "housemate.a"]) == code.code_hash(["house.a"])
