"""Where entries, records and views rest; no SQL outside this package."""
