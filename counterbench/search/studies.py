"""A study: trials that Optuna chooses, kept in its own journal, which several processes and machines may share."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterbench.plugins.extras import require_extra

JOURNAL = "journal.log"


@dataclass(frozen=True)
class Search:
    """A search that is kept in a file, and goes on wherever it was interrupted.

    Args:
        folder: of the journal.
        name: of the study in it.
        directions: of the objectives, `lower` or `higher`.
        sampler: nsga2, tpe or random.
        population: of NSGA-II.
        seed: of the sampler.

    Raises:
        UnavailableError: without Optuna, when it is used.
    """

    folder: Path
    name: str
    directions: Sequence[str]
    sampler: str = "nsga2"
    population: int = 6
    seed: int = 0

    def study(self) -> Any:
        """The study, from the journal, or a new one in it."""
        require_extra("tune", "counterbench tune")
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self.folder / JOURNAL))),
                study_name=self.name,
                directions=["minimize" if way == "lower" else "maximize" for way in self.directions],
                sampler=self._sampler(0),
                load_if_exists=True,
            )

    def _sampler(self, number: int) -> Any:
        """What chooses the trial of a number: its chance hangs on the number alone, not on who chose those before."""
        import optuna

        seed = (self.seed * 100_003 + number) % 2**32
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return optuna.samplers.NSGAIISampler(population_size=self.population, seed=seed)

    def run(
        self,
        count: int,
        choose: Callable[[Any], Any],
        score: Callable[[Any, int], Sequence[float] | None],
        *,
        free: Callable[[int], Any],
    ) -> None:
        """Make trials until there are so many, those first that somebody has begun and left.

        Args:
            count: how many in all.
            choose: trial -> what is tried; None where the choice is empty, which costs nothing and does not count.
            score: (what is tried, number of the trial) -> the objectives; None where the trial failed.
            free: number of a trial -> a context that says whether it is this process's.
        """
        study = self.study()
        for number in self._open(study, count):
            with free(number) as ours:
                if not ours:
                    continue
                study.sampler = self._sampler(number)
                trial = _trial(study, number)
                if trial is None:
                    continue  # done meanwhile
                tried = choose(trial)
                if tried is None:
                    study.tell(trial, state=_state("PRUNED"))
                    continue
                values = score(tried, number)
                study.tell(trial, list(values) if values else None, state=None if values else _state("FAIL"))

    def open_trials(self) -> list[int]:
        """Numbers of trials that have been begun and are not done."""
        return [trial.number for trial in self.study().get_trials() if trial.state.name == "RUNNING"]

    def _open(self, study: Any, count: int) -> Iterator[int]:
        """Numbers of trials to make: those that were begun before, then new ones."""
        yield from (trial.number for trial in study.get_trials() if trial.state.name == "RUNNING")
        while sum(trial.state.name != "PRUNED" for trial in study.get_trials()) < count:
            yield study.ask().number


def _trial(study: Any, number: int) -> Any:
    """A trial that is not done, to go on with; None if it is done."""
    import optuna

    frozen = study.get_trials()[number]
    if frozen.state.name != "RUNNING":
        return None
    return optuna.trial.Trial(study, frozen._trial_id)


def _state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


def require_same(folder: Path, study: dict[str, Any]) -> None:
    """Keep what decides the trials of a folder, or compare it with what was kept.

    Raises:
        ConfigError: if the folder holds another study.
    """
    from counterbench.errors import ConfigError
    from counterbench.storage.files import read_bounded, write_text

    path = folder / "study.json"
    if not path.exists():
        write_text(path, json.dumps(study, indent=1) + "\n")
        return
    earlier = json.loads(read_bounded(path))
    changed = [key for key in study if earlier.get(key) != study[key]]
    if changed:
        raise ConfigError(
            f"{folder} holds trials of another study (its {changed[0]} is {json.dumps(earlier.get(changed[0]))}); choose another --output."
        )
