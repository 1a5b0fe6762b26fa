"""One order from words to a config, for each entry and wherever a value comes from."""

import json

import pytest

from iodine import main
from iodine.build import build
from iodine.config import NAMED_CONFIGS, get_config, resolve
from iodine.configurations.named_config import named_config
from iodine.entries import ENTRIES, of_stage
from iodine.errors import UserError
from tests.helpers import tiny

# Entries that feed plans: a value other than that of `demo_fast`, and where it is seen.
FED = {
    "precision": ("mixed_bfloat16", "model.precision"),
    "rematerialize": (True, "model.rematerialize"),
    "n_z": (5, "model.n_z"),
    "num_components": (3, "model.num_components"),
    "num_iters": (2, "model.num_iters"),
    "learn_rate": (0.5, "optimizer.learning_rate.initial_learning_rate"),
    "batch_size": (3, "data.batch_size"),
    "image_dim": ([7, 7], "data.image_dim"),
    "pixel_scale": (0.7, "model.output_dist.component_dist.scale_val"),
    "kl_weight": (5.0, "model.kl_weight"),
    "saturation": (0.25, "data.saturation"),
    "background": (0.25, "data.background"),
    "random_light": (0.25, "data.random_light"),
}


def at(config, path):
    for part in path.split("."):
        config = config[part]
    return config


def test_every_entry_that_feeds_a_plan_is_tried_here():
    fed = {name for name, entry in ENTRIES.items() if entry.feeds}
    assert fed - {"data", "model", "optimizer", "dataset_variant"} == FED.keys()
    assert set(of_stage()) < FED.keys() | {"dataset_variant"}


@pytest.fixture
def source(request, tmp_path, monkeypatch):
    """A function that gives an entry by way of a source: (names, updates, scopes)."""

    def give(name, value):
        if request.param == "command line":
            return ["demo_fast"], {name: value}, {}
        if request.param == "JSON file":
            (tmp_path / "own.json").write_text(json.dumps({name: value}))
            return ["demo_fast", str(tmp_path / "own.json")], {}, {}
        if request.param == "own named config":
            return ["demo_fast", "own"], {}, {"own": lambda: {name: value}}
        assert request.param == "shipped named config"
        monkeypatch.setitem(NAMED_CONFIGS, "own", None)
        base = NAMED_CONFIGS["demo_fast"]
        function = base.function

        def own(c):
            return function(c)

        named_config(**{**base.entries, name: value})(own)
        return ["own"], {}, {}

    return give


SOURCES = ["command line", "JSON file", "own named config", "shipped named config"]


@pytest.mark.parametrize("source", SOURCES, indirect=True)
@pytest.mark.parametrize("name", FED)
def test_an_entry_feeds_its_plan_wherever_it_comes_from(source, name):
    value, path = FED[name]
    names, updates, scopes = source(name, value)
    config = resolve(names, updates, scopes=scopes).config
    assert config[name] == value and at(config, path) == value


@pytest.mark.parametrize("name", [name for name in of_stage() if name in FED])
def test_a_stages_difference_wins_over_the_users_word(name):
    value, path = FED[name]
    stages = [{"until": 3, name: value}, {"until": 5}]
    before = at(get_config("demo_fast", {"stages": []}), path)
    resolution = resolve(["demo_fast"], {"stages": stages})
    assert [at(config, path) for _, config in resolution.stages] == [value, before]
    assert at(resolution.config, path) == before
    assert resolution.stages[0][0].overridden == {name: resolution.config[name]}


def test_the_built_model_is_the_config():
    (_, config), *_ = resolve(["demo_fast"], {"stages.1.kl_weight": 0.3}).stages
    assert build(config["model"], "model").kl_weight == 0.3


def test_sacreds_run_has_the_config_that_is_used(tmp_path, capsys):
    (tmp_path / "kl.json").write_text('{"kl_weight": 5.0}')
    words = ["print_config", "with", "demo_fast", str(tmp_path / "kl.json")]
    code, stdout, _ = tiny.run_here(*words)
    assert code == 0
    assert stdout.count("kl_weight = 5.0") == 2  # the entry and the model's
    assert "\x1b" not in stdout  # no colours in a pipe
    assert "# Weight of the KL divergence" in stdout


def test_a_configs_rule_follows_the_entries_that_it_depends_on():
    assert get_config("clevr6", {"batch_size": 32})["learn_rate"] == 0.001
    assert get_config("clevr6", {"batch_size": 32, "learn_rate": 0.5})["learn_rate"] == 0.5
    stages = resolve(["clevr6"], {"stages": [{"until": 1, "batch_size": 8}]}).stages
    assert stages[0][1]["learn_rate"] == 0.001 * (8 / 32) ** 0.5


def test_parts_of_plans_come_last_and_the_users_last_of_all(tmp_path):
    (tmp_path / "own.json").write_text('{"model": {"kl_weight": 2.0, "n_z": 3}}')
    names = [str(tmp_path / "own.json"), "demo_fast"]
    model = resolve(names, {"kl_weight": 7.0, "model.n_z": 4}).config["model"]
    assert (model["kl_weight"], model["n_z"]) == (2.0, 4)


def test_another_constructor_replaces_a_part_as_a_whole():
    part = {"constructor": "mypkg.PixelMLP", "hidden": 64}
    updates = {"model.decoder.pixel_decoder": part, "allow_constructors": ["mypkg"]}
    assert get_config("demo_fast", updates)["model"]["decoder"]["pixel_decoder"] == part


def test_a_replaced_part_keeps_what_the_top_of_the_config_feeds():
    data = {"data.constructor": "iodine.modules.data.ImageFolder", "data.path": "mine"}
    data = get_config("demo_fast", data)["data"]
    assert data["image_dim"] == [14, 14] and data["batch_size"] == 8
    assert data["path"] == "mine" and "held_out" not in data


def test_a_word_that_no_stage_or_some_listen_to_is_told():
    (note,) = resolve(["demo_fast"], {"num_iters": 2}).notes
    assert note.startswith("num_iters=2 counts in no stage: stages 1, 2 of 2 set another")
    (note,) = resolve(["demo_fast"], {"saturation": 0.5}).notes
    assert note.startswith("saturation=0.5 counts in some stages alone: stage 1 of 2 sets another")
    assert resolve(["demo_fast"], {"kl_weight": 0.2}).notes == []
    (note,) = resolve(["monet_tetrominoes"], {"num_iters": 2}).notes
    assert note == "num_iters=2 changes nothing: no part of this config depends on it"


def test_a_part_that_hides_a_stages_difference_is_refused():
    with pytest.raises(
        UserError, match="model.num_iters would hide what stage 1 says of num_iters"
    ):
        resolve(["demo_fast"], {"model.num_iters": 2})
    resolve(["demo_fast"], {"model.num_iters": 2, "stages": []})
    resolve(["demo_fast"], {"model.n_z": 2})


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"allow_constructors": ["os"]}', "allow_constructors is for the command line alone"),
        ('{"kl_wait": 1}', "unknown config entry 'kl_wait', did you mean 'kl_weight'"),
        ('{"kl_weight": "low"}', "kl_weight has to be of type float, not 'low'"),
        ("[1]", "holds no entries"),
        ("{", "cannot be read"),
    ],
)
def test_a_file_of_entries_is_checked_and_named(tmp_path, content, message):
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        resolve(["demo_fast", str(path)])
    assert str(path) in str(error.value)


def test_a_file_cannot_allow_itself_a_constructor(tmp_path):
    marker = tmp_path / "marker"
    plan = {"constructor": "os.system", "command": f"touch {marker}"}
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"allow_constructors": ["os"], "model": plan}))
    code, stdout, stderr = tiny.run_here("with", "demo_fast", str(path))
    assert code == 1 and "allow_constructors" in stdout + stderr
    path.write_text(json.dumps({"model": plan}))
    code, stdout, stderr = tiny.run_here("with", "demo_fast", str(path))
    assert code == 1 and "unknown constructor 'os.system'" in stdout + stderr
    assert not marker.exists()


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(UserError, match="there is no config 'clevr7', did you mean 'clevr'"):
        resolve(["clevr7"])


def test_every_named_config_says_what_it_is():
    for config in NAMED_CONFIGS.values():
        assert config.__doc__, config.name


def test_one_resolution_gives_all_commands_their_config():
    assert main.get_config is get_config
