"""Sample city systems that refuse what the real ones refuse, and their records: for demo, tests and bench."""

from adapters.sample.cities import SampleCities

__all__ = ["SampleCities"]
