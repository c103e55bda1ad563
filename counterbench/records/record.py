"""Records: one evaluated model, with every number and what is needed to trust it. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError

from counterbench.errors import ConfigError, RecordError, short
from counterbench.records.estimate import TARGETS, Direction, Estimate, Part, regret
from counterbench.records.subgroups import Subgroups
from counterbench.runtime.terminal import one_line
from counterbench.storage.files import read_bounded, write_text

SCHEMA_VERSION: Literal[5] = 5
EDITION = 1
"""Of the definitions. Whoever changes what a number means, or which questions are asked, raises it by one: records of one edition can be
compared whatever version of the package made them, and records of two cannot."""
RECORD, SAMPLES, TOTALS = "record.json", "samples.parquet", "totals.safetensors"
"""Files of an evaluation: its numbers, the scores per sample behind them, and their totals per independent unit."""

FLOORS = ("identity", "noise", "retrieve", "resample")
"""Baselines without learning: what they win is shown to be won by them."""
CEILINGS = ("truth", "oracle", "oracle_median", "real")
"""What nobody can be better than: the true counterfactual; the same with the luck drawn that no image shows, and the median of such draws;
real images with the counterfactual attributes."""

UNSTEADY = "answers depend on"
"""How the flag of a record begins whose model answers otherwise when it is asked in another way: it has no rank."""

NOT_SHOWN = "preservation is not shown"
"""How the flags of a record begin of whose numbers of preservation a copy, noise or another question says something else: those have no
rank."""
FOUND_BY_ASKING = (UNSTEADY, NOT_SHOWN)
"""How the flags begin that only asking a model again can find."""

DECLARED = (
    "unit",
    "direction",
    "kind",
    "role",
    "statistic",
    "bounds",
    "of_identity",
    "of_truth",
    "given",
    "depends_on_temperature",
    "preserves",
    "intervenes",
    "label",
)
"""What the metric says of a number: it travels in the record, so that whoever reads one knows no metric by its name."""


class Number(Estimate):
    """One number of the table."""

    metric: str
    quantity: str
    intervened: str = Field(
        description="the variable that was set; empty for none, 'a + b' for a pair and for two at once"
    )
    measured: str = Field(description="the variable that was measured; empty for the image itself")
    cycles: int = Field(description="how many null interventions were composed; 0 where it does not apply")
    space: str = Field("", description="distance or feature space; empty where it does not apply")
    unit: str
    direction: Direction = Field(description="what is better; one, zero and half mean close to that")
    kind: Literal["mean", "skill", "root", "timing", "peak"] = Field(
        "mean",
        description="ratio of sums over samples, 1 - that, its square root, or, without an interval, a mean or the largest",
    )
    role: Literal["headline", "detail", "diagnosis", "resource"] = Field(
        "headline",
        description="a detail is left out of the short table, a diagnosis says why a model answers as it does, a resource has no rank",
    )
    statistic: Literal["mean", "set", "pseudo"] = Field(
        "mean",
        description="of samples one by one; of samples whose values hang on the others; of the set alone, kept as pseudo-values",
    )
    bounds: tuple[float | None, float | None] = Field(
        (None, None), description="the least and the most that it can be by definition; null where there is no such end"
    )
    of_identity: float | None = Field(None, description="what doing nothing scores by definition")
    of_truth: float | None = Field(None, description="what the true counterfactual scores by definition")
    given: bool = Field(False, description="baselines are told what it measures, so that it says nothing about them")
    depends_on_temperature: bool = Field(False, description="compare only at the same pixel-noise temperature")
    preserves: bool = Field(
        False, description="it says that something stayed: ranked only among those who make the change that is asked"
    )
    intervenes: bool = Field(True, description="whether `intervened` was set; else the number relates to it")
    label: str = Field("", description="the quantity in words, where those are not its name")
    no_rank: str = Field("", description="why it is ranked on no board; empty if it may be")
    leaked: bool = Field(False, description="a judge behind this number was a training signal of the model")
    references: dict[str, Estimate] = Field(
        description="the same number for the baselines identity (floor), noise, retrieve, resample, truth, oracle and oracle_median (where a source "
        "can draw what no image shows), and for real images with the counterfactual attributes (ceiling)"
    )

    @property
    def key(self) -> tuple[str, str, str, str, int, str]:
        return (self.metric, self.quantity, self.intervened, self.measured, self.cycles, self.space)

    @property
    def declared(self) -> dict[str, object]:
        """What its metric says of it, whatever is evaluated."""
        return {name: getattr(self, name) for name in DECLARED}

    @property
    def detail(self) -> bool:
        """Whether it is left out of the short table."""
        return self.role == "detail"

    @property
    def regret(self) -> float:
        """How far from the best possible, so that lower is better whatever the direction."""
        return regret(self.value, self.direction)

    @property
    def floor(self) -> Estimate | None:
        return self.references.get("identity")

    @property
    def ceiling(self) -> Estimate | None:
        return self.references.get("truth") or self.references.get("real")


_FARTHER, _RARE = 2.0, 0.05


def judges_disagree(number: Number, known: Mapping[tuple[str, str, str, str, int, str], Number]) -> bool:
    """Whether the judges behind a number are more than twice as far apart as on the true answers (else on real images), and classes in
    more than one image of twenty: what they say together then hangs on which of them are asked.

    Args:
        number: of a record.
        known: all numbers of the record, by what they are about.
    """
    if not number.measured or number.quantity.startswith(("judges", "attribute")):
        return False
    metric, _, *about = number.key
    agreement = known.get((metric, "judges_agreement", *about))  # type: ignore[arg-type]
    apart = known.get((metric, "judges_spread", *about))  # type: ignore[arg-type]
    told = agreement or apart
    if told is None or told.ceiling is None:
        return False
    if agreement is None:
        return told.value > _FARTHER * told.ceiling.value
    return 1 - told.value > max(_FARTHER * (1 - told.ceiling.value), _RARE)


def beaten_by_nothing(record: Record) -> tuple[int, int]:
    """(numbers in which doing nothing is better, headline numbers in which it is not perfect by definition)."""
    compared = [
        number
        for number in record.numbers
        if number.role == "headline" and not number.given and number.floor is not None and not _won_by_nothing(number)
    ]
    beaten = sum(regret(n.floor.value, n.direction) < n.regret for n in compared if n.floor is not None)
    return beaten, len(compared)


def _won_by_nothing(number: Number) -> bool:
    """Whether doing nothing has the best possible value by definition."""
    if number.of_identity is None:
        return False
    best = {"lower": number.bounds[0], "higher": number.bounds[1], **TARGETS}[number.direction]
    return number.of_identity == best


class RowPart(Part):
    """One intervention in the row skill."""

    intervened: str
    by: Literal["truth", "estimate"] = Field(
        "truth", description="whether the truth says how good the answers are, or, where it is not known, an estimate"
    )
    skill: float | None = Field(
        description="truth skill or estimated skill: 1 - E / E0; null where it is not answered or not known"
    )
    bounded: float | None = Field(
        description="(E0 - E) / (E0 + E), or -1 where it is not answered; null where it does not count"
    )
    true_change: float | None = Field(
        description="mean distance of doing nothing from the truth; where it is not known, the size of the change that pinned models make"
    )
    estimated: float | None = Field(
        None, description="estimated skill, also where the truth is known; null where there is none"
    )
    left_out: str = Field("", description="why it does not count; empty where it does")


class RowSkillNumber(Estimate):
    """How much nearer to the truth than doing nothing: the mean over interventions of the bounded truth skill, else of the estimate."""

    parts: list[RowPart]
    references: dict[str, Estimate] = Field(description="the same of the baselines")


_SELDOM = {"exam_seed": None, "answers": None, "edition": 1}
"""Fields that came later: a record with these values has the hash that it had without them."""


class Inputs(Part):
    """Everything that decides the numbers. Two records with equal inputs answer the same questions with the same model."""

    model: str
    recipe: dict[str, Any]
    weights_sha256: str | None
    dataset: str
    source: str
    suite: str
    seed: int = Field(ge=0)
    exam_seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="draws test individuals that are in no public split; null for the public ones. Records are comparable only where it is the same",
    )
    limit: int | None = Field(ge=1)
    metrics: dict[str, dict[str, Any]] = Field(description="metric -> its options")
    references: int = Field(ge=1, description="real training images that answers are compared with")
    resamples: int = Field(ge=1)
    data: dict[str, str] = Field(
        description="SHA-256 of the card, of the test split, of the training split's attributes, and of the real images that answers are compared with"
    )
    plan: str = Field(description="SHA-256 of all questions")
    judges: dict[str, list[str]] = Field(description="variable -> what decides each judge's answers")
    features: dict[str, str] = Field(description="feature space -> what decides its vectors")
    answers: str | None = Field(
        None, description="SHA-256 of the kept answers that were judged; null where the model was asked"
    )
    plugins: dict[str, str] = Field(description="plug-in components in use -> SHA-256 of their source")
    counterbench: str = Field(description="version of the package")
    edition: int = Field(
        1, ge=1, description="of the definitions: records of the same one can be compared whatever the version"
    )

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, without later fields where they say what went without saying."""
        content = {k: v for k, v in self.model_dump(mode="json").items() if k not in _SELDOM or v != _SELDOM[k]}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Answered(Part):
    """Which questions of an exam answers from files are about."""

    rounds: list[dict[str, int]] = Field(
        description="of each round that is answered: questions asked, usable answers, and numbers of those that are not usable"
    )
    rounds_asked: int = Field(ge=1, description="rounds of the exam")
    left_out: list[str] = Field(description="kinds of question of the answered rounds that are not answered at all")
    claimed: bool = Field(description="whether attributes were claimed; if not, the true ones stand for them")


class Execution(Part):
    """What the last digits of a network's answers hang on besides the machine; not on how many processes shared the work."""

    threads: int = Field(ge=1, description="of the processor, of each process")
    batch: int = Field(ge=1, description="samples that were answered together")
    chunk: int = Field(ge=1, description="samples of a chunk, which one process answers and stores")


class Training(Part):
    """One of several trainings of a recipe whose mean a record is."""

    seed: int = Field(description="of the training")
    record: str = Field(description="hash of the inputs of its own record")
    weights_sha256: str | None
    row_skill: float | None = Field(description="of its own record; null where it has none")


class _Known:
    """What has been looked up in a record; it makes no record another one."""

    def __init__(self) -> None:
        self.of: Any = None
        self.by_key: dict[tuple[str, str, str, str, int, str], Number] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known)

    __hash__ = None  # type: ignore[assignment]


class Record(Part):
    """One evaluated model, or several trainings of one recipe as one row."""

    _known: _Known = PrivateAttr(default_factory=lambda: _Known())

    schema_version: Literal[5] = SCHEMA_VERSION
    title: str
    name: str | None = Field(
        None,
        description="what tables and boards call the model: as given with --name, else that of its folder; null for the name of the recipe, baseline or plug-in",
    )
    origin: Literal["model", "answers", "kept"] = Field(
        description="whether a model was asked, answers from files were judged, or a model's kept answers were judged again"
    )
    kept_answers: str | None = Field(
        None, description="SHA-256 of the model's answers that were kept beside this record, or that it was judged from"
    )
    coverage: Answered | None = Field(
        description="of answers from files: which questions they answer; null for a model"
    )
    trained_on: str | None = Field(description="source of the model's training data, as far as its manifest says")
    inputs: Inputs
    images: int = Field(ge=1, description="test images that were asked about")
    test_images: int = Field(ge=1, description="test images there are")
    questions: dict[str, int] = Field(description="questions of each kind; a chain of null interventions counts once")
    clusters: int = Field(description="independent units that were resampled for the intervals")
    pixel_temperature: float | None = Field(
        description="how much of the abducted pixel noise the model puts back, 0 to 1; null where pixel_noise is not declared"
    )
    pixel_noise: Literal["declared", "none", "unknown"] = Field(
        "unknown",
        description="whether pixel_temperature is declared, the model has no pixel noise, or nothing is known",
    )
    exact: bool = Field(False, description="whether a null intervention returns the model's input by construction")
    parameters: int
    training: dict[str, Any] = Field(
        description="what the model's manifest says: source, seed, epochs, limit, data; of one that was trained further on chosen rows, those rows and how many numbers moved"
    )
    group: list[Training] = Field(
        default_factory=list,
        description="trainings whose mean the numbers are, and whose chance is in the intervals; empty for one training",
    )
    row_skill: RowSkillNumber | None = Field(
        None,
        description="what orders a board: 0 for doing nothing, 1 for the truth, negative for what is farther; null where neither truth nor estimate is known",
    )
    numbers: list[Number]
    subgroups: list[Subgroups] = Field(
        default_factory=list, description="the same numbers of subgroups of the test images, as asked for with --by"
    )
    skipped: dict[str, str] = Field(description="metric -> why it could not be computed")
    seconds: dict[str, float] = Field(
        description="of models, judges and truth: of all processes together; total: of the wall clock"
    )
    execution: Execution | None = Field(None, description="how it was computed; null in records of earlier versions")
    device: str
    versions: dict[str, str]
    notes: list[str] = Field(default_factory=list, description="for people; nothing else is read from them")
    flags: list[str] = Field(default_factory=list, description="what a reader of a board must be warned of")

    @property
    def seeds(self) -> list[int]:
        """Training seeds behind it, as far as is known; empty for what was not trained."""
        if self.group:
            return [one.seed for one in self.group]
        seed = self.training.get("seed")
        return [seed] if isinstance(seed, int) else []

    @property
    def trainings_in_words(self) -> str:
        """How many trainings are behind it; empty for what was not trained."""
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"{len(self.group)} trainings (seeds {seeds})"
            if self.group
            else f"one training (seed {seeds})"
            if seeds
            else ""
        )

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a row that answers nothing, or of a ceiling."""
        return self.inputs.model in (*FLOORS, *CEILINGS)

    @property
    def left_out(self) -> list[str]:
        """What answers from files leave out of the exam, in words; nothing for a model."""
        if self.coverage is None:
            return []
        answered, asked = len(self.coverage.rounds), self.coverage.rounds_asked
        told = [f"rounds {answered + 1} to {asked} are not answered"] if answered < asked else []
        return told + ([f"left out: {', '.join(self.coverage.left_out)}"] if self.coverage.left_out else [])

    @property
    def partial(self) -> str:
        """Why this is only a part of a record; empty if it is whole."""
        if self.images < self.test_images:
            return f"{self.images:,} of {self.test_images:,} images"
        return "; ".join(self.left_out)

    @property
    def worst_cell(self) -> Number | None:
        """The lowest skill of an attribute: what this model brings about worst."""
        skills = [
            number for number in self.numbers if number.kind == "skill" and number.of_identity == 0 and number.measured
        ]
        return min(skills, key=lambda number: number.value, default=None)

    @property
    def by_key(self) -> dict[tuple[str, str, str, str, int, str], Number]:
        """Every number by what it is about."""
        known = self._known
        if known.of is not self.numbers:  # a copy may have others
            known.of, known.by_key = self.numbers, {number.key: number for number in self.numbers}
        return known.by_key

    @property
    def disputed(self) -> list[Number]:
        """Headline numbers whose judges disagree."""
        known = self.by_key
        return [number for number in self.numbers if not number.detail and judges_disagree(number, known)]

    @property
    def disputed_in_words(self) -> str:
        """On which variables judges disagree, and where; empty if on none."""
        places: dict[str, dict[str, None]] = {}
        for number in self.disputed:
            places.setdefault(number.measured, {})[f"do({number.intervened})"] = None
        return ", ".join(
            f"{name} under {' and '.join(where) if len(where) < 3 else f'{len(where)} interventions'}"
            for name, where in places.items()
        )

    @property
    def leaked(self) -> list[Number]:
        """Numbers of judges that the model was trained against."""
        return [number for number in self.numbers if number.leaked]


def called(record: Record) -> str:
    """A record's model as tables call it: the name that it was given, else the last part of what was asked for; never empty."""
    return one_line(record.name or Path(record.inputs.model).name) or "(no name)"


LONGEST_NAME = 60
"""Characters of a name that tables have room for."""


def require_name(name: str) -> str:
    """The name that a model is to be called by, without spaces around it.

    Raises:
        ConfigError: for one that no table could show.

    Examples:
        >>> require_name(" vae, 20 epochs ")
        'vae, 20 epochs'
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"{short(name)} is no name; give 1 to {LONGEST_NAME} characters on one line.")
    if name in (*FLOORS, *CEILINGS):
        raise ConfigError(f"{short(name)} is a baseline's name; give the model another one.")
    return name


def to_json(record: Record) -> str:
    """The record as it is stored: indented, one trailing newline, NaN as null."""
    return record.model_dump_json(indent=1) + "\n"


def write_record(record: Record, path: Path) -> None:
    """Store a record atomically."""
    write_text(path, to_json(record))


def file_of(path: Path) -> Path:
    """The record's file: the path itself, or the file in it if it is the folder of an evaluation."""
    return path / RECORD if path.is_dir() else path


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: if the file is missing, truncated, or not a record of this schema.
    """
    try:
        return Record.model_validate_json(read_bounded(path))
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        version = first["input"] if first["loc"] == ("schema_version",) else None
        if version in range(1, SCHEMA_VERSION):
            raise RecordError(
                f"{path} is a record of schema {version}, whose numbers were defined otherwise; make it again with this version: "
                "counterbench evaluate with the same model, dataset, suite and seed."
            ) from error
        place = one_line(".".join(str(part) for part in first["loc"]))[:80] or "the file"
        raise RecordError(
            f"{path} is not a record of schema {SCHEMA_VERSION}: {place}: {first['msg']}. If it was cut short, make it again "
            "with evaluate --overwrite always."
        ) from error


def json_schema() -> str:
    """The JSON schema of a record."""
    return json.dumps(Record.model_json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"
