"""Callers who misuse a pod, while a user writes and reads through it."""
