"""`download_checkpoints.sh`, run as a process against a server on 127.0.0.1."""

import http.server
import io
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import threading
import zipfile

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "download_checkpoints.sh"
NAMES = ("clevr6", "multi_dsprites", "tetrominoes")
FILES = ("checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index")
OTHER_PROGRAMS = ("bash", "dirname", "find", "grep", "mkdir", "mv", "rm")
DOWNLOADERS = [name for name in ("curl", "wget") if shutil.which(name)]
UNPACKERS = [*(["unzip"] if shutil.which("unzip") else []), "python3"]
LOCATIONS = {"python3": os.path.realpath(sys.executable)}  # where `which` may find a wrapper script


def content(name, file):
    """Made-up bytes that hardly compress, 50 kB for the data files."""
    length = 50_000 if "data" in file else 100
    return bytes((i * i * 31 + i // 7 + len(name)) % 251 for i in range(length))


def make_zip(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return buffer.getvalue()


def published_entries():
    return {f"checkpoints/{n}/{f}": content(n, f) for n in NAMES for f in FILES}


@pytest.fixture
def server():
    """A server that gives `server.body` at every path, whole or from an offset."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked.group(1)) if asked else 0
            self.server.offsets.append(start)
            body = self.server.body
            if start >= len(body) and asked:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.offsets = []
        httpd.url = f"http://127.0.0.1:{httpd.server_port}/iodine_checkpoints.zip"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


class Checkout:
    """A directory with the script in it, and a PATH of the programs that it may use."""

    def __init__(self, directory):
        self.directory = directory
        self.published = directory / "checkpoints" / "published"
        self.archive = self.published / "iodine_checkpoints.zip"
        self.partial = self.published / "iodine_checkpoints.zip.part"
        self.programs = directory / "programs"
        shutil.copy(SCRIPT, directory)

    def run(self, url, programs=(DOWNLOADERS[0], UNPACKERS[0]), variable=False):
        shutil.rmtree(self.programs, ignore_errors=True)
        self.programs.mkdir()
        for name in (*OTHER_PROGRAMS, *programs):
            (self.programs / name).symlink_to(LOCATIONS.get(name) or shutil.which(name))
        environment = {"PATH": str(self.programs), "no_proxy": "127.0.0.1"}
        if variable:
            environment["IODINE_CHECKPOINTS_URL"] = url
        return subprocess.run(
            [str(self.directory / SCRIPT.name), *([] if variable else [url])],
            env=environment,
            cwd=os.sep,
            capture_output=True,
            text=True,
        )

    def assert_installed(self):
        for name in NAMES:
            for file in FILES:
                assert (self.published / name / file).read_bytes() == content(name, file)
        left = {path.name for path in self.published.iterdir()}
        assert left == {*NAMES, self.archive.name}

    def assert_nothing_unpacked(self):
        left = {path.name for path in self.published.iterdir()}
        assert left <= {self.archive.name, self.partial.name}
        assert not (self.directory / "evil").exists()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


every_program = pytest.mark.parametrize(
    "programs", [(d, u) for d in DOWNLOADERS for u in UNPACKERS], ids="-".join
)
every_unpacker = pytest.mark.parametrize(
    "programs", [(DOWNLOADERS[0], u) for u in UNPACKERS], ids="-".join
)


@every_program
def test_checkpoints_are_downloaded_unpacked_and_the_next_commands_said(server, checkout, programs):
    server.body = make_zip(published_entries())
    result = checkout.run(server.url, programs)
    assert result.returncode == 0, result.stderr
    checkout.assert_installed()
    for name in NAMES:
        assert (
            f"python -m iodine.main convert with {name} "
            f"reference_checkpoint=checkpoints/published/{name}/model.ckpt "
            f"checkpoint_dir=checkpoints/{name}\n"
        ) in result.stdout


def test_a_second_run_downloads_and_changes_nothing(server, checkout):
    server.body = make_zip(published_entries())
    assert checkout.run(server.url, variable=True).returncode == 0
    (checkout.published / "clevr6" / "checkpoint").write_bytes(b"changed since")
    again = checkout.run(server.url)
    assert again.returncode == 0
    assert "convert with clevr6" in again.stdout
    assert server.offsets == [0]
    assert (checkout.published / "clevr6" / "checkpoint").read_bytes() == b"changed since"


@every_program
def test_a_download_that_broke_off_is_resumed_where_it_was(server, checkout, programs):
    server.body = make_zip(published_entries())
    half = len(server.body) // 2
    checkout.published.mkdir(parents=True)
    checkout.partial.write_bytes(server.body[:half])
    result = checkout.run(server.url, programs)
    assert result.returncode == 0, result.stderr
    assert server.offsets == [half]
    checkout.assert_installed()


def test_a_whole_partial_file_is_used_without_asking_the_server(server, checkout):
    server.body = make_zip(published_entries())
    checkout.published.mkdir(parents=True)
    checkout.partial.write_bytes(server.body)
    assert checkout.run(server.url).returncode == 0
    assert server.offsets == []
    checkout.assert_installed()


@every_unpacker
def test_a_truncated_zip_is_refused_and_the_next_run_starts_over(server, checkout, programs):
    whole = make_zip(published_entries())
    server.body = whole[:-1000]
    result = checkout.run(server.url, programs)
    assert result.returncode == 1
    assert f"error: what {server.url} gives is no whole zip file" in result.stderr
    checkout.assert_nothing_unpacked()
    assert not checkout.partial.exists()
    server.body = whole
    assert checkout.run(server.url, programs).returncode == 0
    checkout.assert_installed()


@every_unpacker
def test_a_zip_with_a_flipped_bit_is_refused(server, checkout, programs):
    body = bytearray(make_zip(published_entries()))
    body[len(body) // 2] ^= 1
    server.body = bytes(body)
    result = checkout.run(server.url, programs)
    assert result.returncode == 1
    assert "is damaged" in result.stderr
    checkout.assert_nothing_unpacked()


@every_unpacker
@pytest.mark.parametrize(
    "entry", ["/tmp/iodine_evil", "../../evil", "checkpoints/../../../evil", "..\\evil", "C:\\evil"]
)
def test_entries_outside_of_the_folder_are_refused(server, checkout, programs, entry):
    server.body = make_zip({**published_entries(), entry: b"evil"})
    result = checkout.run(server.url, programs)
    assert result.returncode == 1
    assert "has entries with absolute paths or '..'" in result.stderr
    checkout.assert_nothing_unpacked()
    assert not pathlib.Path("/tmp/iodine_evil").exists()


def test_links_are_refused(server, checkout):
    link = zipfile.ZipInfo("checkpoints/clevr6/link")
    link.create_system = 3  # Unix
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    server.body = make_zip(published_entries())
    buffer = io.BytesIO(server.body)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    server.body = buffer.getvalue()
    result = checkout.run(server.url)
    assert result.returncode == 1
    assert "has links among its entries" in result.stderr
    checkout.assert_nothing_unpacked()


def test_a_zip_of_something_else_is_refused(server, checkout):
    server.body = make_zip({"checkpoints/clevr6/model.ckpt.index": b"alone"})
    result = checkout.run(server.url)
    assert result.returncode == 1
    assert "has no checkpoints/multi_dsprites/model.ckpt.index" in result.stderr
    checkout.assert_nothing_unpacked()


@pytest.mark.parametrize("downloader", DOWNLOADERS)
def test_an_unreachable_host_is_answered_with_what_to_do(server, checkout, downloader):
    url = server.url.replace("127.0.0.1", "no-such-host.invalid")
    result = checkout.run(url, (downloader, UNPACKERS[0]))
    assert result.returncode == 1
    assert f"error: could not fetch {url}" in result.stderr
    assert "put it at\ncheckpoints/published/iodine_checkpoints.zip" in result.stderr


def test_a_zip_that_was_put_there_by_hand_is_used(server, checkout):
    checkout.published.mkdir(parents=True)
    checkout.archive.write_bytes(make_zip(published_entries()))
    assert checkout.run(server.url).returncode == 0
    assert server.offsets == []
    checkout.assert_installed()


@pytest.mark.parametrize(
    "programs, message",
    [
        (("unzip",), "neither curl nor wget is there"),
        (("curl",), "neither unzip nor python3 is there"),
    ],
)
def test_a_missing_program_is_named(server, checkout, programs, message):
    result = checkout.run(server.url, programs)
    assert result.returncode == 1
    assert message in result.stderr
