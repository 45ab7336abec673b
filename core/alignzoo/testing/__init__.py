"""For plugin authors: a small real base to test against, without a download."""

from alignzoo.testing.toy import WORDS, toy_base, toy_folder, toy_model, toy_tokenizer

__all__ = ["WORDS", "toy_base", "toy_folder", "toy_model", "toy_tokenizer"]
