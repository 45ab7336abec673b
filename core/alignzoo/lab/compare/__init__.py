"""Contestants side by side: who is better, by how much, and whether that can be believed."""
