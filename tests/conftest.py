"""What holds for every test: no network for models, and one thread, as tiny tensors are slower on several."""

import os

# Read when torch is imported. Sums over other numbers of threads differ in their last bits.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
