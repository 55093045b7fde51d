"""emobench: what the units of a facial-emotion network react to, and whether strengthening them helps."""

import os

__version__ = "0.1.0"

# A thread that waits for the others sleeps. By default it spins, which beside another job on the same cores costs both
# several times the work itself. OpenMP reads this when torch or numba load it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
