"""Which records the boards of a sweep show."""

from types import SimpleNamespace

import pytest

from counterbench.sweeps import rows


@pytest.mark.parametrize(("many", "shown"), [(60, ["a0", "a1", "b", "a"]), (3, ["b", "a"])])
def test_trainings_give_way_to_their_group_where_rows_are_many(monkeypatch, tmp_path, many, shown):
    groups = {"a": ["a0", "a1"]}
    monkeypatch.setattr(rows, "MANY", many)
    monkeypatch.setattr(
        rows,
        "read_record",
        lambda path: SimpleNamespace(
            inputs=SimpleNamespace(hash=path.name),
            group=[SimpleNamespace(record=name) for name in groups.get(path.name, [])],
        ),
    )
    records = [tmp_path / name for name in ("a0", "a1", "b")]
    assert [path.name for path in rows.on_boards(records, [tmp_path / "a"])] == shown
