"""Our model against the figures that the reference printed for given weights and noise."""

import pytest

from tests.parity_cases import CASES, ParityCase

EVAL_TOLERANCE = 1e-4
TRAIN_TOLERANCE = 1e-3


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return ParityCase(request.param)


def worse_than(errors, tolerance):
    return {key: error for key, error in errors.items() if not error < tolerance}


def test_every_figure_of_an_evaluation_is_the_references(case):
    assert not worse_than(case.eval_errors(), EVAL_TOLERANCE)


def test_three_training_steps_and_the_variables_after_them_are_the_references(case):
    errors = case.train_errors()
    losses = {
        key: error
        for key, error in errors.items()
        if key.endswith(("loss", "/re", "/kl", "recons", "total", "mse"))
    }
    assert not worse_than(losses, EVAL_TOLERANCE)
    assert not worse_than(errors, TRAIN_TOLERANCE)
