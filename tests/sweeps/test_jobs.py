"""What a sweep expands to."""

import pytest

from counterbench.catalog.recipes import read_recipe
from counterbench.catalog.sweeps import find_sweep
from counterbench.cli import main
from counterbench.errors import ConfigError, CounterbenchError, UnknownNameError
from counterbench.sweeps.jobs import STAGES, expand


def test_every_cell_is_there_once_in_an_order_that_can_be_run(written):
    jobs = expand(find_sweep(str(written())))
    assert [(job.number, job.kind, job.name) for job in jobs] == [
        (1, "data", "ellipse-formula"),
        (2, "baselines", "identity-ellipse-formula-mechanisms"),
        (3, "train", "affine-ellipse-formula-seed0"),
        (4, "train", "affine-ellipse-formula-seed1"),
        (5, "evaluate", "affine-ellipse-formula-seed0-mechanisms"),
        (6, "evaluate", "affine-ellipse-formula-seed1-mechanisms"),
        (7, "evaluate", "truth-ellipse-formula-mechanisms"),
    ]
    assert [job.needs for job in jobs] == [(), (1,), (1,), (1,), (3, 2), (4, 2), (2,)]
    stage = {kind: number for number, kinds in enumerate(STAGES) for kind in kinds}
    assert all(stage[jobs[one - 1].kind] < stage[job.kind] for job in jobs for one in job.needs)
    assert len({job.key for job in jobs}) == len({job.output for job in jobs if job.output}) + 1 == len(jobs)


def test_the_same_file_gives_the_same_jobs_and_another_seed_keeps_them(written):
    first, again = (expand(find_sweep(str(written()))) for _ in range(2))
    assert first == again
    more = expand(find_sweep(str(written(seeds=[0, 1, 2], models=["spline", "affine", "truth"]))))
    assert {job.key for job in first} < {job.key for job in more}


def test_without_seeds_nothing_is_trained(written):
    assert [job.kind for job in expand(find_sweep(str(written(seeds=None))))] == [
        "data",
        "baselines",
        "evaluate",
        "evaluate",
    ]


def test_shares_of_an_evaluation_come_before_it(written):
    jobs = expand(find_sweep(str(written(models=["affine"], seeds=[0, 1], shares=3, keep_answers=True))))
    shares = [job for job in jobs if job.kind == "share"]
    evaluations = [job for job in jobs if job.kind == "evaluate"]
    assert len(shares) == 6
    for job in evaluations:
        own = [share for share in shares if share.output == job.output]
        assert [share.words[-1] for share in own] == ["1/3", "2/3", "3/3"]
        assert all(share.words[:-2] == job.words for share in own)
        assert {share.number for share in own} < set(job.needs)
        assert "--keep-answers" in job.words
    assert {job.row for job in evaluations} == {"affine-ellipse-formula-mechanisms"}


def test_every_job_is_a_command_that_exists(written, tmp_path):
    options = {"mechanisms.t.fit.learning_rate": [0.01, 0.02], "mechanisms.t.options.bins": 5}
    for job in expand(find_sweep(str(written(models=["affine", {"model": "spline", "options": options}]))), tmp_path):
        name, *rest = job.words[2:] if job.words[0] == "--plugin" else job.words
        command = main.commands[name]
        if name == "data":
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(name, list(rest))


def test_options_make_recipes_of_their_own(written, tmp_path):
    options = {"mechanisms.t.fit.learning_rate": [0.01, 0.02], "mechanisms.t.options.bins": 5}
    jobs = expand(find_sweep(str(written(models=[{"model": "spline", "options": options}], seeds=[3]))), tmp_path)
    trained = [job for job in jobs if job.kind == "train"]
    assert [job.name for job in trained] == [
        f"spline-learning_rate-{rate}-bins-5-ellipse-formula-seed3" for rate in (0.01, 0.02)
    ]
    for job, rate in zip(trained, (0.01, 0.02), strict=True):
        recipe = read_recipe(tmp_path / job.words[job.words.index("--model") + 1])
        assert (recipe.mechanisms["t"].fit.learning_rate, recipe.mechanisms["t"].options["bins"]) == (rate, 5)
        assert recipe.name in job.name


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"models": [{"model": "spline", "options": {"mechanisms.u.fit.epochs": 1}}]}, ConfigError, "leads nowhere .* z, t, "),
        ({"models": [{"model": "spline", "options": {"mechanisms.t.options.bin": 1}}]}, ConfigError, "no option 'bin'. Did you mean 'bins'"),
        ({"models": [{"model": "spline", "options": {"mechanisms.t.fit.epochs": 0}}]}, ConfigError, "epochs: 0 spline is no recipe"),
        ({"models": [{"model": "truth", "options": {"a": 1}}]}, ConfigError, "truth has no recipe, so it takes no options"),
        ({"models": ["splin"]}, UnknownNameError, "spline"),
        ({"datasets": ["elipse"]}, UnknownNameError, "ellipse"),
        ({"datasets": [{"dataset": "ellipse", "sources": ["mnist"]}]}, ConfigError, "no source 'mnist'; choose from formula"),
        ({"seeds": [0, 0]}, ConfigError, "0 is listed twice"),
        ({"seed": [0]}, ConfigError, "seed"),
        ({"models": []}, ConfigError, "models"),
        ({"name": "../up"}, ConfigError, "name"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_runs(written, changes, error, words):
    with pytest.raises(error, match=words):
        expand(find_sweep(str(written(**changes))))


def test_a_trained_model_is_adapted_in_every_combination(written, tmp_path):
    adapt = {
        "kinds": ["full", "sv_diff:scale=2"],
        "where": {"digit": [5, 6]},
        "limits": [10, 50],
        "learning_rates": [0.001],
        "steps": 30,
    }
    file = written(models=[{"model": "vae", "adapt": adapt}], datasets=["morphomnist"], suites=["audit"], seeds=[0, 1])
    jobs = expand(find_sweep(str(file)), tmp_path)
    trained = [job for job in jobs if job.kind == "train"]
    names = [f"vae-{kind}-n{n}-rate0.001" for kind in ("full", "sv-diff-scale-2") for n in (10, 50)]
    assert [job.name for job in trained] == [
        f"{name}-morphomnist-digits-seed{seed}" for name in names for seed in (0, 1)
    ]
    assert "vae-as-it-is-morphomnist-digits-audit" in [job.name for job in jobs if job.kind == "evaluate"]
    recipe = read_recipe(tmp_path / trained[-1].words[trained[-1].words.index("--model") + 1])
    assert (recipe.init.model, recipe.rows.limit, recipe.rows.where) == ("vae", 50, {"digit": (5, 6)})
    (stage,) = recipe.mechanisms["image"].stages
    assert (stage.adapt.kind, stage.adapt.options, stage.fit.steps) == ("sv_diff", {"scale": 2}, 30)
    assert recipe.mechanisms["thickness"].frozen


def test_an_adaptation_that_cannot_be_is_told_before_anything_starts(written):
    def adapting(**given):
        return expand(find_sweep(str(written(models=[{"model": "vae", "adapt": given}], datasets=["morphomnist"]))))

    with pytest.raises(ConfigError, match="there is no such value"):
        adapting(kinds=["full"], where={"digit": ["x"]})
    with pytest.raises(UnknownNameError, match="Did you mean 'lora'"):
        adapting(kinds=["lira"])
    with pytest.raises(ConfigError, match="one of 'options'"):
        expand(find_sweep(str(written(models=[{"model": "vae", "options": {"a": 1}, "adapt": {"kinds": ["full"]}}]))))


def test_judges_are_trained_further_in_every_combination(written):
    judges = {
        "variables": ["digit"],
        "kinds": ["full", "lora:rank=2"],
        "where": {"digit": ["5", "6"]},
        "limits": [10, 50],
    }
    more = {"learning_rates": [0.01], "steps": 7}
    jobs = expand(find_sweep(str(written(models=None, datasets=["morphomnist"], judges={**judges, **more}))))
    assert [job.kind for job in jobs] == ["data", *["judge"] * 8]
    job = next(job for job in jobs if job.name == "digit-lora-rank-2-n50-rate0.01-morphomnist-digits-seed1")
    words = " ".join(job.words)
    assert (
        "train-judges --dataset morphomnist --source digits --variable digit --init card --adapt lora:rank=2" in words
    )
    assert "--where digit=5,6 --limit 50 --learning-rate 0.01 --steps 7 --seed 1" in words
    assert job.needs == (1,)
    assert job.output == f"judges/{job.name}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"models": None}, "nothing is listed"),
        ({"judges": {"variables": ["digit"], "kinds": ["full"]}, "seeds": None}, "give seeds"),
        ({"judges": {"variables": ["digit"], "kinds": ["full"], "keep": "last"}}, "leave out keep"),
        ({"judges": {"variables": ["digit"], "kinds": ["fulll"]}}, "fulll"),
    ],
)
def test_sweeps_of_judges_that_cannot_be_are_refused(changes, why, written):
    with pytest.raises(CounterbenchError, match=why):
        expand(find_sweep(str(written(**changes))))


def test_students_wait_for_their_teacher_of_the_same_seed(written, tmp_path):
    distil = {
        "model": "affine",
        "distil": {"limit": 40, "feed": "repeated:times=2", "students": ["synthetic:count=50", "synthetic:count=60"]},
    }
    jobs = expand(find_sweep(str(written(models=[distil], seeds=[0, 1]))), tmp_path)
    by_number = {job.number: job for job in jobs}
    teachers = [job for job in jobs if job.kind == "train"]
    students = [job for job in jobs if job.kind == "student"]
    assert len(teachers) == 2
    assert len(students) == 4
    for job in students:
        teacher = by_number[max(job.needs)]
        assert teacher in teachers
        assert teacher.name.rpartition("-")[2] == job.name.rpartition("-")[2]  # the seed
        assert job.words[job.words.index("--teacher") + 1] == teacher.output
        assert job.words[job.words.index("--feed") + 1].startswith("synthetic:count=")
    recipe = read_recipe(tmp_path / teachers[0].words[teachers[0].words.index("--model") + 1])
    assert recipe.rows.limit == 40
    assert recipe.feed.kind == "repeated"
    stage = {kind: number for number, kinds in enumerate(STAGES) for kind in kinds}
    assert all(stage[by_number[one].kind] < stage[job.kind] for job in jobs for one in job.needs)


def test_a_student_that_is_fed_real_rows_is_refused(written):
    distil = {"model": "affine", "distil": {"students": ["repeated:times=2"]}}
    with pytest.raises(ConfigError, match="takes real rows"):
        expand(find_sweep(str(written(models=[distil]))))


def test_sweeps_of_students_that_cannot_be_are_refused(written):
    def of(*students, **more):
        return {"model": "affine", "distil": {"students": list(students), **more}}

    with pytest.raises(ConfigError, match="make the job 'train affine-teacher"):
        expand(find_sweep(str(written(models=[of("synthetic", limit=40), of("synthetic", limit=50)], seeds=[0]))))
    with pytest.raises(ConfigError, match="has no option 'foo'"):
        expand(find_sweep(str(written(models=[of("synthetic:foo=1")], seeds=[0]))))
    with pytest.raises(ConfigError, match="so give seeds"):
        find_sweep(str(written(models=[of("synthetic")], seeds=None)))


def test_a_budget_does_not_raise_a_teachers_limit(written):
    distil = {"model": "affine", "distil": {"limit": 40, "students": ["synthetic:count=50"]}}
    jobs = expand(find_sweep(str(written(models=[distil], seeds=[0], budget={"samples": 1000}))))
    assert not any("--limit" in job.words for job in jobs if job.kind in ("train", "student"))
