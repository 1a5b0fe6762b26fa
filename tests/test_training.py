"""The training step on several devices, and what the loop does when something goes wrong."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from iodine.checkpoints import CheckpointWriter, restore
from iodine.errors import UserError
from iodine.main import build, get_config
from iodine.modules.iodine import IODINE
from iodine.train import devices, loop
from iodine.train.learner import Learner, Progress
from tests.helpers import tiny
from tests.helpers.parity_cases import relative_error

NUM_SCENES = 4
# For what does not depend on how often a model refines: steps compile sooner.
SHORT = {**tiny.UPDATES, "num_iters": 1}


def random_batch():
    rng = np.random.default_rng(0)
    label = rng.integers(4, size=[NUM_SCENES, 1, 16, 16])
    return {
        "image": rng.random([NUM_SCENES, 1, 16, 16, 3], np.float32),
        "mask": np.moveaxis(np.eye(4, dtype=np.float32)[label], -1, 2)[..., None],
        # Unequal numbers of visible entities on the devices: sums must run over all of them.
        "visibility": np.float32([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]),
        "factors": {
            "position": rng.random([NUM_SCENES, 4, 2], np.float32),
            "color": rng.random([NUM_SCENES, 4, 3], np.float32),
            "shape": rng.integers(20, size=[NUM_SCENES, 4, 1]).astype(np.float32),
        },
    }


def train_on(num_devices, steps, updates=tiny.UPDATES, xla=False):
    """Trains the tiny model on one batch as far as the last of some steps.

    Returns:
      {step: (its scalars, {name: variable's value after it})}.
    """
    config = get_config("tetrominoes", updates)
    strategy = tf.distribute.get_strategy()
    if num_devices > 1:
        # TensorFlow's collectives allow one group of devices a process, and here come several.
        reduction = tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy(
            [f"CPU:{i}" for i in range(num_devices)], cross_device_ops=reduction
        )
    tf.random.set_seed(0)
    with devices.replica_local_variables(strategy):
        model, optimizer = build(config["model"]), build(config["optimizer"])
        model.initialize([16, 16, 3])
    learner = Learner(model, optimizer, Progress(model, 3), strategy, xla)
    dataset = tf.data.Dataset.from_tensors(random_batch()).repeat()
    batches = devices.distribute(strategy, dataset)
    results = {}
    for step in range(1, max(steps) + 1):
        scalars = learner.step(next(batches))
        if step in steps:
            values = {i: tf.convert_to_tensor(v).numpy() for i, v in enumerate(model.variables)}
            results[step] = {name: float(value) for name, value in scalars.items()}, values
    return results


@pytest.mark.parametrize("option", [{"rematerialize": True}])
def test_rematerialization_changes_no_step(one_device, option):
    expected_scalars, expected = one_device[1]
    scalars, values = train_on(1, [1], {**tiny.UPDATES, **option})[1]
    assert scalars["loss/total"] == pytest.approx(expected_scalars["loss/total"], rel=1e-6)
    for i, value in values.items():
        assert relative_error(value, expected[i]) < 1e-5


@pytest.fixture(scope="module")
def one_device():
    return train_on(1, [1, 2, 5])


@pytest.fixture(scope="module")
def one_device_short():
    return train_on(1, [1, 5], SHORT)


@pytest.mark.parametrize(
    "num_devices, updates, on_one",
    [(2, tiny.UPDATES, "one_device"), (4, SHORT, "one_device_short")],
    ids=["2", "4"],
)
def test_a_step_and_five_steps_on_several_devices_are_those_on_one(
    request, num_devices, updates, on_one
):
    results, on_one = train_on(num_devices, [1, 5], updates), request.getfixturevalue(on_one)
    expected_scalars, expected = on_one[1]
    scalars, values = results[1]
    for name, value in scalars.items():
        assert value == pytest.approx(expected_scalars[name], rel=1e-4, abs=1e-5), name
    for i, value in values.items():
        assert relative_error(value, expected[i]) < 1e-5
    _, expected = on_one[5]
    _, values = results[5]
    for i, value in values.items():
        assert relative_error(value, expected[i]) < 1e-4


def test_several_steps_in_one_call_are_those_steps_one_by_one():
    config = get_config("tetrominoes", SHORT)
    results = []
    for steps_per_call in (1, 3):
        tf.random.set_seed(0)
        dataset, model, optimizer = (build(config[k]) for k in ("data", "model", "optimizer"))
        model.initialize(dataset.image_shape)
        strategy = tf.distribute.get_strategy()
        learner = Learner(model, optimizer, Progress(model, 3), strategy)
        batches = devices.distribute(strategy, dataset("train", seed=1))
        calls = [learner.steps(batches, steps_per_call) for _ in range(6 // steps_per_call)]
        results.append(np.concatenate([call["loss/total"] for call in calls]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_a_step_that_xla_compiles_is_the_same_step(one_device_short):
    expected_scalars, expected = one_device_short[1]
    scalars, values = train_on(1, [1], SHORT, xla=True)[1]
    assert scalars["loss/total"] == pytest.approx(expected_scalars["loss/total"], rel=1e-5)
    for i, value in values.items():
        assert relative_error(value, expected[i]) < 1e-3


def test_xla_compiles_a_step_on_two_devices_to_the_same_step(one_device_short):
    expected_scalars, expected = one_device_short[1]
    scalars, values = train_on(2, [1], SHORT, xla=True)[1]
    for name, value in scalars.items():
        assert value == pytest.approx(expected_scalars[name], rel=1e-4, abs=1e-5), name
    for i, value in values.items():
        assert relative_error(value, expected[i]) < 1e-3


class NotForXla(IODINE):
    """A model with an operation that XLA has no kernel for."""

    def __call__(self, data, noise=None):
        loss, scalars, iterations = super().__call__(data, noise)
        scalars["loss/mse"] = tf.numpy_function(lambda x: x, [scalars["loss/mse"]], tf.float32)
        scalars["loss/mse"].set_shape([])
        return loss, scalars, iterations


@pytest.fixture
def not_for_xla():
    """A learner whose step XLA cannot compile, and batches for it."""
    config = get_config("tetrominoes", SHORT)
    tf.random.set_seed(0)
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.__class__ = NotForXla
    model.initialize([16, 16, 3])
    strategy = tf.distribute.get_strategy()
    learner = Learner(model, optimizer, Progress(model, 3), strategy, xla=True)
    return learner, iter(tf.data.Dataset.from_tensors(random_batch()).repeat())


def test_where_xla_was_asked_for_and_fails_that_is_an_error(not_for_xla):
    learner, batches = not_for_xla
    with pytest.raises(UserError, match="XLA cannot compile the step, xla=False does without"):
        learner.steps(batches, 1)


def test_where_xla_was_a_choice_and_fails_training_goes_on_without(
    not_for_xla, one_device_short, capfd
):
    learner, batches = not_for_xla
    learner.may_do_without_xla = True  # what xla="auto" means on a GPU
    scalars = learner.steps(batches, 1)
    assert "training without it" in capfd.readouterr().err
    expected, _ = one_device_short[1]
    # Factor scores among them: what the failed step had taken in was forgotten.
    for name, value in expected.items():
        assert float(scalars[name][0]) == pytest.approx(value, rel=1e-5), name
    assert int(learner.optimizer.step) == 1 and int(learner.progress.count) == 1


def test_the_reason_that_is_told_is_the_last_line_of_the_error(not_for_xla, capfd):
    learner, batches = not_for_xla
    with pytest.raises(UserError) as error:
        learner.steps(batches, 1)
    cause = str(error.value.__cause__).strip().splitlines()
    assert len(cause) > 1 and str(error.value).endswith(cause[-1])


def test_several_steps_in_one_call_do_without_xla_where_it_fails(not_for_xla, capfd):
    learner, batches = not_for_xla
    learner.may_do_without_xla = True
    losses = [learner.steps(batches, 3)["loss/total"] for _ in range(2)]
    assert capfd.readouterr().err.count("training without it") == 1
    expected = [loss for loss in train_on(1, range(1, 7), SHORT).values()]
    expected = [scalars["loss/total"] for scalars, _ in expected]
    np.testing.assert_allclose(np.concatenate(losses), expected, rtol=1e-5)
    assert int(learner.optimizer.step) == 6


class FailingData:
    """Batches of which the third raises what XLA raises too."""

    def __init__(self):
        self.count = 0

    def __next__(self):
        self.count += 1
        if self.count == 3:
            return {**random_batch(), "image": np.zeros([4, 1, 16, 17, 3], np.float32)}
        return tf.nest.map_structure(tf.constant, random_batch())


class CountingLearner(Learner):
    """A learner that counts how often all its variables are looked for."""

    looked = 0

    @property
    def variables(self):
        self.looked += 1
        return super().variables


def test_only_the_first_step_guards_against_xla(monkeypatch):
    config = get_config("tetrominoes", SHORT)
    tf.random.set_seed(0)
    model, optimizer = build(config["model"]), build(config["optimizer"])
    model.initialize([16, 16, 3])
    strategy = tf.distribute.get_strategy()
    learner = CountingLearner(model, optimizer, Progress(model, 3), strategy, xla=True)
    learner.may_do_without_xla = True
    batches = FailingData()
    learner.steps(batches, 1)
    looked = learner.looked
    learner.steps(batches, 1)
    assert looked > 0 and learner.looked == looked
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)) as error:
        learner.steps(batches, 1)
    assert not isinstance(error.value, UserError) and learner.xla


def test_noise_depends_on_seed_and_step_alone(one_device):
    assert train_on(1, [2])[2][0] == one_device[2][0]


class Loop:
    """Runs the training loop on the tiny model in this process."""

    def __init__(self, directory, **updates):
        self.directory = str(directory)
        self.config = get_config("tetrominoes", {**SHORT, **updates})
        tf.random.set_seed(0)
        self.model = build(self.config["model"])
        self.optimizer = build(self.config["optimizer"])

    def train(self, log_scalar=lambda *_: None, resume_from=None, until=6, strategy=None):
        options = loop.Options(
            seed=1,
            directory=self.directory,
            until=until,
            resume_from=resume_from,
            save_summaries_steps=1,
            save_checkpoint_steps=2,
        )
        return loop.train(
            build(self.config["data"]),
            self.model,
            self.optimizer,
            strategy or tf.distribute.get_strategy(),
            options,
            log_scalar,
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_the_run_before_anything_is_saved(tmp_path, bad):
    loop = Loop(tmp_path)

    def spoil(name, value, step):
        if step == 3:
            bias = loop.model.decoder.pixel_decoder.cnn.layers[-1].b
            bias.assign(tf.fill(bias.shape, bad))

    with pytest.raises(UserError, match=r"step 4 .*no step up to 13 was better.*ckpt-2"):
        loop.train(spoil, until=20)
    assert tf.train.latest_checkpoint(str(tmp_path)).endswith("ckpt-2")
    reader = tf.train.load_checkpoint(str(tmp_path))
    for name, shape in reader.get_variable_to_shape_map().items():
        if name.startswith("model/"):
            assert np.all(np.isfinite(reader.get_tensor(name))), (name, shape)


class NoisyLearner(loop.Learner):
    """A learner some of whose steps, the fourth alone, draw noise that no refinement can follow."""

    noisy = (4,)

    def steps(self, batches, num_steps, signalled=False):
        if int(self.optimizer.step) + 1 not in self.noisy:
            return super().steps(batches, num_steps, signalled)
        noise = tf.fill(self.model.noise_shape(2), np.float32(np.inf))
        scalars = self.step(next(batches), noise)
        return {name: value[None] for name, value in scalars.items()}


def test_a_step_whose_gradient_is_not_finite_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "Learner", NoisyLearner)
    training, logged, weights = Loop(tmp_path), [], {}

    def watch(name, value, step):
        if name == "loss":
            logged.append(step)
        weights[step] = [v.numpy() for v in training.model.trainable_variables]

    training.train(watch)
    assert logged == [1, 2, 3, 5, 6]
    assert "     4 left out: 1 without a finite gradient" in capsys.readouterr().out
    assert all(np.isfinite(w).all() for w in weights[6])
    reader = tf.train.load_checkpoint(str(tmp_path))
    assert int(reader.get_tensor("optimizer/step/.ATTRIBUTES/VARIABLE_VALUE")) == 6
    # Nothing is saved right after it, as the weights may be what led to it.
    assert sorted(p.name for p in tmp_path.glob("ckpt-*.index")) == ["ckpt-2.index", "ckpt-6.index"]


def saved_steps(directory):
    return sorted(int(path.stem.split("-")[1]) for path in directory.glob("ckpt-*.index"))


def test_a_training_whose_last_steps_are_left_out_is_saved_and_goes_on(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(loop, "Learner", NoisyLearner)
    monkeypatch.setattr(NoisyLearner, "noisy", (5, 6))
    means = Loop(tmp_path).train()
    assert "warning: left out at the end: 2 without a finite gradient" in capsys.readouterr().err
    assert means == {} and saved_steps(tmp_path) == [2, 4, 6]
    steps = []
    Loop(tmp_path).train(
        lambda name, value, step: steps.append(step), str(tmp_path / "ckpt-6"), until=8
    )
    assert set(steps) == {7, 8}


def test_a_row_of_broken_steps_counts_on_in_the_next_stage_and_takes_back_its_checkpoint(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "Learner", NoisyLearner)
    monkeypatch.setattr(NoisyLearner, "noisy", range(5, 100))
    Loop(tmp_path).train()
    assert saved_steps(tmp_path) == [2, 4, 6]
    with pytest.raises(UserError, match=r"loss of step 5 .*up to 14 was better.*ckpt-2"):
        Loop(tmp_path).train(resume_from=str(tmp_path / "ckpt-6"), until=20)
    assert saved_steps(tmp_path) == [2]


def test_the_first_loss_is_printed_within_ten_steps_and_changes_no_mean(tmp_path, capsys):
    logged = {}
    for every in (10, 13):
        training = Loop(tmp_path / str(every))
        options = loop.Options(
            1, training.directory, 26, save_summaries_steps=every, save_checkpoint_steps=26
        )
        values = logged[every] = {}
        loop.train(
            build(training.config["data"]),
            training.model,
            training.optimizer,
            tf.distribute.get_strategy(),
            options,
            lambda name, value, step, values=values: values.update({(name, step): value}),
        )
        printed = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
        assert printed == {10: [10, 20], 13: [10, 13, 26]}[every]
    assert {step for _, step in logged[13]} == {13, 26}
    reader = tf.train.load_checkpoint(str(tmp_path / "10" / "ckpt-26"))
    total = reader.get_tensor("progress/sums/loss/.ATTRIBUTES/VARIABLE_VALUE")
    total += 10 * (logged[10]["loss", 10] + logged[10]["loss", 20])
    both = 13 * (logged[13]["loss", 13] + logged[13]["loss", 26])
    assert total == pytest.approx(both, rel=1e-9)


def test_a_removed_directory_is_an_error_that_names_it(tmp_path):
    loop = Loop(tmp_path / "run")

    def remove(name, value, step):
        shutil.rmtree(loop.directory, ignore_errors=True)

    with pytest.raises(UserError, match="cannot write the checkpoint of step 2"):
        loop.train(remove)


def test_a_failed_write_leaves_the_checkpoint_before_it_usable(tmp_path):
    variable = tf.Variable(1.0)
    writer = CheckpointWriter(str(tmp_path), {}, model=tf.train.Checkpoint(v=variable))
    first = writer.save(1)
    # A directory in its place is a write that fails for root too.
    (tmp_path / "ckpt-2.index").mkdir()
    (tmp_path / "ckpt-2.index" / "x").touch()
    variable.assign(2.0)
    with pytest.raises(UserError, match=f"to '{tmp_path}': /.*last good checkpoint: .*ckpt-1"):
        writer.save(2)
    assert tf.train.latest_checkpoint(str(tmp_path)) == first
    assert not list(tmp_path.glob("*_temp"))
    restore(first, model=tf.train.Checkpoint(v=variable))
    assert variable.numpy() == 1.0


def test_what_a_killed_save_left_is_removed_by_the_next_run(tmp_path):
    (tmp_path / "ckpt-3_temp").mkdir(parents=True)
    (tmp_path / "ckpt-3_temp" / "part-00000-of-00001.data-00000-of-00001").touch()
    CheckpointWriter(str(tmp_path), {}, model=tf.train.Checkpoint(v=tf.Variable(1.0)))
    assert not list(tmp_path.iterdir())


def test_only_the_last_five_checkpoints_are_kept(tmp_path):
    Loop(tmp_path).train(until=14)
    assert saved_steps(tmp_path) == [6, 8, 10, 12, 14]


def test_a_checkpoint_of_another_architecture_is_refused_and_changes_nothing(tmp_path):
    Loop(tmp_path).train(until=2)
    other = Loop(tmp_path, n_z=5)
    other.model.initialize([35, 35, 3])
    before = [v.numpy() for v in other.model.variables]
    with pytest.raises(UserError, match="initial_sample_distribution"):
        other.train(resume_from=str(tmp_path / "ckpt-2"))
    for variable, value in zip(other.model.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_a_run_goes_on_with_scenes_of_another_size(tmp_path):
    scenes = {"data.path": str(shutil.copy(tiny.SCENES, tmp_path))}
    Loop(tmp_path / "run", **scenes, **{"data.image_dim": [14, 14]}).train(until=2)
    loop, steps = Loop(tmp_path / "run", **scenes), []
    before = str(tmp_path / "run" / "ckpt-2")
    loop.train(lambda name, value, step: steps.append(step), before, until=4)
    assert set(steps) == {3, 4} and loop.optimizer.step == 4


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    loop = Loop(tmp_path, batch_size=1)
    with pytest.raises(UserError, match="batch_size=1 cannot be split over 2 devices"):
        loop.train(strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))


def test_a_figure_is_averaged_over_the_steps_and_devices_where_it_is_defined():
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    config = get_config("tetrominoes", SHORT)
    with devices.replica_local_variables(strategy):
        model, optimizer = build(config["model"]), build(config["optimizer"])
        model.initialize((8, 8, 3))
    progress = Progress(model, 3)
    learner = Learner(model, optimizer, progress, strategy)

    @tf.function
    def over_replicas(first, second):
        def value():
            is_first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return tf.where(is_first, first, second)

        values = strategy.run(value)
        return [learner._over_replicas(f"loss/{name}", values) for name in ("ari_nobg", "mse")]

    nan = tf.constant(np.nan)
    assert [float(v) for v in over_replicas(tf.constant(0.25), tf.constant(0.75))] == [0.5, 0.5]
    ari, mse = over_replicas(nan, tf.constant(0.75))
    assert float(ari) == 0.75 and np.isnan(mse)
    for step, ari in enumerate((0.5, np.nan, 0.25), 1):
        scalars = {"loss/slots": 2.0 * step, "loss/total": 1.0, "debug/global_grad_norm": 1.0}
        scalars |= {"loss/ari_nobg": ari}
        progress.add({k: tf.constant(v, tf.float32) for k, v in scalars.items()}, step)
    means, count = progress.pop_means()
    assert count == 3 and means["ari_nobg"] == 0.375
    assert progress.pop_means() == ({}, 0)
