"""The error that the data package raises for what its user can put right."""


class DatasetError(ValueError):
    """Says in one line what is wrong with a data file or a request, and what to do about it."""
