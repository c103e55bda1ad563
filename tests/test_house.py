"""The house keeps its own rules: layout of imports, style, types."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKS = {
    "import contracts": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "ruff": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
}

pytestmark = pytest.mark.skipif(not (ROOT / "ruff.toml").exists(), reason="only in a checkout")


@pytest.mark.parametrize("name", CHECKS)
def test_rules(name):
    result = subprocess.run([sys.executable, *CHECKS[name]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_code_copies_the_habits_we_forbid():
    """No hard-coded CUDA, no unpickling, no global seeds (defects 37, 38 and 43 of the anchor)."""
    allowed = {
        "resuming.py": ["weights_only=True"],
        "training.py": ["fork_rng"],
        "judge_training.py": ["fork_rng"],
        "feature_training.py": ["fork_rng"],
        "lpips.py": ["weights_only=True"],
        "inception.py": ["weights_only=True"],
    }
    for path in (ROOT / "counterbench").rglob("*.py"):
        text = path.read_text()
        for habit, excuse in (
            (".cuda()", None),
            ("pickle.load", None),
            ("np.random.seed", None),
            ("torch.load(", "weights_only=True"),
            ("torch.manual_seed(seed", "fork_rng"),
        ):
            if habit in text:
                assert excuse is not None, f"{path.name}: {habit}"
                assert excuse in allowed.get(path.name, []), f"{path.name}: {habit}"
                assert excuse in text


def test_shipped_weights_stay_small():
    """What everybody downloads: below 40 MB for the sources that need no data of one's own."""
    weights = [
        path
        for folder in ("models", "datasets")
        for path in (ROOT / folder).rglob("*.safetensors")
        if not path.parent.name.endswith("-mnist")
    ]
    assert len(weights) > 15
    assert sum(path.stat().st_size for path in weights) < 40_000_000
