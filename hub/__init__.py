"""The hub: one shared ledger of signed enforcement records for cities that work together."""

__version__ = "0.1.0"
