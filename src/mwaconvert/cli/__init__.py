"""The command line."""

import os

# numpy's linear algebra would start a thread for each core, which spins for a while: the kernels need the cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
