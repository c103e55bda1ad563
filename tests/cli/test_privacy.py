"""`audit-filter` on the command line."""

import json

import pytest
from click.testing import CliRunner

from counterbench.cli import main


def run(*words):
    return CliRunner().invoke(main, ["audit-filter", *words, "-q"])


def test_what_a_filter_lets_pass_is_a_table_or_json():
    few = ("--dataset", "morphomnist", "--limit", "60", "--verifier", "siamese", "--verifier", "pixels")
    table, numbers = run(*few), run(*few, "--json")
    assert table.exit_code == numbers.exit_code == 0
    said = json.loads(numbers.stdout)
    assert set(said) == {"siamese", "pixels"}
    for audit in said.values():
        shares = list(audit["sensitivity"].values())
        assert shares[0] == 1
        assert shares == sorted(shares, reverse=True)
        assert audit["specificity"] >= 0.85
    assert "noise 40" in table.stdout
    assert "others left" in table.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--dataset", "ellipse"), "has no images"),
        (("--verifier", "embedding"), "does not verify individuals"),
        (("--where", "digit=x"), "there is no such value"),
        (("--false-positives", "1"), "false-positives"),
    ],
)
def test_mistakes_are_told(words, why):
    done = run(*words)
    assert done.exit_code != 0
    assert why in done.output
