"""Progress: bars for people, lines for files, nothing for libraries."""

import contextvars

import pytest

from counterbench.runtime import progress


@pytest.fixture
def shown():
    token = progress.shown.set(True)
    yield
    progress.shown.reset(token)


def test_a_file_gets_a_line_every_half_minute_with_what_is_left(shown, capsys):
    seconds = iter([0.0, 10.0, 31.0, 50.0, 70.0, 4000.0])
    lines = progress.Lines(1000, "Asking vae", clock=lambda: next(seconds))
    for steps in (100, 100, 100, 100, 600):
        lines(steps)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "Asking vae: 200 of 1,000, 31 s gone, about 2 min left",
        "Asking vae: 400 of 1,000, 70 s gone, about 2 min left",
        "Asking vae: 1,000 of 1,000, 1 h 7 min gone",
    ]


def test_lines_of_several_pieces_say_which_it_is_and_how_long_all_will_take(shown, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    seconds = iter([0.0, 100.0, 300.0])
    parts, left = progress.Pieces(3, clock=lambda: next(seconds)), []
    for _ in range(3):
        with parts.next() as rest, progress.bar(2, "Asking vae") as advance:
            left.append(rest)
            advance(2)
    assert left == ["", "about 3 min left", "about 2 min left"]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"{n} of 3, Asking vae" for n in (1, 2, 3)]
    with progress.bar(2, "Asking vae") as advance:
        advance(2)
    assert capsys.readouterr().err.startswith("Asking vae:")


def test_what_ends_soon_says_nothing(shown, capsys):
    with progress.bar(3, "Asking") as advance:
        for _ in range(3):
            advance(1)
    assert capsys.readouterr().err == ""


def test_a_library_call_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)

    def work():
        with progress.bar(3, "Asking") as advance:
            advance(3)

    contextvars.Context().run(
        work
    )  # as in a process that no command line has begun; other tests run commands in this one
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_knows_the_time_of_slow_chunks(shown, monkeypatch):
    """The speed is that of all chunks so far, so that chunks of minutes have a remaining time too."""
    from rich.progress import Progress

    made = []
    monkeypatch.setattr(progress, "watched", lambda: True)
    begin = Progress.__init__

    def remembered(self, *columns, **options):
        made.append(options)
        begin(self, *columns, **options)

    monkeypatch.setattr(Progress, "__init__", remembered)
    with progress.bar(2, "Asking") as advance:
        advance(1)
    assert made[0]["speed_estimate_period"] > 24 * 3600
