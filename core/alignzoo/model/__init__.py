"""One frozen base, and what is asked of it."""

import logging

# peft imports bitsandbytes, which on a CPU complains of an optional package that would fetch kernels from the network.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
