"""The commands; they parse, call one room and print, and hold no rule of their own. Each module is a family of them."""

from hub.cli import auditing, configuring, keyring, nodes, running, users, working
from hub.cli.base import main

__all__ = ["auditing", "configuring", "keyring", "main", "nodes", "running", "users", "working"]
