"""Names of array types. ``numpy.typing`` takes 30 ms to import, so only type checkers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    BoolArray = NDArray[np.bool_]
    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
else:
    BoolArray = FloatArray = IntArray = np.ndarray
