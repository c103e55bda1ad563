"""A working start for a component of one's own: `counterbench new KIND NAME`."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from counterbench.errors import ConfigError
from counterbench.plugins import registry
from counterbench.storage.files import write_text


@dataclass(frozen=True)
class _Kind:
    """What is particular about one kind.

    Args:
        described: in a sentence.
        use: a command that uses it.
        then: what to do next.
        own_test: a test that a contract cannot have.
        tested_on: a dataset.
        files: template -> path inside the package; "{module}" is filled in.
    """

    described: str
    use: str
    then: str
    own_test: str
    tested_on: str = "morphomnist"
    files: tuple[tuple[str, str], ...] = ()


_KINDS = {
    "model": _Kind(
        "A model that answers counterfactual questions.",
        "counterbench evaluate --model {name} --dataset morphomnist --suite quick",
        "Mend `counterfactual`, run `counterbench check` again, then evaluate with the whole suite (leave out `--suite quick`).",
        """@pytest.mark.parametrize("change", [-1.0, 1.0])
def test_a_thicker_stroke_has_more_ink(change):
    dataset = datasets.load("morphomnist")
    factual = dataset.split("test").take(slice(0, 50))
    answer = {classname}(dataset).counterfactual(factual, {{"thickness": factual["thickness"] + change}})
    ink = (answer["image"] - factual["image"]).mean()
    assert ink * change > 0""",
    ),
    "mechanism": _Kind(
        "A mechanism family for structural causal models.",
        "counterbench train --model {module}/recipe.yaml --output runs/{name} && counterbench evaluate --model runs/{name}",
        "Mend the class, run `counterbench check` again, then train the recipe `{module}/recipe.yaml`, where its options can be set.",
        """def test_it_learns_a_mean():
    from counterbench.causal.variables import Continuous

    torch.manual_seed(0)
    mechanism = {classname}(Continuous("x", 0, 1), ())
    value = 0.3 + 0.1 * torch.randn(500, 1)
    before = mechanism.loss(value, {{}}).mean()
    optimiser = torch.optim.Adam(mechanism.parameters(), 0.02)
    for _ in range(200):
        optimiser.zero_grad()
        mechanism.loss(value, {{}}).mean().backward()
        optimiser.step()
    assert mechanism.loss(value, {{}}).mean() < before - 0.5""",
        files=(("mechanism/recipe.yaml.j2", "recipe.yaml"),),
    ),
    "dataset": _Kind(
        "A dataset with a known process behind it.",
        "counterbench evaluate --model retrieve --dataset {name} --suite quick",
        "Mend the process and the card `{module}/{module}.yaml`, and look at it: `counterbench data draw --dataset {name}`.",
        """def test_a_larger_disc_is_darker():
    dataset = datasets.load("{name}")
    rows = torch.arange(20)
    factual = dataset.split("test").take(rows)
    truth = dataset.truth("test", rows, {{"radius": factual["radius"] + 1}})
    assert isinstance(dataset, {classname})
    assert (truth["brightness"] < factual["brightness"]).all()""",
        tested_on="{name}",
        files=(("dataset/card.yaml.j2", "{module}.yaml"),),
    ),
    "metric": _Kind(
        "A metric of counterfactual answers.",
        "counterbench evaluate --model vae --suite quick --metrics {name},truth",
        "Mend `make_cells` and `update`, and say in `definition` and `blind_to` what it means; a suite of yours may list it with options.",
        """def test_doing_nothing_changes_nothing():
    import counterbench

    result = counterbench.evaluate("identity", "morphomnist", suite="quick", metrics=["{name}"], limit=20)
    assert isinstance(registry.metrics.get("{name}"), type)
    assert issubclass(registry.metrics.get("{name}"), {classname})
    assert all(number.value == 0 for number in result.record.numbers)""",
    ),
}
KINDS = tuple(_KINDS)


def create(kind: str, name: str, *, output: Path | None = None) -> list[Path]:
    """Write a package with one component, its tests and a README.

    Args:
        kind: one of :data:`KINDS`.
        name: under which counterbench will know it: small letters, digits and hyphens.
        output: the new folder; default: NAME, here.

    Returns:
        The files, in the order in which they are worth reading.

    Raises:
        ConfigError: for a name that cannot be one or is taken, or a folder that holds something.
    """
    module = _module(kind, name)
    folder = output or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} holds something already; give an empty folder with --output.")
    start = _KINDS[kind]
    classname = "".join(part.capitalize() for part in name.split("-"))
    words = {"name": name, "module": module, "classname": classname}
    group = {f"{kind}s": {name: f"{module}.{kind}:{classname}"}}
    if kind == "dataset":
        group["judges"] = {f"{name}-judge": f"{module}.{kind}:{classname}Judge"}
    context = {
        **words,
        "kind": kind,
        "stem": kind,
        "file": f"{kind}.py",
        "title": name.replace("-", " ").capitalize(),
        "described": start.described,
        "use": start.use.format(**words),
        "next": start.then.format(**words),
        "own_test": start.own_test.format(**words),
        "tested_on": start.tested_on.format(**words),
        "check_options": "",
        "entry_points": group,
        "data": "*.yaml" if start.files else "",
    }
    pages = {
        "README.md": "common/README.md.j2",
        f"{module}/{kind}.py": f"{kind}/{kind}.py.j2",
        **{f"{module}/{path.format(**words)}": template for template, path in start.files},
        "tests/test_contract.py": "common/test.py.j2",
        "pyproject.toml": "common/pyproject.toml.j2",
    }
    render = Environment(
        loader=PackageLoader("counterbench.scaffold.starts"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    written = []
    for path, template in pages.items():
        written.append(folder / path)
        write_text(folder / path, render.get_template(template).render(context).rstrip() + "\n")
    write_text(folder / module / "__init__.py", f'"""{start.described}"""\n')
    return written


def _module(kind: str, name: str) -> str:
    """The Python package for a component of this name."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(f"{name!r} cannot be a name here: use small letters, digits and hyphens, e.g. my-{kind}.")
    known = registry.KINDS[kind].names()
    if kind == "model":
        from counterbench.catalog.recipes import recipe_paths
        from counterbench.models.baselines import BASELINES

        known = sorted({*known, *BASELINES, *(recipe for _, recipe in recipe_paths())})
    if kind == "dataset":
        from counterbench import datasets

        known = datasets.names()
    if name in known:
        raise ConfigError(f"There is a {kind} {name!r} already; choose another name.")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or importlib.util.find_spec(module) is not None:
        raise ConfigError(
            f"A Python package {module!r} cannot be made, the name is taken; choose another, e.g. my-{name}."
        )
    return module
