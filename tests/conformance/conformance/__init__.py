"""Suites that know nothing of Quorate judge three pods, which look like one homeserver to them."""
