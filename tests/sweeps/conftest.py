"""A sweep of models that cost seconds, and jobs that cost nothing."""

import pytest
import yaml

_SMALL = {
    "name": "small",
    "models": ["affine", "truth"],
    "datasets": ["ellipse"],
    "suites": ["mechanisms"],
    "seeds": [0, 1],
    "budget": {"epochs": 1, "samples": 100, "limit": 20},
    "device": "cpu",
}


@pytest.fixture(scope="session")
def small():
    """What the file of a small sweep says."""
    return _SMALL


@pytest.fixture
def written(tmp_path, small):
    """Writes a sweep; returns its file."""

    def write(**changes):
        path = tmp_path / "sweep.yaml"
        content = {key: value for key, value in {**small, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(content))
        return path

    return write
