"""For plugin authors: a small real base to test against, without a download, and the conformance kit."""

from alignzoo.testing.checks import Trial
from alignzoo.testing.conformance import conformance
from alignzoo.testing.toy import WORDS, toy_base, toy_folder, toy_model, toy_tokenizer

__all__ = ["WORDS", "Trial", "conformance", "toy_base", "toy_folder", "toy_model", "toy_tokenizer"]
