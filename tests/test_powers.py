"""Powers of two by integer arithmetic."""

from decimal import Decimal, getcontext

import numpy as np
import pytest

from snngen.powers import power_table


@pytest.mark.parametrize("bits", [8, 16, 40])
def test_entries_are_rounded_powers(bits: int) -> None:
    getcontext().prec = 60
    exact = [Decimal(2) ** (Decimal(bits) - Decimal(f) / 1024) for f in range(1024)]
    assert power_table(bits).tolist() == [int(value.to_integral_value()) for value in exact]


def test_table_is_shared_and_read_only() -> None:
    assert power_table(16) is power_table(16)
    with pytest.raises(ValueError, match="read-only"):
        power_table(16)[0] = 1
    assert power_table(16).dtype == np.int64
