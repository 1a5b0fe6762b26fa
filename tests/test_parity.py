"""Our model against the figures that the reference printed for given weights and noise."""

import pytest

from tests.helpers.parity_cases import CASES, ParityCase

EVAL_TOLERANCE = 1e-4
TRAIN_TOLERANCE = 1e-3


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return ParityCase(request.param)


@pytest.fixture(scope="module", params=CASES)
def rematerialized_case(request):
    return ParityCase(request.param, {"rematerialize": True})


def worse_than(errors, tolerance):
    return {key: error for key, error in errors.items() if not error < tolerance}


def test_every_figure_of_an_evaluation_is_the_references(case):
    assert not worse_than(case.eval_errors(), EVAL_TOLERANCE)


def check_training(errors):
    losses = {
        key: error
        for key, error in errors.items()
        if key.endswith(("loss", "/re", "/kl", "recons", "total", "mse"))
    }
    assert not worse_than(losses, EVAL_TOLERANCE)
    assert not worse_than(errors, TRAIN_TOLERANCE)


def test_three_training_steps_and_the_variables_after_them_are_the_references(case):
    check_training(case.train_errors())


def test_so_are_they_where_each_refinement_is_computed_again(rematerialized_case):
    check_training(rematerialized_case.train_errors())
