"""What people do from Python: load a shipped model, infer slots, decode them."""

import numpy as np
import pytest

from iodine.errors import UserError
from iodine.main import load_model
from multi_object_datasets.generate import generate
from tests.helpers import tiny


@pytest.fixture
def scenes(tmp_path):
    path = str(tmp_path / "scenes.tfrecords")
    generate("balls", num_scenes=4, seed=0, path=path, workers=1)
    return path


def test_a_shipped_model_loads_by_name_and_takes_scenes_apart(scenes):
    model, dataset, config = load_model("demo", {"data.path": scenes})
    assert config["num_components"] == model.num_components == 4
    info = model.eval(next(iter(dataset("test"))))
    assert np.mean(info["metrics"]["ari_nobg"][:, -1]) > 0.8

    batch = next(dataset("test").as_numpy_iterator())
    z = model.encode(batch)[-1]["z"]
    scene = model.decode(z.numpy())  # No shape: that of the model's pictures.
    assert np.mean(np.square(scene["recons"] - batch["image"])) < 0.05
    assert model.sample_prior(2)["recons"].shape == (2, 1, 14, 14, 3)


def test_a_checkpoint_of_another_architecture_is_refused(scenes):
    with pytest.raises(UserError, match="another architecture"):
        load_model("demo", {"data.path": scenes, "n_z": 5})
    with pytest.raises(UserError, match="no checkpoint"):
        load_model("tetrominoes", {"checkpoint_dir": str(tiny.ROOT / "nowhere")})
