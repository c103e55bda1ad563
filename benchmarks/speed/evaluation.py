"""Where an evaluation saves time, each as a ratio in one run on this machine.

    python benchmarks/speed/evaluation.py [--images 192] [--workers 2]

Printed: processor seconds of imports; the wall time of one process over that of several, on the same images, with equal numbers; images that judges
are given, and how many they look at; judges' networks as trained over the same with normalisation folded in.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from counterbench import evaluation, models
from counterbench.evaluation import batches
from counterbench.judges.network import NetworkJudge


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """The least wall time of some calls."""
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def imports(*words: str) -> float:
    """Processor seconds of a Python process that does hardly anything else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sharing(images: int, workers: int) -> None:
    """One process against several; baselines were examined before."""
    exam = evaluation.prepare("morphomnist", "standard", limit=images, device="cpu")
    contestant = models.load("hvae", exam.dataset, references=exam.suite.references)

    def made(processes: int) -> tuple[float, evaluation.Evaluation]:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            done = evaluation.evaluate(contestant, exam, folder=Path(folder), workers=processes)
            return time.perf_counter() - begun, done

    made(workers)
    (one, first), (several, second) = made(1), made(workers)
    values = [[number.value for number in done.record.numbers if number.role != "resource"] for done in (first, second)]
    assert values[0] == values[1], "numbers hang on the number of processes"
    print(f"{workers} workers: {one / several:.2f} x one process ({one:.1f} s and {several:.1f} s for {images} images)")


def judging(images: int) -> None:
    """Images that judges are given, and networks with and without what is folded."""
    exam = evaluation.prepare("morphomnist", "standard", limit=images, device="cpu")
    given, looked_at = 0, 0
    measure, look = batches.Shared._measure, batches.measure_all

    def counted(self, seen):  # type: ignore[no-untyped-def]
        nonlocal given
        given += len(seen)
        return measure(self, seen)

    def counted_once(panels, seen):  # type: ignore[no-untyped-def]
        nonlocal looked_at
        looked_at += len(seen)
        return look(panels, seen)

    with (
        tempfile.TemporaryDirectory() as cache,
        patch.dict("os.environ", {"COUNTERBENCH_CACHE": cache}),
        patch.object(batches.Shared, "_measure", counted),
        patch.object(batches, "measure_all", counted_once),
    ):
        evaluation.evaluate(models.load("vae", exam.dataset), exam)
    print(f"judges look at {looked_at / images:.0f} of {given / images:.0f} images per photograph")
    pictures = exam.dataset.split("test").take(torch.arange(images))["image"].float()
    members = [judge for panel in exam.panels.values() for judge in panel.members if isinstance(judge, NetworkJudge)]
    folded = seconds(lambda: [judge.look(pictures) for judge in members])
    with patch("counterbench.judges.network.fold_normalisation"), patch("torch.channels_last", torch.contiguous_format):
        literal = evaluation.prepare("morphomnist", "standard", limit=images, device="cpu").panels
        plain = [judge for panel in literal.values() for judge in panel.members if isinstance(judge, NetworkJudge)]
        unfolded = seconds(lambda: [judge.look(pictures) for judge in plain])
    print(f"judges' networks: {unfolded / folded:.2f} x as trained")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for words in (["list", "models"], ["show", "vae"], ["evaluate", "--help"]):
        print(f"counterbench {' '.join(words)}: {imports('-m', 'counterbench', *words):.2f} processor seconds")
    whole = imports("-c", "import counterbench; counterbench.evaluate")
    print(f"imports of an evaluation: {whole:.2f} processor seconds")
    judging(chosen.images)
    sharing(chosen.images, chosen.workers)


if __name__ == "__main__":
    main()
