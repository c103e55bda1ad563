import importlib.metadata
import subprocess
import sys

import pytest

from counterbench.errors import ConfigError, UnknownNameError
from counterbench.plugins import registry
from counterbench.plugins.registry import Registry, load_plugin


def test_builtins_are_found_by_file_name():
    assert {"bernoulli", "categorical", "empirical", "spline_flow", "vae"} <= set(registry.mechanisms.names())
    assert "base" not in registry.mechanisms.names()
    for kind in (registry.mechanisms, registry.metrics, registry.judges):
        for name in kind.builtins():
            assert kind.is_builtin(name)
            assert kind.get(name).__module__ == f"{kind.package}.{name}"


def test_listing_imports_no_component():
    code = "import sys; from counterbench import registry; registry.mechanisms.names(); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_unknown_name_answers_with_the_closest_and_the_list():
    with pytest.raises(UnknownNameError, match=r"Unknown mechanism 'vea'. Did you mean 'vae'\? Known: .*flow"):
        registry.mechanisms.get("vea")


def test_collisions_are_errors():
    kind = Registry("gadget")

    def first(): ...

    def second(): ...

    kind.register("g")(first)
    kind.register("g")(first)  # the same again is fine: a module may be reloaded
    with pytest.raises(ConfigError, match="collides"):
        kind.register("g")(second)
    with pytest.raises(ConfigError, match="collides"):
        registry.mechanisms.register("vae")(second)


class _Entry:
    def __init__(self, name, value):
        self.name, self.value = name, value

    def load(self):
        return self.value


def test_entry_points(monkeypatch):
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group: [_Entry("mine", "x:y")] if group == "counterbench.gadgets" else [],
    )
    kind = Registry("gadget")
    assert kind.names() == ["mine"]
    assert kind.get("mine") == "x:y"


def test_entry_point_collisions(monkeypatch):
    clash = [_Entry("vae", "theirs:VAE")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: clash)
    with pytest.raises(ConfigError, match="collides with the one of counterbench itself"):
        Registry("mechanism", "counterbench.mechanisms").names()
    clash[:] = [_Entry("m", "one:M"), _Entry("m", "two:M")]
    with pytest.raises(ConfigError, match="one:M"):
        Registry("mechanism", "counterbench.mechanisms").names()


def test_entry_point_that_cannot_be_imported(monkeypatch):
    class Broken(_Entry):
        def load(self):
            raise SystemExit("no licence")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Broken("mine", "x:y")])
    with pytest.raises(
        ConfigError, match="gadget 'mine' of the plug-in 'x:y': importing it failed with SystemExit: no licence"
    ):
        Registry("gadget").get("mine")


def test_a_component_for_the_length_of_a_block():
    kind = Registry("gadget")

    def first(): ...

    def second(): ...

    kind.register("g")(first)
    with kind.temporarily("g", second), kind.temporarily("h"):
        kind.register("h")(second)
        assert (kind.get("g"), kind.get("h")) == (second, second)
        assert kind.plugged() == {"g": second, "h": second}
        assert not kind.is_builtin("g")
    assert kind.get("g") is first
    assert kind.names() == ["g"]


def test_plugin_file(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from counterbench import registry\n@registry.models.register('mine')\nclass Mine:\n    def __init__(self, dataset): ...\n"
    )
    load_plugin(str(plugin))
    load_plugin(str(plugin))
    assert "mine" in registry.models


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("1/0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "failed with GeneratorExit"),
        ("raise BaseException('x')", "BaseException: x"),
    ],
)
def test_broken_plugin_files(tmp_path, content, words):
    plugin = tmp_path / "broken.py"
    if content is not None:
        plugin.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_plugin(str(plugin))


def test_missing_plugin_module():
    with pytest.raises(ConfigError, match="no_such_module_at_all"):
        load_plugin("no_such_module_at_all")


def test_an_old_name_still_works_and_says_so(capsys):
    from counterbench.runtime import progress

    token = progress.shown.set(True)
    try:
        family = registry.mechanisms.get("flow")
    finally:
        progress.shown.reset(token)
    assert family is registry.mechanisms.get("spline_flow")
    assert capsys.readouterr().err == "The mechanism 'flow' is now called 'spline_flow'; the old name still works.\n"
    assert "flow" not in registry.mechanisms.names()
