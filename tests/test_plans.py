"""Building from plans: what they may name, and one clear line for what cannot be built."""

import functools
import math
import sys

import pytest
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

from iodine.build import build
from iodine.errors import UserError, as_whole_number
from iodine.main import get_config
from tests.helpers import tiny

tfd = tfp.distributions
MLP = "iodine.modules.networks.MLP"


@pytest.mark.parametrize(
    "constructor",
    [
        "os.system",
        "subprocess.run",
        "builtins.exec",
        "tensorflow.io.gfile.rmtree",  # a library's function
        "tensorflow.io.TFRecordWriter",  # a library's class, which empties a file
        "multi_object_datasets.files.replace",
        "iodine.main.ex.run",
        "iodine.main.create_run",  # Sacred's, which `iodine.main` imports
        "iodine.main.os.system",
        "iodine.figures.report.os.remove",
    ],
)
def test_a_plan_names_only_constructors_of_this_project_and_its_libraries(constructor):
    with pytest.raises(UserError, match=f"^model: unknown constructor '{constructor}'.*") as error:
        build({"constructor": constructor}, "model")
    assert "\n" not in str(error.value)


def test_a_foreign_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "foreign_module.py").write_text("Thing = dict")
    monkeypatch.syspath_prepend(tmp_path)
    plan = {"constructor": dict, "inner": [{"constructor": "foreign_module.Thing", "x": 1}]}
    with pytest.raises(UserError, match=r'allow_constructors=\["foreign_module"\] on the command'):
        build(plan)
    assert "foreign_module" not in sys.modules
    assert build(plan, allowed=["foreign_module"]) == {"inner": [{"x": 1}]}


@pytest.mark.parametrize(
    "constructor, arguments, kind",
    [
        ("sonnet.initializers.Zeros", {}, snt.initializers.Zeros),
        (
            "tensorflow.keras.optimizers.schedules.CosineDecay",
            {"initial_learning_rate": 0.1, "decay_steps": 9},
            tf.keras.optimizers.schedules.CosineDecay,
        ),
        ("tensorflow_probability.distributions.Normal", {"loc": 0.0, "scale": 1.0}, tfd.Normal),
        (functools.partial(dict, a=1), {}, dict),
    ],
)
def test_a_plan_may_name_classes_of_the_libraries_and_hold_objects(constructor, arguments, kind):
    assert isinstance(build({"constructor": constructor, **arguments}), kind)


@pytest.mark.parametrize(
    "plan, message",
    [
        ("data", r"build takes a plan such as config\['data'\], not 'data'"),
        (None, "build takes a plan"),
        ([{"constructor": MLP}], "build takes a plan"),
        ({}, "needs a constructor, and this one has nothing"),
        ({"output_sizes": [1]}, "needs a constructor, and this one has output_sizes"),
        ({"constructor": ""}, "unknown constructor ''"),
        ({"constructor": 3}, "unknown constructor '3'"),
        ({"constructor": "iodine"}, "unknown constructor 'iodine'"),
        ({"constructor": "iodine.modules"}, "unknown constructor 'iodine.modules'"),
        ({"constructor": "iodine.modules.networks.MPL"}, "did you mean 'MLP'"),
        ({"constructor": "iodine.model.Model"}, "unknown constructor 'iodine.model.Model'"),
        ({"constructor": "iodine.main.ex.run"}, "unknown constructor 'iodine.main.ex.run'"),
        ({"constructor": "tensorflow.train.RMSPropOptimizer"}, "has no 'RMSPropOptimizer'"),
        ({"constructor": object, "x": 1}, "object has no argument 'x' .it takes none"),
        ({"constructor": MLP, "output_size": [1]}, "did you mean 'output_sizes'"),
        ({"constructor": MLP}, "MLP needs output_sizes"),
    ],
)
def test_what_is_no_plan_is_told_in_one_line(plan, message):
    with pytest.raises(UserError, match=message) as error:
        build(plan)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value, expected",
    [(1e5, 100000), (3.0, 3), (-2.0, -2), (7, 7), (0.5, 0.5), ("3.0", "3.0"), (None, None)],
)
def test_a_whole_float_is_the_integer_that_it_stands_for(value, expected):
    result = as_whole_number(value)
    assert result == expected and type(result) is type(expected)


def test_no_other_value_is_taken_for_a_whole_number():
    assert as_whole_number(True) is True
    assert as_whole_number(math.inf) == math.inf
    assert math.isnan(as_whole_number(math.nan))


BERNOULLI = "iodine.modules.distribution.BernoulliOutput"
DECODER = "decoder.pixel_decoder"
ENCODER = "refinement_core.encoder_net"
PIXELS = "output_dist.component_dist"
BAD_SETTINGS = [
    ("n_z", 0, "n_z is 0, use a whole number above 0"),
    ("num_components", 1.5, "num_components is 1.5, use a whole number"),
    ("num_iters", True, "num_iters is True, use a whole number"),
    ("decoder", None, "^model: IODINE needs decoder"),
    ("latent_dist", {"constructor": BERNOULLI}, "latent_dist is a BernoulliOutput, but has to be"),
    ("output_dist", {"constructor": BERNOULLI}, "output_dist is a BernoulliOutput, but has to be"),
    ("output_dist.component_dist", None, "^model.output_dist: MaskedMixture needs component_dist"),
    ("iter_loss_weight", [1.0, 2.0], "iter_loss_weight is .1.0, 2.0., .* num_iters . 1 = 3"),
    ("iter_loss_weight", None, "iter_loss_weight is None"),
    ("iter_loss_weight", "lin", "iter_loss_weight is 'lin'"),
    ("iter_loss_weight", ["a", "b", "c"], "iter_loss_weight is"),
    ("coord_type", None, "coord_type is None, use 'linear' or 'cos'"),
    ("coord_type", "cosine", "coord_type is 'cosine', did you mean 'cos'"),
    ("coord_freqs", 1, "coord_freqs is 1, use a whole number of 2 or more"),
    ("inputs", "image", "inputs is 'image', use a list of names"),
    ("inputs", ["image"], "inputs has to name zp"),
    ("inputs", ["zp", "dzp"], "and one of image"),
    ("inputs", ["image", "zp", "maks"], "unknown input 'maks', did you mean 'mask'"),
    ("preprocess", "dzp", "preprocess is 'dzp', use a list"),
    ("stop_gradients", None, "stop_gradients is None, use a list"),
    ("output_dist.num_components", 3, "output_dist.num_components is 3, but the model's .* 4"),
    ("output_dist.mask_activation", "tanhh", "unknown activation 'tanhh', did you mean 'tanh'"),
    ("output_dist.mask_activation", "conv2d", "unknown activation 'conv2d'"),
    (f"{PIXELS}.dist", "logisitc", "unknown distribution 'logisitc', did you mean 'logistic'"),
    (f"{PIXELS}.scale_val", 0, "scale_val is 0, use a number above 0, or -1"),
    (f"{PIXELS}.scale_val", None, "scale_val is None"),
    (f"{PIXELS}.scale", "std", "scale is 'std'"),
    ("latent_dist.dist", "logistic", "the KL divergence of Logistic is not known"),
    (f"{DECODER}.coord_type", "lin", "coord_type is 'lin'"),
    (f"{DECODER}.cnn_opt", "elu", "cnn_opt: ConvNet2D takes a dict of arguments, not 'elu'"),
    (f"{DECODER}.cnn_opt.output_channels", [], "cnn_opt: output_channels is \\[\\]"),
    (f"{DECODER}.cnn_opt.output_channels", [0, None], "an entry of output_channels is 0"),
    (f"{DECODER}.cnn_opt.output_channels", [8, 7], "the last of output_channels is 7"),
    (f"{DECODER}.cnn_opt.strides", [1, 1, 1], "strides has 3 entries for 2 layers"),
    (f"{DECODER}.cnn_opt.strides", [2], "makes images of 2×2 instead of 8×8: .* strides of 1"),
    (f"{DECODER}.cnn_opt.strides", [[1, 2]], "use the same over height and width"),
    (f"{DECODER}.cnn_opt.kernel_shapes", [[3, 3, 3]], "use a number or a pair"),
    (f"{DECODER}.cnn_opt.paddings", ["CAUSAL"], "paddings has the entry 'CAUSAL'"),
    (f"{DECODER}.mlp_opt", {}, "mlp_opt: MLP needs output_sizes"),
    (f"{ENCODER}.cnn_opt.output_channels", 32, "output_channels is 32, use a list"),
    (f"{ENCODER}.cnn_opt.output_channels", [None], "an entry of output_channels is None"),
    (f"{ENCODER}.cnn_opt.activation", 3, "unknown activation '3'"),
    (f"{ENCODER}.mlp_opt.output_sizes", 128, "output_sizes is 128, use a list"),
    (f"{ENCODER}.mode", None, "mode is 'None'"),
    ("refinement_core.recurrent_net.hidden_sizes", 64, "hidden_sizes is 64, use a list"),
    ("refinement_core.recurrent_net.hidden_sizes", [1.5], "an entry of hidden_sizes is 1.5"),
]


@pytest.mark.parametrize("key, value, message", BAD_SETTINGS)
def test_a_setting_that_is_none_is_told_in_one_line(key, value, message):
    plan = get_config("tetrominoes", tiny.UPDATES)["model"]
    *outer, last = key.split(".")
    functools.reduce(dict.__getitem__, outer, plan)[last] = value
    if key == "coord_freqs":
        plan["coord_type"] = "cos"
    with pytest.raises(UserError, match=message) as error:
        build(plan, "model").initialize((8, 8, 3))
    assert "\n" not in str(error.value)


def test_a_model_takes_whole_floats_for_integers():
    plan = get_config("tetrominoes", tiny.UPDATES)["model"]
    floats = {"n_z": 4.0, "num_components": 4.0, "num_iters": 2.0, "coord_freqs": 3.0}
    loss, _, _ = build({**plan, **floats})({"image": tf.zeros([1, 1, 8, 8, 3])})
    assert math.isfinite(loss)


def test_coordinates_that_are_no_input_need_no_type():
    plan = get_config("tetrominoes", tiny.UPDATES)["model"]
    build({**plan, "coord_type": None, "inputs": ["image", "mask", "zp"]}).initialize((8, 8, 3))


OPTIMIZER = get_config("tetrominoes")["optimizer"]
DECAY = OPTIMIZER["learning_rate"]


@pytest.mark.parametrize(
    "plan, message",
    [
        ({**OPTIMIZER, "learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({**OPTIMIZER, "learning_rate": -1.0}, "learning_rate is -1.0, use a number of 0 or more"),
        ({**OPTIMIZER, "beta1": 1.0}, "beta1 is 1.0, use a number from 0 to below 1"),
        ({**OPTIMIZER, "epsilon": None}, "epsilon is None"),
        ({**DECAY, "decay_steps": 0}, "decay_steps is 0, use a number above 0"),
        ({**DECAY, "decay_rate": "0.1"}, "decay_rate is '0.1'"),
    ],
)
def test_an_optimizers_setting_that_is_none_is_told_in_one_line(plan, message):
    with pytest.raises(UserError, match=message):
        build(plan)


def test_an_optimizer_takes_integers_for_floats():
    plan = {**OPTIMIZER, "learning_rate": {**DECAY, "decay_rate": 1}, "beta1": 0}
    adam = build(plan)
    x = tf.Variable([1.0])
    adam.apply([tf.constant([1.0])], [x])
    assert float(x[0]) < 1.0
