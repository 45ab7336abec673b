"""alignzoo: a pluggable zoo of alignment algorithms, as LoRA roles on one frozen quantized base."""

__version__ = "0.1.0"
