"""Dataset cards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from counterbench.catalog import declarations, section
from counterbench.catalog.names import ClassName, Name, Unit, VariableName
from counterbench.catalog.reading import Declaration, read
from counterbench.catalog.recipes import Kind, MechanismEntry
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Ordinal, Variable, Vector
from counterbench.errors import ConfigError, CounterbenchError, UnknownNameError, short

if TYPE_CHECKING:
    from counterbench.causal.phrases import Grammar


class VariableEntry(Declaration):
    """One variable of a card."""

    kind: Kind
    parents: tuple[str, ...] = ()
    description: str = ""
    unit: Unit = ""
    range: tuple[float, float] | None = None
    components: dict[VariableName, tuple[float, float]] = Field(default_factory=dict)
    """Of a vector: name and range of every number."""
    classes: tuple[ClassName, ...] = ()
    shape: tuple[int, ...] | None = None
    """Of an image: channels, height, width; of a volume channels, depth, height, width."""
    intervenable: bool = True
    periodic: bool = False
    """Of a continuous variable: whether its range is one turn, after which it begins again."""
    changes_individual: bool = False
    """Whether setting it makes somebody else of the individual: such an intervention orders no board."""

    @model_validator(mode="after")
    def _complete(self) -> VariableEntry:
        needed = {
            "continuous": "range",
            "categorical": "classes",
            "ordinal": "classes",
            "vector": "components",
            "image": "shape",
        }.get(self.kind)
        if needed and not getattr(self, needed):
            raise ValueError(f"a {self.kind} variable needs the key {needed!r}.")
        if self.components and self.kind != "vector":
            raise ValueError(f"components belong to a vector; this variable is {self.kind}.")
        if self.kind == "vector" and self.intervenable:
            raise ValueError("a vector cannot be set yet; say intervenable: false, or declare its numbers one by one.")
        if self.kind == "vector" and (self.range or self.periodic):
            raise ValueError("a vector has the ranges of its components, and none of them is periodic.")
        if self.shape is not None:
            _require_picture(self.shape)
        return self

    def build(self, name: str) -> Variable:
        if self.kind == "continuous":
            assert self.range is not None
            return Continuous(name, *self.range, unit=self.unit, periodic=self.periodic)
        if self.kind == "vector":
            return Vector(
                name, tuple(Continuous(part, *ends, unit=self.unit) for part, ends in self.components.items())
            )
        if self.kind == "image":
            assert self.shape is not None
            return Image(name, *self.shape)
        if self.kind == "binary":
            return Binary(name)
        return (Categorical if self.kind == "categorical" else Ordinal)(name, classes=self.classes)


def _require_picture(shape: tuple[int, ...]) -> None:
    if len(shape) not in (3, 4):
        raise ValueError(
            f"shape {list(shape)[:8]} is not channels, height, width of an image; give three numbers, or four of a volume: channels, "
            "depth, height, width."
        )
    channels, *sides = shape
    if min(shape) >= 1 and channels in (1, 3):
        return
    axes = "channels, height, width of an image" if len(shape) == 3 else "channels, depth, height, width of a volume"
    said = f"shape {list(shape)} is not {axes}"
    if min(shape) >= 1 and sides[-1] in (1, 3):
        raise ValueError(f"{said}; write [{', '.join(map(str, (sides[-1], channels, *sides[:-1])))}].")
    raise ValueError(f"{said}; give 1 channel (grey) or 3 (colours), and at least one pixel.")


class TableEntry(Declaration):
    """Where the reader `table` finds the rows and images of a source; paths are relative to --data-dir, or to the card."""

    csv: str
    images: str = "."
    """Folder of the images."""
    columns: dict[str, str] = Field(default_factory=dict)
    """variable -> its column, where the names differ; also `image` (default: file), `split` and `group`."""


class SourceEntry(Declaration):
    """Where the pixels come from."""

    description: str
    licence: str
    citation: str = ""
    embedded: bool
    sizes: dict[str, int] = Field(default_factory=dict)
    table: TableEntry | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """What the reader needs to know about this source."""
    hidden: dict[VariableName, tuple[VariableName, ...]] = Field(default_factory=dict)
    """Common cause that is in no table -> the variables that it acts on. No model is shown it, and the truth knows it."""


class Instrument(Declaration):
    """Something that looks at images, as a card pins it."""

    options: dict[str, Any] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()
    """Whose images it can read; empty for those of all sources."""
    weights: str | None = None
    sha256: str | None = None
    quality: dict[str, dict[str, float]] = Field(default_factory=dict)
    """source -> name of a figure -> value, on real test images."""
    note: str = ""

    @model_validator(mode="after")
    def _pinned(self) -> Instrument:
        if (self.weights is None) != (self.sha256 is None):
            raise ValueError("weights and sha256 go together: weights are pinned by their hash.")
        return self


class JudgeEntry(Instrument):
    """How one variable is measured in an image."""

    judge: str
    sensitivity: dict[str, dict[str, float]] = Field(default_factory=dict)
    """source -> what is done to real test images -> the judge's error then: in the variable's unit, of classes the share of wrong ones."""
    by_source: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """source -> options for that source, e.g. a calibration."""


class SegmenterEntry(Instrument):
    """How the parts of an image are found."""

    segmenter: str


class FeatureEntry(Instrument):
    """What a feature space, or a recogniser of individuals, needs to know about a dataset."""


class ReferenceEntry(Declaration):
    """A fitted causal model of the attributes: what follows from an intervention where the truth is not known."""

    mechanisms: dict[VariableName, MechanismEntry]
    """Of every attribute, as in a recipe."""
    weights: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    note: str = ""


class WordingEntry(Declaration):
    """How some values of a variable are said."""

    say: tuple[str, ...] = Field(min_length=1)
    """Words that mean the same, the usual one first."""
    value: str | None = None
    """The class that is called so."""
    to: float | None = None
    """Of a quantity: the largest value that is called so; left out for all that are larger."""


class SentenceEntry(Declaration):
    """Ways to say the same."""

    say: tuple[str, ...] = Field(min_length=1)
    """Text with {names} of variables, the usual one first."""
    when: dict[VariableName, str] = Field(default_factory=dict)
    """variable -> its class, for which it is said."""


class GrammarEntry(Declaration):
    """Captions of varied wording, and the numbers of their words."""

    words: dict[VariableName, tuple[WordingEntry, ...]] = Field(min_length=1)
    sentences: tuple[SentenceEntry, ...] = Field(min_length=1)
    vocabulary: tuple[str, ...] = Field(min_length=1)
    """Every word; its place is its number."""
    subject: VariableName = ""
    """The variable whose words name what a caption is about, such as the lesion."""

    def build(self, variables: Mapping[str, Variable]) -> Grammar:
        """The grammar of variables.

        Raises:
            ConfigError: for what does not fit together.
        """
        from counterbench.causal.phrases import Grammar, Sentence, Wording  # brings torch

        words = {
            name: [Wording(entry.say, entry.value, entry.to) for entry in listed] for name, listed in self.words.items()
        }
        sentences = [Sentence(entry.say, entry.when) for entry in self.sentences]
        return Grammar(variables, words, sentences=sentences, vocabulary=self.vocabulary, subject=self.subject)


class RoleEntry(Declaration):
    """What else the samples of a dataset carry, for metrics and recipes that need it."""

    description: str
    sources: tuple[str, ...]
    """The sources that have it."""
    classes: tuple[str, ...] = ()
    """What its numbers mean."""
    template: str = ""
    """Of a caption: text with {names} of variables."""
    grammar: GrammarEntry | None = None
    """Of a caption whose wording varies, instead of a template."""
    owned: dict[VariableName, tuple[str, ...]] = Field(default_factory=dict)
    """Of a mask: variable -> the parts that it changes directly; what its descendants change is theirs. A variable that is left out owns
    none, and so moves nothing by itself."""
    by: tuple[VariableName, ...] = ()
    """Of boxes: the variables whose interventions act inside of them."""


Role = Literal["identity", "domain", "mask", "boxes", "label", "caption"]


class Card(Declaration):
    """A dataset: its variables, graph, sources and judges."""

    name: Name
    title: str
    description: str
    reader: str
    variables: dict[VariableName, VariableEntry]
    sources: dict[Name, SourceEntry]
    default_source: str
    group: str | None = None
    """What several samples may share (a subject, a base digit); intervals are clustered by it."""
    truth: str = ""
    judges: dict[str, tuple[JudgeEntry, ...]] = Field(default_factory=dict)
    segmenters: tuple[SegmenterEntry, ...] = ()
    """Find the parts of the role `mask`; of several for a source, the first one counts."""
    features: dict[str, tuple[FeatureEntry, ...]] = Field(default_factory=dict)
    """feature space -> its options and pinned weights for this dataset: one entry, or several for different sources."""
    recognisers: dict[str, tuple[FeatureEntry, ...]] = Field(default_factory=dict)
    """recogniser of individuals -> its options and pinned weights for this dataset, likewise."""
    reference_scm: dict[Name, ReferenceEntry] = Field(default_factory=dict)
    """source -> what answers are held against where no true counterfactual attributes are known."""
    typical_change: dict[Name, dict[VariableName, float]] = Field(default_factory=dict)
    """source -> intervened variable -> mean distance in grey levels between the answers of pinned models and their null answers: the
    scale of the estimated skill. `counterbench typical-change` writes it."""
    joint: tuple[tuple[str, str], ...] = Field((), max_length=6)
    """Pairs of variables that are set at once, by suites that ask so."""
    roles: dict[Role, RoleEntry] = Field(default_factory=dict)
    """identity: who it is; domain: under what conditions (a scanner); mask: parts of the image; boxes: where something is; label:
    whether it is there; caption: a sentence."""
    limits: tuple[str, ...] = ()
    citation: str = ""
    path: Path | None = None

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path:
        return section("datasets")

    @field_validator("features", "recognisers", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        """An entry alone is a list of one."""
        if not isinstance(given, Mapping):
            return given
        return {name: entry if isinstance(entry, (list, tuple)) else [entry] for name, entry in given.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        if self.default_source not in self.sources:
            raise ValueError(
                f"default_source {short(self.default_source)} is not among the sources: {', '.join(self.sources)}."
            )
        try:
            self.graph, self.build_variables()
        except CounterbenchError as error:
            raise ValueError(str(error)) from error
        self._require_sources()
        self._require_pairs()
        images = [name for name, entry in self.variables.items() if entry.kind == "image"]
        if len(images) > 1:
            raise ValueError(f"a card declares one image, or none; this one has {len(images)}.")
        if images and len(self.variables) == 1:
            raise ValueError("this card declares an image alone; a counterfactual needs a variable that can be set.")
        vectors = [name for name, entry in self.variables.items() if entry.kind == "vector"]
        if images and vectors:
            raise ValueError(
                f"{vectors[0]} is a vector beside an image; files of questions and matching of images take single numbers. Declare its "
                "numbers one by one."
            )
        if not images and (self.judges or self.features or self.recognisers):
            raise ValueError("judges, recognisers and feature spaces look at an image, and this card declares none.")
        return self

    def _require_sources(self) -> None:
        """What is said of sources must be said of sources there are."""
        said = {f"judge of {name}": entry.sources for name, entries in self.judges.items() for entry in entries}
        for what, pinned in (("feature space", self.features), ("recogniser", self.recognisers)):
            said |= {f"{what} {name}": sum((one.sources for one in entries), ()) for name, entries in pinned.items()}
        said |= {f"segmenter {entry.segmenter}": entry.sources for entry in self.segmenters}
        said |= {f"role {name}": entry.sources for name, entry in self.roles.items()}
        self._require_parts()
        self._require_hidden()
        said |= {"reference SCM": tuple(self.reference_scm), "typical_change": tuple(self.typical_change)}
        for what, sources in said.items():
            if unknown := set(sources) - set(self.sources):
                raise ValueError(
                    f"{what}: no source {short(sorted(unknown)[0])} here; there is {', '.join(self.sources)}."
                )

    def _require_hidden(self) -> None:
        """A hidden cause has a name of its own, and acts on variables."""
        for source, entry in self.sources.items():
            for cause, moved in entry.hidden.items():
                if cause in self.variables:
                    raise ValueError(f"source {source}: hidden {short(cause)} is a variable, so it is not hidden.")
                if unknown := set(moved) - set(self.variables):
                    raise ValueError(
                        f"source {source}: hidden {cause} acts on {short(sorted(unknown)[0])}; there is {', '.join(self.variables)}."
                    )

    def _require_parts(self) -> None:
        """What owns parts must be variables, and the parts must be those of the mask."""
        for role, entry in self.roles.items():
            if unknown := set(entry.by) - set(self.variables):
                raise ValueError(f"role {role}: by {short(sorted(unknown)[0])}; there is {', '.join(self.variables)}.")
        mask = self.roles.get("mask", RoleEntry(description="", sources=()))
        for name, parts in mask.owned.items():
            if name not in self.variables:
                raise ValueError(f"role mask: owned by {short(name)}; there is {', '.join(self.variables)}.")
            if unknown := set(parts) - set(mask.classes):
                raise ValueError(
                    f"role mask: {name} owns {short(sorted(unknown)[0])}; there is {', '.join(mask.classes) or 'no part'}."
                )

    def _require_pairs(self) -> None:
        """What is set at once must be two variables that can be set, each two once."""
        known: set[frozenset[str]] = set()
        for a, b in self.joint:
            if a == b or frozenset((a, b)) in known:
                raise ValueError(f"joint: {short(a)} and {short(b)}: name two variables, and each two once.")
            if unknown := {a, b} - set(self.intervenable):
                raise ValueError(
                    f"joint: {short(sorted(unknown)[0])} cannot be set here; there is {', '.join(self.intervenable)}."
                )
            known.add(frozenset((a, b)))

    def pinned(self, entries: Mapping[str, tuple[FeatureEntry, ...]], name: str, source: str) -> FeatureEntry | None:
        """What is pinned under a name of `features` or `recognisers` for a source; None where there are entries, and none for it."""
        listed = entries.get(name, (FeatureEntry(),))
        return next((entry for entry in listed if not entry.sources or source in entry.sources), None)

    @property
    def graph(self) -> CausalGraph:
        return CausalGraph({name: entry.parents for name, entry in self.variables.items()})

    def build_variables(self) -> dict[str, Variable]:
        """The variables, in the order of the graph."""
        return {name: self.variables[name].build(name) for name in self.graph.order}

    @cached_property
    def grammar(self) -> Grammar | None:
        """What the captions of this dataset are made by; None where they do not vary.

        Raises:
            ConfigError: for a grammar that does not fit the variables.
        """
        caption = self.roles.get("caption")
        return caption.grammar.build(self.build_variables()) if caption and caption.grammar else None

    @property
    def grammar_hash(self) -> str:
        """SHA-256 of what the captions are made by; of nothing where they do not vary."""
        caption = self.roles.get("caption")
        said = caption.grammar.model_dump_json() if caption and caption.grammar else ""
        return hashlib.sha256(said.encode()).hexdigest()

    def carried(self, source: str) -> dict[Role, RoleEntry]:
        """The roles that the samples of a source carry."""
        return {role: entry for role, entry in self.roles.items() if source in entry.sources}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of an image, the first one that of the background; none for a dataset without the role `mask`."""
        mask = self.roles.get("mask")
        return mask.classes if mask else ()

    def parts_of(self, intervened: Collection[str]) -> tuple[str, ...]:
        """The parts of the mask that an intervention may change: those that belong to what is set, or to any descendant of it."""
        mask = self.roles.get("mask")
        moved = {*intervened, *self.graph.descendants(intervened)}
        if mask is None:
            return ()
        return tuple(part for part in mask.classes if any(part in mask.owned.get(name, ()) for name in moved))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides numbers: variables and graph, reader, groups, grammar, what owns parts and acts in boxes; not of words."""
        # Keys that came later count only where they say something: cards without them stay what they were.
        variables = {
            name: entry.model_dump(mode="json", exclude={"description"} | ({"components"} - {*entry.model_fields_set}))
            for name, entry in self.variables.items()
        }
        decisive = {"name": self.name, "reader": self.reader, "group": self.group, "variables": variables}
        for role, entry in self.roles.items():
            said = entry.model_dump(mode="json", include={"grammar", "owned", "by"}, exclude_defaults=True)
            if said:
                decisive[f"role {role}"] = said
        decisive |= {f"source {name}": source.options for name, source in self.sources.items() if source.options}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @property
    def image(self) -> str:
        """Name of the image variable; empty for a dataset without images."""
        return next((name for name, entry in self.variables.items() if entry.kind == "image"), "")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Channels, height and width of the image, of a volume channels, depth, height and width; zeros for a dataset without images."""
        return (self.variables[self.image].shape if self.image else None) or (0, 0, 0)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of all variables but the image, in the order of the graph."""
        return tuple(name for name in self.graph.order if name != self.image)

    @property
    def intervenable(self) -> tuple[str, ...]:
        """Names of the attributes that a plan may set."""
        return tuple(name for name in self.attributes if self.variables[name].intervenable)

    def weights_of(self, entry: Instrument | ReferenceEntry) -> Path | None:
        """The file that a judge, feature space or reference SCM of this card is pinned to, or None.

        Raises:
            ConfigError: for a card that names weights but was not read from a file.
        """
        if entry.weights is None:
            return None
        if Path(entry.weights).is_absolute():
            return Path(entry.weights)
        if self.path is None:
            raise ConfigError(f"Card {self.name!r} names weights but was not read from a file; set its `path`.")
        return Path(self.path).parent / entry.weights

    def source(self, name: str | None) -> str:
        """`name`, or the default; UnknownNameError for one that the card does not declare."""
        chosen = name or self.default_source
        if chosen not in self.sources:
            raise UnknownNameError(f"source of {self.name}", chosen, self.sources)
        return chosen


def card_paths() -> dict[str, Path]:
    """Every card of the catalogue: name -> file."""
    return {path.stem: path for path in declarations(section("datasets"))}


def read_card(path: Path) -> Card:
    """Read a card from a file."""
    return read(path, Card).model_copy(update={"path": path})
