import pytest
import yaml

from counterbench import catalog, datasets
from counterbench.catalog.cards import Card, card_paths, read_card
from counterbench.catalog.reading import read
from counterbench.catalog.recipes import Recipe, read_recipe, recipe_paths
from counterbench.catalog.suites import Suite, find_suite, suite_paths
from counterbench.errors import ConfigError, UnknownNameError


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

    for (dataset, _), path in recipe_paths().items():
        card, recipe = datasets.card(dataset), read_recipe(path)
        scm = models.build(recipe, card.graph, card.build_variables())
        for name, entry in recipe.mechanisms.items():
            for stage in entry.training:
                stages.build(stage, scm, name, 0)


def test_recipes_of_one_dataset_share_their_attribute_mechanisms():
    """Defect 23 of the anchor: one of three models had another mechanism for a class."""
    shared = {}
    for (dataset, _), path in recipe_paths().items():
        image = datasets.card(dataset).image
        if not image:  # there the mechanisms of attributes are what is compared
            continue
        attributes = {name: entry for name, entry in read_recipe(path).mechanisms.items() if name != image}
        assert shared.setdefault(dataset, attributes) == attributes


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
        ("    kind: categorical", "    kind: categoric", "variables.digit.kind"),
        ("reader: morphomnist", "reader: [morphomnist", "is not valid YAML at line"),
        ("    range: [0.5, 7.0]\n", "    range: [0.5, .inf]\n", "should be a finite number (got inf)"),
        ("    shape: [1, 32, 32]", "    shape: [2, 32, 32]", "give 1 channel (grey) or 3 (colours)"),
        ("    shape: [1, 32, 32]", "    shape: [32, 32, 1]", "write [1, 32, 32]."),
        ("    shape: [1, 32, 32]", "    shape: [1, 0, 32]", "at least one pixel"),
        (
            "    shape: [1, 32, 32]",
            "    shape: [1, 8, 32, 32]",
            "a volume; mechanisms, judges, feature spaces, pictures",
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
        ("  digit:\n", "  digits:\n", "has a mechanism for 'digits'. Did you mean 'digit'?"),
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
    recipe = {"name": "r", "title": "t", "dataset": "d", "mechanisms": {"a": {"family": "flow"}}}
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
        ({**recipe, "mechanisms": {name: {"family": "flow"}}}, Recipe),
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
