"""A cluster under load for a long time: what it takes of disk, memory and files must not grow with time."""
