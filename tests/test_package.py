"""The installed package works from any directory: its models, its command, its scenes."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest
from PIL import Image

import iodine
from iodine import checkpoints, shipped_models
from iodine.errors import UserError
from tests.helpers import tiny

MAX_WEIGHTS = 5_000_000  # bytes of one model in the package


def run(environment, *command, cwd):
    """Runs a program of the environment and returns (exit code, stdout, stderr)."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "IODINE_DATA")}
    done = subprocess.run(
        [environment / "bin" / command[0], *map(str, command[1:])],
        cwd=cwd,
        env={**clean, "TF_CPP_MIN_LOG_LEVEL": "3", "IODINE_CHECKPOINTS": str(cwd / "kept")},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package, built from what a clone of this directory has."""
    directory = tmp_path_factory.mktemp("build")
    source = directory / "source"
    # Not in the checkout, which setuptools would leave a folder in.
    shutil.copytree(
        tiny.ROOT,
        source,
        ignore=lambda folder, names: {
            name
            for name in names
            if name in (".git", ".venv", "runs", "build", "dist", "tests", "__pycache__")
            or name.endswith((".packed", ".egg-info"))
            or (folder.endswith("multi_object_datasets") and name.endswith(".tfrecords"))
        },
    )
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", directory, source],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the package, which sees the libraries of this one, not the checkout."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    site = next(environment.glob("lib/python*/site-packages"))
    # The path alone: lines of other .pth files there, such as an editable install's, do not count.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--force-reinstall", wheel], check=True)
    return environment


def test_the_wheel_has_the_models_but_the_large_ones(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    packed = {name.split("/")[2] for name in sizes if name.endswith(".index")}
    assert packed == set(iodine.list_models()) - set(checkpoints.LEFT_OUT)
    weights = [size for name, size in sizes.items() if ".data-" in name]
    assert len(weights) == len(packed) and max(weights) <= MAX_WEIGHTS
    assert "multi_object_datasets/digits.npz" in sizes
    page = (tiny.ROOT / "iodine" / "figures" / "explore").iterdir()
    assert {f"iodine/figures/explore/{path.name}" for path in page} <= sizes.keys()
    for name in checkpoints.LEFT_OUT:
        folder = tiny.ROOT / "checkpoints" / name
        assert max(path.stat().st_size for path in folder.glob("*.data-*")) > MAX_WEIGHTS


def test_models_evaluate_load_and_generate_from_any_directory(installed, tmp_path):
    out = tmp_path / "figures.json"
    words = ["evaluate", "with", "demo_fast", "eval_images=16", "seed=0", f"out={out}"]
    code, _, stderr = run(installed, "iodine", *words, cwd=tmp_path)
    assert code == 0, stderr
    assert json.loads(out.read_text())["ari_nobg"]["mean"] > 0.9
    assert "using the 16 held-out scenes in" in stderr
    script = (
        "import iodine, multi_object_datasets\n"
        "assert 'site-packages' in iodine.__file__, iodine.__file__\n"
        "assert 'clevr6_fast' in iodine.list_models(verify=True)\n"
        "model, dataset, config = iodine.load_model('clevr6_fast')\n"
        "batch = next(iter(dataset('test')))\n"
        "print(batch['image'].shape, config['checkpoint_dir'])\n"
    )
    code, stdout, stderr = run(installed, "python", "-c", script, cwd=tmp_path)
    assert code == 0, stderr
    assert "128, 128, 3" in stdout
    words = ["-m", "multi_object_datasets.generate", "balls", "--num-scenes", "4"]
    code, _, stderr = run(installed, "python", *words, "--out", "balls.tfrecords", cwd=tmp_path)
    assert code == 0, stderr
    # Nothing went where the package is.
    left = [p for p in installed.rglob("*") if p.name.endswith((".packed", ".part"))]
    assert not left and (tmp_path / "balls.tfrecords").exists()


def test_an_image_is_segmented_in_one_line(installed, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, [60, 80, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    words = ["segment", "with", "demo_fast", "image=photo.png", "out=slots"]
    code, _, stderr = run(installed, "iodine", *words, cwd=tmp_path)
    assert code == 0, stderr
    assert (tmp_path / "slots" / "photo_labels.png").exists()


def test_results_go_to_the_working_directory(installed, tmp_path):
    script = (
        "from iodine import checkpoints, shipped_models\n"
        "for path in checkpoints.checkpoint_prefix('demo'), 'runs/demo_1/ckpt-5':\n"
        "    print(shipped_models.folder_for_results(path))\n"
    )
    code, stdout, stderr = run(installed, "python", "-c", script, cwd=tmp_path)
    assert code == 0, stderr
    assert stdout.split() == ["demo", "runs/demo_1"]


def test_a_model_that_was_left_out_is_one_line_that_says_where_it_is(installed, tmp_path):
    words = ["evaluate", "with", "air", "eval_images=16"]
    code, _, stderr = run(installed, "iodine", *words, cwd=tmp_path)
    assert code == 1
    errors = [line for line in stderr.splitlines() if line.startswith("error")]
    assert errors == [
        "error: the weights of air are too large for the installed package: take the folder "
        "checkpoints/air from the repository and set checkpoint_dir to it"
    ]


def test_what_a_run_writes_goes_where_the_environment_says(installed, tmp_path):
    script = (
        "from iodine.config import get_config\n"
        "print(get_config('demo_fast')['checkpoint_dir'], get_config('demo')['checkpoint_dir'])"
    )
    code, stdout, stderr = run(installed, "python", "-c", script, cwd=tmp_path)
    assert code == 0, stderr
    kept = tmp_path / "kept"
    assert stdout.split() == [f"{kept}/demo_fast", f"{kept}/demo"]


def test_the_list_of_checksums_is_of_the_files_that_are_here():
    assert set(iodine.list_models(verify=True)) == set(iodine.list_models())


def test_a_changed_a_missing_and_a_foreign_file_are_told(tmp_path):
    model = tmp_path / "demo_fast"
    shutil.copytree(tiny.ROOT / "checkpoints" / "demo_fast", model)
    with pytest.raises(UserError, match="SHA256SUMS cannot be read"):
        shipped_models.verify(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(UserError, match="SHA256SUMS is no list of SHA-256 checksums"):
        shipped_models.verify(tmp_path)
    lines = (tiny.ROOT / "checkpoints" / "SHA256SUMS").read_text().splitlines(keepends=True)
    # Those that are left out of the package may be missing.
    of_these = [line for line in lines if line.split("  ")[1].startswith(("demo_fast/", "air"))]
    (tmp_path / "SHA256SUMS").write_text("".join(of_these))
    shipped_models.verify(tmp_path)
    scenes = model / "scenes.tfrecords"
    scenes.write_bytes(scenes.read_bytes() + b"x")
    with pytest.raises(UserError, match="scenes.tfrecords is not the file whose SHA-256"):
        shipped_models.verify(tmp_path)
    scenes.unlink()
    with pytest.raises(UserError, match="scenes.tfrecords is missing"):
        shipped_models.verify(tmp_path)
    shutil.copy(tiny.ROOT / "checkpoints" / "demo_fast" / "scenes.tfrecords", model)
    (model / "ckpt-9.index").touch()
    with pytest.raises(UserError, match="ckpt-9.index is not in SHA256SUMS"):
        shipped_models.verify(tmp_path)
    (model / "ckpt-9.index").unlink()
    model.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="demo_fast/checkpoint is missing"):
        shipped_models.verify(tmp_path)
