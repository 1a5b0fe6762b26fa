"""The error that the data package raises for what its user can put right."""

import re


class DatasetError(ValueError):
    """Says in one line what is wrong with a data file or a request, and what to do about it."""


def dataset_error_within(error):
    """Returns the DatasetError that made `tf.data` raise an error of its own, or None.

    TensorFlow carries an exception from a reading thread only as text, with its traceback.
    """
    found = re.search(r"DatasetError: (.*)", str(error))
    return DatasetError(found[1]) if found else None
