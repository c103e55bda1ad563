"""Records in the schema of Every Eval Ever, the shared format for results of many evaluation libraries. Imports no torch.

Of every number the export keeps value, interval, unit, bounds, samples and baselines. Scores of single samples stay in the parquet file beside
the record: that schema's samples are prompts and replies.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterbench.errors import ConfigError
from counterbench.records.estimate import TARGETS, Estimate, regret
from counterbench.records.intervals import LEVEL
from counterbench.records.record import Number, Record, called, file_of, read_record
from counterbench.records.table import heading
from counterbench.storage.files import slug, write_text

SCHEMA = "0.3.0"
"""The version of the schema that is written."""
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
"""What an evaluator may be to who made the model."""
_BENCHMARK = "counterbench"
_METHOD = "bootstrap over independent units"


def export(
    record: Path, output: Path, *, developer: str, evaluator: str = "unknown", relationship: str = "other"
) -> Path:
    """Write a record as a file that a shared store of results takes: `data/counterbench/DEVELOPER/MODEL/UUID.json`.

    Args:
        record: file or folder of an evaluation.
        output: folder that becomes the root of `data/`.
        developer: who made the model; the store has a folder of theirs, so `unknown` will not do there.
        evaluator: who ran the evaluation.
        relationship: of the evaluator to the developer, one of :data:`RELATIONSHIPS`.

    Returns:
        The file; the same record gives the same name.

    Raises:
        RecordError: if it is no record.
        ConfigError: for a relationship that the schema does not know, and an empty name.
    """
    if relationship not in RELATIONSHIPS:
        raise ConfigError(f"{relationship!r} is no relationship; choose from {', '.join(RELATIONSHIPS)}.")
    if not developer.strip() or not evaluator.strip():
        raise ConfigError("A developer and an evaluator need a name.")
    path = file_of(record)
    read = read_record(path)
    content = converted(
        read, developer=developer, evaluator=evaluator, relationship=relationship, seconds=int(path.stat().st_mtime)
    )
    # The store wants a random UUID as the file's name; one made of the content keeps two exports of a record from being two results.
    name = uuid.uuid5(uuid.NAMESPACE_OID, read.inputs.hash).bytes
    file = (
        output / "data" / _BENCHMARK / slug(developer) / slug(called(read)) / f"{uuid.UUID(bytes=name, version=4)}.json"
    )
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return file


def converted(record: Record, *, developer: str, evaluator: str, relationship: str, seconds: int) -> dict[str, Any]:
    """A record as the schema's object.

    Args:
        record: what to convert.
        developer: who made the model.
        evaluator: who ran the evaluation.
        relationship: of the evaluator to the developer.
        seconds: when the file of the record was written, since 1970.
    """
    model = f"{developer}/{called(record)}"
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{_BENCHMARK}/{model}/{record.inputs.hash}",
        "retrieved_timestamp": str(seconds),
        "source_metadata": {
            "source_name": _BENCHMARK,
            "source_type": "evaluation_run",
            "source_organization_name": evaluator,
            "evaluator_relationship": relationship,
            "additional_details": _words({"record": record.inputs.hash, "flags": record.flags, "notes": record.notes}),
        },
        "eval_library": {
            "name": _BENCHMARK,
            "version": record.inputs.counterbench,
            "additional_details": _words(
                {
                    "edition": record.inputs.edition,
                    "versions": record.versions,
                    "plugins": record.inputs.plugins,
                }
            ),
        },
        "model_info": {
            "name": called(record),
            "id": model,
            "developer": developer,
            "additional_details": {
                "deployment_type": "self_deployed" if record.origin == "model" else "unknown",
                "model_availability": "unknown",
                **_words(
                    {
                        "title": record.title,
                        **_fingerprints(record),
                        "parameters": record.parameters,
                        "trained_on": record.trained_on,
                        "training_seeds": record.seeds,
                        "recipe": record.inputs.recipe,
                    }
                ),
            },
        },
        "evaluation_results": _results(record),
    }


def _fingerprints(record: Record) -> dict[str, Any]:
    """What tells the model apart: of several trainings the weights of each; of answers from files their own fingerprint."""
    if record.group:
        return {"weights_sha256": [one.weights_sha256 for one in record.group]}
    return {"answers_sha256" if record.origin == "answers" else "weights_sha256": record.inputs.weights_sha256}


def _results(record: Record) -> list[dict[str, Any]]:
    inputs = record.inputs
    exam = f"{inputs.dataset}/{inputs.source}, suite {inputs.suite}"
    data = {
        "dataset_name": f"{inputs.dataset}/{inputs.source}",
        "source_type": "other",
        "additional_details": _words(
            {
                "images": record.images,
                "test_images": record.test_images,
                "questions": record.questions,
                "plan_sha256": inputs.plan,
                "data_sha256": inputs.data,
                "judges": inputs.judges,
                "seed": inputs.seed,
                "exam_seed": inputs.exam_seed,
            }
        ),
    }

    def result(identity: str, name: str, metric: dict[str, Any], score: dict[str, Any]) -> dict[str, Any]:
        return {
            "evaluation_result_id": identity,
            "evaluation_name": f"{exam}: {name}",
            "source_data": data,
            "metric_config": {"score_type": "continuous", **metric},
            "score_details": score,
        }

    results = []
    skill = record.row_skill
    if skill is not None:
        metric = {
            "metric_id": f"{_BENCHMARK}.row_skill",
            "metric_name": "row skill",
            "metric_kind": "skill",
            "evaluation_description": "how much nearer to the true counterfactuals than doing nothing: 0 doing nothing, 1 the truth",
            "lower_is_better": False,
            "min_score": -1.0,
            "max_score": 1.0,
        }
        results.append(result("row_skill", "row skill", metric, _score(skill, skill.value, record, skill.references)))
    for number in record.numbers:
        identity = "/".join(map(str, number.key))
        results.append(result(identity, heading(number), _metric(number), _of_number(number, record)))
    return results


def _metric(number: Number) -> dict[str, Any]:
    """What a number is. The schema knows less and more as better: of what is best in the middle, it gets the distance from there."""
    aimed = number.direction in TARGETS
    least, most = (0.0, None) if aimed else number.bounds
    about = {
        "intervened": number.intervened,
        "measured": number.measured,
        "cycles": number.cycles,
        "space": number.space,
    }
    return {
        "metric_id": f"{_BENCHMARK}.{number.metric}.{number.quantity}{'.distance_from_best' if aimed else ''}",
        "metric_name": heading(number),
        "metric_kind": number.kind,
        "metric_unit": number.unit or "none",
        "metric_parameters": {key: value for key, value in about.items() if value not in ("", 0)},
        "lower_is_better": number.direction != "higher",
        "min_score": "-Infinity" if least is None else least,
        "max_score": "Infinity" if most is None else most,
        "additional_details": _words(
            {
                "role": number.role,
                "leaked": number.leaked,
                "no_rank": number.no_rank,
                "best": TARGETS.get(number.direction),
                "of_identity": number.of_identity,
                "of_truth": number.of_truth,
            }
        ),
    }


def _of_number(number: Number, record: Record) -> dict[str, Any]:
    if number.direction not in TARGETS:
        return _score(number, _within(number), record, number.references)
    # The interval is of the value, not of its distance: it stays in the details.
    own = {"value": number.value, "low": number.low, "high": number.high}
    references = {name: regret(end.value, number.direction) for name, end in number.references.items()}
    return {"score": regret(number.value, number.direction), "details": _words({**own, **references})}


def _within(number: Number) -> float:
    """The value, where rounding has carried it over its end (1.0000000000000002) the end."""
    least, most = number.bounds
    for end in (least, most):
        if end is not None and math.isclose(number.value, end, rel_tol=1e-9, abs_tol=1e-12):
            return end
    return number.value


def _score(estimate: Estimate, value: float, record: Record, references: Mapping[str, Estimate]) -> dict[str, Any]:
    score: dict[str, Any] = {"score": value, "details": _words({name: end.value for name, end in references.items()})}
    if estimate.low is not None and estimate.high is not None:
        ends = {"lower": estimate.low, "upper": estimate.high, "confidence_level": LEVEL, "method": _METHOD}
        score["uncertainty"] = {
            "confidence_interval": ends,
            "num_samples": estimate.n,
            "num_bootstrap_samples": record.inputs.resamples,
        }
    return score


def _words(details: Mapping[str, Any]) -> dict[str, str]:
    """Details as the schema wants them: all are text; what is not known or empty is left out."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in details.items()
        if value is not None and value is not False and value not in ("", [], {})
    }
