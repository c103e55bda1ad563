"""What is published about the order by the estimate follows from the rows beside it."""

import pytest
from scipy.stats import kendalltau

from counterbench.catalog.agreement import SHORTCUT, measured_agreement


@pytest.mark.parametrize("dataset", list(measured_agreement()))
def test_tau_is_that_of_the_rows(dataset):
    known = measured_agreement()[dataset]
    compared = {name: row for name, row in known.rows.items() if SHORTCUT not in name}
    assert (len(compared), len(known.rows)) == (17, 22)
    # The rows are rounded, so that two of them may be tied.
    assert kendalltau(*zip(*compared.values(), strict=True))[0] == pytest.approx(known.tau[0], abs=0.02)
    assert kendalltau(*zip(*known.rows.values(), strict=True))[0] == pytest.approx(known.with_shortcuts, abs=0.02)
    exact = [row for name, row in known.rows.items() if name.endswith(("+ levels", "+ local"))]
    assert kendalltau(*zip(*exact, strict=True))[0] == pytest.approx(known.exact[0], abs=0.02)
    assert known.rows["identity"] == (0, 0)
