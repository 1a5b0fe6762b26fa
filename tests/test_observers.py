"""Training with Sacred's database observers (test_training_process covers FileStorageObserver)."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys

import pytest

from tests.helpers import tiny

pytestmark = pytest.mark.usefixtures("eagerly")

# A MongoDB-compatible server, installed beside this Python by the extra `test`.
MONGO_SERVER = shutil.which("secantusd-py", path=os.path.dirname(sys.executable))


def train(observer, run_id, tmp_path):
    """Trains for two steps with an observer's command-line words, returns the lines printed.

    The observer has to give the run this id, which the checkpoint directory's name ends in.
    """
    arguments = tiny.arguments(
        checkpoint_dir=tmp_path / "ckpt", stop_after_steps=2, num_iters=1, data__cache=tmp_path
    )
    code, stdout, stderr = tiny.run_here(*observer, *arguments)
    assert code == 0, stderr
    assert "Traceback" not in stderr
    assert (tmp_path / f"ckpt_{run_id}" / "ckpt-2.index").exists()
    lines = [line for line in stdout.splitlines() if "Loss:" in line]
    assert [line.split()[0] for line in lines] == ["1", "2"]
    return lines


def test_a_run_is_recorded_in_an_sql_database(tmp_path):
    lines = train(["-s", f"sqlite:///{tmp_path}/runs.sqlite"], 0, tmp_path)
    with sqlite3.connect(tmp_path / "runs.sqlite") as database:
        ((status, config, info, output, result),) = database.execute(
            "select status, config, info, captured_out, result from run"
        )
    assert status == "COMPLETED"
    assert json.loads(config)["model"]["n_z"] == 4
    assert json.loads(info)["checkpoint_dir"] == f"{tmp_path}/ckpt_0"
    assert [line for line in output.splitlines() if "Loss:" in line] == lines
    assert f"{result:.2f}" == lines[-1].split()[2]


@pytest.fixture
def mongo_port(tmp_path):
    """Port of a server on 127.0.0.1 that is there for one test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            MONGO_SERVER,
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
            *("--storage-path", str(tmp_path / "mongo")),
            "--standalone",
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield port
    server.terminate()
    server.wait()


@pytest.mark.skipif(
    MONGO_SERVER is None,
    reason="no MongoDB-compatible server (`pip install secantusdb` brings secantusd-py)",
)
def test_a_run_is_recorded_in_a_mongodb_compatible_server(tmp_path, mongo_port):
    import pymongo

    # Waits until the server answers.
    client = pymongo.MongoClient("127.0.0.1", mongo_port, serverSelectionTimeoutMS=60_000)
    client.server_info()
    lines = train(["-m", f"127.0.0.1:{mongo_port}:iodine"], 1, tmp_path)
    with client:
        (run,) = client.iodine.runs.find()
        metrics = {metric["name"]: metric for metric in client.iodine.metrics.find()}
    assert run["_id"] == 1
    assert run["status"] == "COMPLETED"
    assert run["config"]["model"]["n_z"] == 4
    assert run["info"]["checkpoint_dir"] == f"{tmp_path}/ckpt_1"
    assert [line for line in run["captured_out"].splitlines() if "Loss:" in line] == lines
    assert metrics.keys() == {"loss", "ari_nobg"}
    assert metrics["loss"]["steps"] == metrics["ari_nobg"]["steps"] == [1, 2]
    losses = [line.split()[2] for line in lines]
    assert [f"{value:.2f}" for value in metrics["loss"]["values"]] == losses
    assert run["result"] == metrics["loss"]["values"][-1]
