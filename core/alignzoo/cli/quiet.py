"""Keeps the chatter of libraries out of a run's output. Light: it must be called before those libraries are imported."""

from __future__ import annotations

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Keep the chatter of libraries out of a run's output; their warnings about our use of them are tested elsewhere."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it sets its logger's level anew when it is imported
    warnings.filterwarnings("ignore", module="(transformers|peft|bitsandbytes|torch).*")
    for name in ("transformers", "bitsandbytes", "peft"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.basicConfig(format="alignzoo: %(message)s", level=logging.WARNING)
