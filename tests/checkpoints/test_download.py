"""Downloads, against a small hub on this machine."""

import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from lavie.checkpoints.catalog import CATALOG, Licence, Release, RemoteFile, releases
from lavie.checkpoints.download import download
from lavie.errors import LavieError, UsageError

WEIGHTS = bytes(range(256)) * 4000
CONFIG = b'{"a": 1}'
COMMIT = "c" * 40


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(send_body=False)

    def do_GET(self):
        self.server.hub.ranges.append(self.headers.get("Range"))
        self.answer(send_body=True)

    def answer(self, send_body):
        hub, name = self.server.hub, self.path.split("?")[0].split("/", 5)[-1]
        if name not in hub.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        content, etag = hub.files[name], hub.etags[name]
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        for header, value in {
            "ETag": f'"{etag}"',
            "X-Repo-Commit": COMMIT,
            "Content-Length": len(content) - start,
            "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}",
        }.items():
            self.send_header(header, str(value))
        self.end_headers()
        if send_body:
            cut, hub.cut = hub.cut, None
            self.wfile.write(content[start : cut or len(content)])
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub with one release named "sample"; `ranges` are the Range headers of all GET requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files = {"model.safetensors": WEIGHTS, "vae/config.json": CONFIG}
    etags = {"model.safetensors": sha256(WEIGHTS), "vae/config.json": git_blob(CONFIG)}
    url = f"http://127.0.0.1:{server.server_port}"
    server.hub = SimpleNamespace(files=files, etags=etags, ranges=[], cut=None, url=url)
    for variable in ("HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    offer(monkeypatch, RemoteFile("model.safetensors"), RemoteFile("vae/config.json"))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.hub
    server.shutdown()
    server.server_close()


def offer(monkeypatch, *files):
    licence = Licence("Sample Licence", "https://example.org/licence", "Do no harm.")
    monkeypatch.setitem(CATALOG, "sample", Release("sample", "a sample", "some/one", files, licence, "sample"))


def fetch(hub, models, **options):
    return download(["sample"], models, **{"agree": True, "progress": False, "endpoint": hub.url, **options})


def test_a_release_is_fetched_to_its_place(hub, tmp_path):
    places = fetch(hub, tmp_path)
    assert places == [tmp_path / "sample" / "model.safetensors", tmp_path / "sample" / "vae" / "config.json"]
    assert [place.read_bytes() for place in places] == [WEIGHTS, CONFIG]


def test_what_is_there_and_sound_is_not_fetched_again(hub, tmp_path):
    fetch(hub, tmp_path)
    hub.ranges.clear()
    fetch(hub, tmp_path)
    assert hub.ranges == []


def test_a_file_with_a_known_checksum_needs_no_hub_once_it_is_there(hub, tmp_path, monkeypatch):
    offer(monkeypatch, RemoteFile("model.safetensors", len(WEIGHTS), sha256(WEIGHTS)))
    (place,) = fetch(hub, tmp_path)
    assert download(["sample"], tmp_path, agree=False, endpoint="http://127.0.0.1:1") == [place]


def test_a_broken_connection_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    for module in ("constants", "file_download"):  # the client's version decides; 10 MB in earnest
        monkeypatch.setattr(f"huggingface_hub.{module}.DOWNLOAD_CHUNK_SIZE", 100_000, raising=False)
    hub.cut = 550_000
    with contextlib.suppress(LavieError):  # old versions of the hub's client leave it to the next run
        fetch(hub, tmp_path)
    places = fetch(hub, tmp_path)
    assert places[0].read_bytes() == WEIGHTS
    assert "bytes=500000-" in [(header or "").split(",")[0] for header in hub.ranges]


def test_a_damaged_file_is_removed_and_named(hub, tmp_path):
    hub.etags["model.safetensors"] = sha256(b"something else")
    with pytest.raises(LavieError, match=r"model\.safetensors arrived damaged"):
        fetch(hub, tmp_path)
    assert not (tmp_path / "sample" / "model.safetensors").exists()


def test_a_file_other_than_the_known_one_is_not_fetched(hub, tmp_path, monkeypatch):
    offer(monkeypatch, RemoteFile("model.safetensors", sha256=sha256(b"the real one")))
    with pytest.raises(LavieError, match=r"another model\.safetensors"):
        fetch(hub, tmp_path)
    assert hub.ranges == []


def test_nothing_is_fetched_before_the_licence_is_accepted(hub, tmp_path):
    shown = []
    with pytest.raises(LavieError, match="licences were not accepted"):
        fetch(hub, tmp_path, agree=lambda text: shown.append(text))
    assert "Sample Licence" in shown[0]
    assert "https://example.org/licence" in shown[0]
    assert hub.ranges == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_hub_lost_is_named(hub, tmp_path):
    del hub.files["vae/config.json"]
    with pytest.raises(LavieError, match=r"no longer has a file: .*404"):
        fetch(hub, tmp_path)


def test_without_network_the_message_says_what_to_place_where(tmp_path):
    with pytest.raises(LavieError) as caught:
        download(["lavie_base"], tmp_path, agree=True, endpoint="http://127.0.0.1:1")
    message = str(caught.value)
    assert "could not be reached" in message
    assert "https://huggingface.co/Vchitect/LaVie" in message
    assert f"lavie_base.pt (3.6 GB) -> {tmp_path}" in message


def test_too_little_room_is_told_before_the_download(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(LavieError, match="but the download needs"):
        fetch(hub, tmp_path)
    assert hub.ranges == []


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"'lavie_bse' is nothing to download.*lavie_base"):
        releases(["lavie_bse"])


def test_the_cascade_is_five_releases_in_the_folders_where_the_family_looks_for_them(tmp_path):
    from lavie.config import RELEASED_STAGES

    chosen = releases(["lavie"])
    assert len(chosen) == 5
    places = [release.place(tmp_path, file) for release in chosen for file in release.files]
    for stage in RELEASED_STAGES.values():
        for part in (stage.unet, stage.vae, stage.text_encoder, stage.tokenizer):
            assert any(place == tmp_path / part or tmp_path / part in place.parents for place in places)
