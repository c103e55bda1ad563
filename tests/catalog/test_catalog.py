import json
import re
from pathlib import Path

import pytest
import yaml

from counterbench import catalog, datasets
from counterbench.catalog.cards import Card, card_paths, read_card
from counterbench.catalog.reading import KEYS, declared_in, read
from counterbench.catalog.recipes import ANY, Recipe, read_recipe, recipe_paths
from counterbench.catalog.suites import Suite, find_suite, suite_paths
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.plugins import registry

ROOT = Path(__file__).parents[2]


def test_every_declaration_reads_and_is_called_like_its_file():
    for name, path in card_paths().items():
        assert read_card(path).name == name
    for (dataset, name), path in recipe_paths().items():
        recipe = read_recipe(path)
        assert (recipe.dataset, recipe.name) == (dataset, name)
    for name, path in suite_paths().items():
        assert find_suite(name) == read(path, Suite)
    assert set(suite_paths()) >= {"quick", "standard"}


def test_every_recipe_builds_with_all_its_stages():
    from counterbench import models
    from counterbench.training import stages

    fitting = {ANY: ["scm-anm-4-4-0", "scm-discrete-4-4-0"]}  # recipes for any dataset
    listed = [(one, path) for (name, _), path in recipe_paths().items() for one in fitting.get(name, [name])]
    for dataset, path in listed:
        card = datasets.card(dataset)
        recipe = models.find_recipe(path.stem, card)[0]
        scm = models.build(recipe, card.graph, card.build_variables(), grammar=card.grammar)
        for name, entry in recipe.mechanisms.items():
            for stage in entry.training:
                stages.build(stage, scm, name=name)


def test_no_mechanism_is_written_twice_in_a_datasets_folder():
    """Recipes of one dataset share their attributes' mechanisms by extending one file; copies would drift apart."""
    for folder in {path.parent for path in recipe_paths().values()}:
        written = {}
        for path in sorted(folder.glob("*.yaml")):
            for key, value in yaml.compose(path.read_text(encoding="utf-8")).value:
                if key.value == "mechanisms":
                    written |= {id(block): (f"{path.name}: {name.value}", block) for name, block in value.value}
        blocks = {}
        for where, block in written.values():  # an alias is the very node that it stands for
            mechanism = yaml.safe_load(yaml.serialize(block))
            if "family" not in mechanism:
                continue  # what a recipe says otherwise than the one that it extends
            text = json.dumps(mechanism, sort_keys=True)
            assert text not in blocks, f"{folder}: {where} repeats {blocks[text]}"
            blocks[text] = where


def test_recipes_of_one_dataset_have_the_same_attribute_mechanisms():
    for dataset, image in {(name, datasets.card(name).image) for name, _ in recipe_paths() if name != ANY}:
        recipes = [read_recipe(path).mechanisms for path in recipe_paths(dataset).values()]
        if image:  # where there is none, the mechanisms of attributes are what is compared
            attributes = [{name: entry for name, entry in one.items() if name != image} for one in recipes]
            assert all(one == attributes[0] for one in attributes)


def test_recipes_say_what_published_records_say_of_them():
    """To the letter and in the same order, wherever its parts are written: what a recipe says goes into records and their hashes."""
    published = {}
    for path in (ROOT / "benchmarks" / "records").rglob("*.json"):
        inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"]
        if inputs["recipe"]:
            for mechanism in inputs["recipe"]["mechanisms"].values():
                # Records made before a family was renamed say its old name.
                mechanism["family"] = registry.mechanisms.renamed.get(mechanism["family"], mechanism["family"])
            published.setdefault((inputs["dataset"], inputs["model"]), []).append(json.dumps(inputs["recipe"]))
    assert len(published) >= 11
    for name, contents in published.items():
        assert json.dumps(read_recipe(recipe_paths()[name]).content()) in contents, name


def test_declarations_are_data_only():
    for name in ("models", "datasets", "benchmarks"):
        assert not list(catalog.section(name).rglob("__init__.py"))
    for name in ("models", "datasets"):
        assert not list(catalog.section(name).rglob("*.py"))


def test_unknown_section():
    with pytest.raises(ConfigError, match="no folder 'nothing'"):
        catalog.section("nothing")


@pytest.fixture
def card_text():
    return card_paths()["morphomnist"].read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "default_source: digits",
            "default_sorce: digits",
            "unknown key 'default_sorce'. Did you mean 'default_source'?",
        ),
        ("    unit: px", "    units: px", "unknown key 'variables.thickness.units'. Did you mean 'unit'?"),
        ("title: MorphoMNIST", "titel: MorphoMNIST", "'titel'"),
        (
            "default_source: digits",
            "default_source: digit",
            "default_source 'digit' is not among the sources: digits, mnist.",
        ),
        (
            "    parents: [thickness]\n",
            "    parents: [thicknes]\n",
            "unknown parent 'thicknes'. Did you mean 'thickness'?",
        ),
        ("    parents: [thickness]\n", "    parents: [image]\n", "has a cycle"),
        ("    range: [0.5, 7.0]\n", "", "a continuous variable needs the key 'range'"),
        ("    range: [0.5, 7.0]\n", "    range: [7.0, 0.5]\n", "is empty"),
        ("    kind: continuous\n", "    kind: vector\n", "a vector variable needs the key 'components'"),
        (
            "    kind: continuous\n",
            "    kind: vector\n    components: {a: [0, 1]}\n",
            "a vector cannot be set yet; say intervenable: false",
        ),
        (
            "    kind: continuous\n",
            "    kind: vector\n    components: {a: [0, 1]}\n    intervenable: false\n",
            "a vector has the ranges of its components, and none of them is periodic",
        ),
        (
            "    kind: continuous\n",
            "    kind: continuous\n    components: {a: [0, 1]}\n",
            "components belong to a vector; this variable is continuous",
        ),
        ("    kind: categorical", "    kind: categoric", "variables.digit.kind"),
        ("reader: morphomnist", "reader: [morphomnist", "is not valid YAML at line"),
        ("    range: [0.5, 7.0]\n", "    range: [0.5, .inf]\n", "should be a finite number (got inf)"),
        ("    shape: [1, 32, 32]", "    shape: [2, 32, 32]", "give 1 channel (grey) or 3 (colours)"),
        ("    shape: [1, 32, 32]", "    shape: [32, 32, 1]", "write [1, 32, 32]."),
        ("    shape: [1, 32, 32]", "    shape: [1, 0, 32]", "at least one pixel"),
        ("    shape: [1, 32, 32]", "    shape: [8, 32, 32, 1]", "write [1, 8, 32, 32]."),
        (
            "    shape: [1, 32, 32]",
            "    shape: [1, 8, 8, 32, 32]",
            "or four of a volume: channels, depth, height, width",
        ),
        ("    shape: [1, 32, 32]", "    shape: [32, 32]", "give three numbers"),
        ("    unit: px", "    unit: $px$", "'$px$' cannot be the name of a class or of a unit"),
        ("title: MorphoMNIST", "title: MorphoMNIST\ntitle: twice", "line 3, column 1: a key is there twice"),
        ("reader: morphomnist", "reader: 2020", "(got 2020; words that YAML reads as something else need quotes)"),
    ],
)
def test_a_broken_card_names_file_key_and_remedy(tmp_path, card_text, old, new, words):
    assert old in card_text
    path = tmp_path / "mine.yaml"
    path.write_text(card_text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_card(path)
    assert words in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [("", "got NoneType"), ("- a\n- b", "got list"), ("\xff", "UTF-8"), (None, "No such file")]
)
def test_files_that_are_no_declarations(tmp_path, content, words):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=words):
        read(path, Card)


def test_yaml_cannot_construct_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read(path, Recipe)


def test_recipes_say_which_option_is_unknown(tmp_path):
    from counterbench import models

    ((_, path),) = [item for item in recipe_paths("morphomnist").items() if item[0][1] == "vae"]
    card = datasets.card("morphomnist")
    for old, new, words in [
        ("latent: 16", "latents: 16", "has no option 'latents'. Did you mean 'latent'?"),
        ("hidden: 128", "hidden: many", "the option hidden is 'many'; input should be a valid integer"),
        ("encoder_channels: [16, 32, 64]", "encoder_channels: []", "the mechanism 'vae' of 'image' cannot be made"),
        ("family: vae", "family: vea", "Unknown mechanism 'vea'. Did you mean 'vae'?"),
        ("  image:\n", "  imaeg:\n", "has a mechanism for 'imaeg'. Did you mean 'image'?"),
    ]:
        broken = tmp_path / "r.yaml"
        text = path.read_text()
        assert old in text
        broken.write_text(text.replace(old, new, 1))
        with pytest.raises((ConfigError, UnknownNameError)) as caught:
            models.build(read_recipe(broken), card.graph, card.build_variables())
        assert words in str(caught.value)


def test_unknown_suite():
    with pytest.raises(UnknownNameError, match="Did you mean 'standard'"):
        find_suite("standart")


def test_a_card_may_extend_another(tmp_path):
    whole = datasets.card("adni-192")
    base = datasets.card("adni")
    assert whole.variables["image"].shape == (1, 192, 192)
    assert whole.variables["image"].parents == base.variables["image"].parents
    assert whole.sources == base.sources
    assert base.features
    assert not whole.features  # null leaves a part out
    path = tmp_path / "mine.yaml"
    path.write_text("extends: nobody\nname: mine\n")
    with pytest.raises(ConfigError, match=r"extends 'nobody', but there is no other card .*nobody\.yaml, and none"):
        read_card(path)
    path.write_text("extends: mine\nname: mine\n")
    with pytest.raises(ConfigError, match="no other card"):
        read_card(path)


def write(folder, **files):
    """Declarations as files `<name>.yaml` of a folder, which is returned."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def test_all_declarations_extend_alike(tmp_path):
    """From the same folder, through a chain, from the catalogue; a part that is null is left out, further down as well."""
    family, other = {"family": "spline_flow", "options": {"bins": 4, "bounded": True}}, {"family": "bernoulli"}
    write(
        tmp_path,
        _parts={"seed": 3, "citation": "c", "mechanisms": {"a": family, "b": other, "c": other}},
        middle={"extends": "_parts", "title": "t", "dataset": "d", "citation": None, "mechanisms": {"b": None}},
        mine={"extends": "middle", "name": "mine", "mechanisms": {"a": {"options": {"bins": 8, "bounded": None}}}},
        card={"extends": "adni", "name": "card", "features": None},
        suite={"extends": "standard", "name": "suite", "metrics": {"realism": None, "cost": {}}},
        vae={"extends": "vae", "dataset": "morphomnist", "seed": 5, "weights": None},
    )
    recipe = read_recipe(tmp_path / "mine.yaml")
    assert (recipe.name, recipe.title, recipe.seed, recipe.citation) == ("mine", "t", 3, "")
    assert {name: entry.options for name, entry in recipe.mechanisms.items()} == {"a": {"bins": 8}, "c": {}}
    assert read_card(tmp_path / "card.yaml").judges == datasets.card("adni").judges
    suite, standard = find_suite(str(tmp_path / "suite.yaml")), find_suite("standard")
    assert list(suite.metrics) == [name for name in standard.metrics if name != "realism"]
    shipped = read_recipe(recipe_paths()["morphomnist", "vae"])
    assert read_recipe(tmp_path / "vae.yaml") == shipped.model_copy(update={"seed": 5, "weights": {}})


@pytest.mark.parametrize(
    ("kind", "catalogue"), [(Card, "adni"), (Recipe, "vae"), (Suite, "standard")], ids=["card", "recipe", "suite"]
)
def test_what_cannot_be_extended_gets_a_sentence(kind, catalogue, tmp_path):
    called = kind.__name__.lower()
    dataset = {"dataset": "morphomnist"} if kind is Recipe else {}
    write(
        tmp_path,
        a={"extends": "b", **dataset},
        b={"extends": "a"},
        lost={"extends": "c"},
        empty=None,
        l={"extends": "empty"},
    )
    write(tmp_path, **{catalogue: {"extends": "b"}, "own": {"extends": "own"}, "list": {"extends": ["a"]}})
    for name, words in (
        ("a", f"b.yaml: extends 'a', which extends this {called} in turn (a.yaml -> b.yaml -> a.yaml)"),
        ("lost", f"lost.yaml: extends 'c', but there is no other {called} {tmp_path / 'c.yaml'}"),
        ("own", f"own.yaml: extends 'own', but there is no other {called}"),
        ("list", "list.yaml: extends: ['a'] cannot be a name"),
        ("l", "empty.yaml: expected keys and values, got NoneType"),
    ):
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / f"{name}.yaml", kind)
        assert words in str(caught.value)
    for path in ("../a", "/a", "_../a", "__a", "_", ""):
        write(tmp_path, outside={"extends": path, **dataset})
        with pytest.raises(ConfigError, match=r"outside\.yaml: extends: .* cannot be a name"):
            read(tmp_path / "outside.yaml", kind)


def test_a_recipe_looks_for_what_it_extends_among_those_of_its_dataset_alone(tmp_path):
    write(tmp_path, out={"extends": "vae", "dataset": "../models/morphomnist"}, none={"extends": "vae"})
    with pytest.raises(ConfigError, match=r"'\.\./models/morphomnist' cannot be a name"):
        read_recipe(tmp_path / "out.yaml")
    with pytest.raises(ConfigError, match="extends 'vae', but there is no other recipe"):
        read_recipe(tmp_path / "none.yaml")


def test_parts_that_recipes_share_are_no_recipes():
    from counterbench import models

    assert not [name for _, name in recipe_paths() if name.startswith("_")]
    with pytest.raises(UnknownNameError, match="Unknown model for morphomnist '_attributes'"):
        models.find_recipe("_attributes", datasets.card("morphomnist"))
    with pytest.raises(ConfigError, match="'name' is missing"):
        read_recipe(catalog.section("models") / "morphomnist" / "_attributes.yaml")


def test_what_a_file_declares_is_seen_by_its_keys(tmp_path):
    fields = {"recipe": set(Recipe.model_fields), "card": set(Card.model_fields), "suite": set(Suite.model_fields)}
    for kind, keys in KEYS.items():
        assert keys <= fields.pop(kind)
        assert not any(keys & other for other in fields.values())
        fields[kind] = set({"recipe": Recipe, "card": Card, "suite": Suite}[kind].model_fields)
    for name, path in (*card_paths().items(), *suite_paths().items(), *recipe_paths().items()):
        expected = "recipe" if isinstance(name, tuple) else "card" if name in card_paths() else "suite"
        assert declared_in(path) == expected
    for base, kind in (("quick", "suite"), ("adni", "card")):
        assert declared_in(write(tmp_path, mine={"extends": base, "name": "mine"}) / "mine.yaml") == kind


BAD_NAMES = ["../../x", "/x", "..", ".x", "a/b", "", " ", "a b", "a\nb", "a\x1b[0m", "$a$", "a" * 65, "-x", "né"]


def toy_card(**changes):
    one = {"description": "d", "licence": "none", "embedded": True}
    card = {
        "name": "mine",
        "title": "t",
        "description": "d",
        "reader": "toy",
        "variables": {"a": {"kind": "continuous", "range": [0, 1]}, "b": {"kind": "binary", "parents": ["a"]}},
        "default_source": "s",
        "sources": {"s": one},
    }
    return {
        **card,
        **{key: dict.fromkeys(value, one) if key == "sources" else value for key, value in changes.items()},
    }


def told(content, kind, tmp_path):
    """The one sentence that refuses a declaration."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    with pytest.raises(ConfigError) as caught:
        read(path, kind)
    sentence = str(caught.value).removeprefix(str(path))
    assert sentence.isprintable()
    assert len(sentence) < 400
    return sentence


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_no_names_are_refused_where_they_enter(name, tmp_path):
    variable = {"kind": "binary"}
    suite = {"name": name, "title": "t", "metrics": ["cost"]}
    recipe = {"name": "r", "title": "t", "dataset": "d", "mechanisms": {"a": {"family": "spline_flow"}}}
    for content, kind in (
        (toy_card(name=name), Card),
        (toy_card(sources=[name], default_source=name), Card),
        (suite, Suite),
        ({**recipe, "name": name}, Recipe),
        ({**recipe, "dataset": name}, Recipe),
        ({**recipe, "weights": {name: {"path": "w", "sha256": 64 * "0"}}}, Recipe),
    ):
        assert "cannot be a name; give 1 to 64 letters" in told(content, kind, tmp_path)
    for content, kind in (
        (toy_card(variables={name: variable}), Card),
        ({**recipe, "mechanisms": {name: {"family": "spline_flow"}}}, Recipe),
    ):
        assert "cannot be the name of a variable; give 1 to 64 letters" in told(content, kind, tmp_path)


@pytest.mark.parametrize("name", ["a.b", "id", "training"])
def test_names_that_are_none_of_a_variable(name, tmp_path):
    assert "cannot be the name of a variable" in told(toy_card(variables={name: {"kind": "binary"}}), Card, tmp_path)


@pytest.mark.parametrize("name", ["", " x", "x\ny", "$x$", "x" * 65, "x\x07"])
def test_class_names_are_one_line_without_mathematics(name, tmp_path):
    said = told(toy_card(variables={"a": {"kind": "categorical", "classes": ["no", name]}}), Card, tmp_path)
    assert "cannot be the name of a class" in said


def test_class_names_in_any_language_but_each_once(tmp_path):
    card = toy_card(variables={"a": {"kind": "categorical", "classes": ["Größe 5", "T2*-weighted", "病変"]}})
    assert Card.model_validate(card).variables["a"].classes[0] == "Größe 5"
    said = told(toy_card(variables={"a": {"kind": "ordinal", "classes": ["x", "y", "x"]}}), Card, tmp_path)
    assert "a: the class 'x' is given twice" in said


def test_an_image_alone_is_no_card_of_counterfactuals(tmp_path):
    variables = {"image": {"kind": "image", "shape": [1, 8, 8]}}
    assert "a counterfactual needs a variable that can be set" in told(toy_card(variables=variables), Card, tmp_path)


def test_extends_takes_the_name_of_a_card_and_no_path(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base")
    path = tmp_path / "sub" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("extends: ../base\nname: mine\n")
    with pytest.raises(ConfigError, match=r"extends: '\.\./base' cannot be a name"):
        read_card(path)


def test_a_message_repeats_a_line_of_what_was_given_at_most(tmp_path):
    long = "x" * 5000
    for content in (
        toy_card(default_source=long),
        toy_card(**{long: 1}),
        toy_card(title=[long] * 1000),
        toy_card(variables={"a": {"kind": "binary", "parents": [long]}}),
    ):
        told(content, Card, tmp_path)


def test_a_card_writes_a_network_once():
    for path in card_paths().values():
        hashes = re.findall(r"^ *sha256: (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(hashes) == len(set(hashes)), path
    smiling, eyeglasses = (datasets.card("celeba-simple").judges[name] for name in ("smiling", "eyeglasses"))
    for one, other in zip(smiling, eyeglasses, strict=True):
        assert one.quality != other.quality
        assert one.model_copy(update={"quality": other.quality}) == other


def test_a_vector_stands_in_cards_without_an_image(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: ellipse-point\nname: mine\nvariables: {image: {kind: image, shape: [1, 8, 8], parents: [point]}}\n"
    )
    with pytest.raises(ConfigError, match=r"point is a vector beside an image; .* Declare its numbers one by one"):
        read_card(path)
