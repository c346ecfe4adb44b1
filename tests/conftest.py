"""What holds for every test: no network for models, and threads that share the cores with their neighbours."""

import os

# Read when torch is imported; the commands set the same (see seqtrain_cli.main).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
