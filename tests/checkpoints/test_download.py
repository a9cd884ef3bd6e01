"""Downloads, against a small hub on this machine."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.pack import ROOT

from lavie.checkpoints.catalog import CATALOG, GROUPS, Licence, Release, RemoteFile, Source, releases
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
        hub, (_, owner, repo, _, revision, name) = self.server.hub, self.path.split("?")[0].split("/", 5)
        repo = f"{owner}/{repo}"
        hub.asked.append((repo, revision, name))
        if repo in hub.gone or name not in hub.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if repo in hub.gone else "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        content, etag = hub.changed.get(repo, hub.files[name]), hub.etags[name]
        etag = sha256(content) if repo in hub.changed else etag
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
    """A hub with one release named "sample" in some/one and other/one.

    ranges: the Range headers of all GET requests. asked: (repository, revision, file) of all requests. gone:
    repositories that it lost. changed: what repositories now have in place of every file.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files = {"model.safetensors": WEIGHTS, "vae/config.json": CONFIG}
    etags = {"model.safetensors": sha256(WEIGHTS), "vae/config.json": git_blob(CONFIG)}
    url = f"http://127.0.0.1:{server.server_port}"
    server.hub = SimpleNamespace(
        files=files, etags=etags, ranges=[], cut=None, url=url, asked=[], gone=set(), changed={}
    )
    for variable in ("HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    offer(monkeypatch, RemoteFile("model.safetensors"), RemoteFile("vae/config.json"))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.hub
    server.shutdown()
    server.server_close()


def offer(monkeypatch, *files, others=(), **options):
    licence = Licence("Sample Licence", "https://example.org/licence", "Do no harm.")
    release = Release("sample", "a sample", "some/one", files, licence, "sample", others=others, **options)
    monkeypatch.setitem(CATALOG, "sample", release)


@pytest.fixture
def twice(hub, monkeypatch):
    """The same hub; the weights of the release, with their checksum, are also in other/one at a known revision."""
    known = RemoteFile("model.safetensors", len(WEIGHTS), sha256(WEIGHTS))
    second = Source("other/one", (known,), "b" * 40)
    offer(monkeypatch, known, RemoteFile("vae/config.json"), others=(second,), instead="any copy in checkpoints")
    return hub


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
    with pytest.raises(LavieError, match=r"model\.safetensors is nowhere to be had: some/one now has another"):
        fetch(hub, tmp_path)
    assert hub.ranges == []


def test_what_the_first_source_lost_comes_from_the_second_at_its_revision(twice, tmp_path, monkeypatch, caplog):
    twice.gone.add("some/one")
    offer(monkeypatch, *CATALOG["sample"].files[:1], others=CATALOG["sample"].others)
    (place,) = fetch(twice, tmp_path)
    assert place.read_bytes() == WEIGHTS
    assert ("other/one", "b" * 40, "model.safetensors") in twice.asked
    assert "some/one no longer has it" in caplog.text
    assert "It comes from other/one." in caplog.text


def test_what_the_first_source_changed_comes_from_the_second(twice, tmp_path):
    twice.changed["some/one"] = WEIGHTS[::-1]
    twice.etags["vae/config.json"] = git_blob(WEIGHTS[::-1])
    assert fetch(twice, tmp_path)[0].read_bytes() == WEIGHTS


def test_the_first_source_is_asked_alone_while_it_has_the_file(twice, tmp_path):
    fetch(twice, tmp_path)
    assert {repo for repo, _, _ in twice.asked} == {"some/one"}


def test_where_no_source_has_a_file_the_message_names_both_and_what_serves_in_its_stead(twice, tmp_path):
    twice.gone.add("some/one")
    twice.changed["other/one"] = WEIGHTS[::-1]
    with pytest.raises(LavieError) as caught:
        fetch(twice, tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith("model.safetensors is nowhere to be had: some/one no longer has it (")
    assert "; other/one now has another (SHA-256 " in first
    pages = f"{twice.url}/some/one/tree/main or {twice.url}/other/one/tree/{'b' * 40}"
    assert second == f"  {pages}: model.safetensors (0.0 GB) -> {tmp_path / 'sample'}; or any copy in checkpoints"
    assert twice.ranges == []


def test_a_file_from_the_second_source_is_known_when_it_lies_there(hub, tmp_path, monkeypatch):
    """Its checksum there may be another than at the first, which may have none."""
    second = Source("other/one", (RemoteFile("model.safetensors", sha256=sha256(WEIGHTS)),))
    offer(monkeypatch, RemoteFile("model.safetensors"), others=(second,))
    hub.gone.add("some/one")
    (place,) = fetch(hub, tmp_path)
    assert download(["sample"], tmp_path, agree=False, endpoint="http://127.0.0.1:1") == [place]


def test_the_hub_that_the_environment_names_is_asked(twice, tmp_path):
    """The client reads HF_ENDPOINT when it is imported, so a process of its own."""
    code = (
        "from tests.checkpoints.test_download import CATALOG, Licence, Release, RemoteFile, download, sha256, WEIGHTS\n"
        "files = (RemoteFile('model.safetensors', len(WEIGHTS), sha256(WEIGHTS)),)\n"
        "CATALOG['sample'] = Release('sample', 'a sample', 'some/one', files, Licence('', '', ''), 'sample')\n"
        f"print(download(['sample'], {str(tmp_path)!r}, agree=True, progress=False)[0])"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": twice.url,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == WEIGHTS
    assert {repo for repo, _, _ in twice.asked} == {"some/one"}


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
    with pytest.raises(LavieError, match=r"vae/config\.json is nowhere to be had: some/one no longer has it .*404"):
        fetch(hub, tmp_path)


def test_without_network_the_message_says_what_to_place_where(tmp_path):
    with pytest.raises(LavieError) as caught:
        download(["lavie_base"], tmp_path, agree=True, endpoint="http://127.0.0.1:1")
    message = str(caught.value)
    assert "could not be reached" in message
    assert "http://127.0.0.1:1/Vchitect/LaVie/tree/main or http://127.0.0.1:1/YaohuiW/LaVie/tree/main" in message
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


def test_every_catalogued_file_has_a_second_source_but_the_upscalers_vae_and_its_schedulers():
    """Which no repository that could be verified holds; the release then says what serves in its stead."""
    alone = {
        (release.name, file.path)
        for release in CATALOG.values()
        for file in release.files
        if len(release.sources(file.path)) < 2
    }
    assert {name for name, _ in alone} == {"stable-diffusion-x4-upscaler"}
    assert {path.split("/")[0] for _, path in alone} == {"vae", "scheduler", "low_res_scheduler"}
    assert "models/checkpoints" in CATALOG["stable-diffusion-x4-upscaler"].instead


def test_weights_from_another_owner_are_taken_by_checksum_and_revision_only():
    of_the_authors = {"YaohuiW/LaVie", "xinyuanc91/SEINE"}  # named by their own READMEs; SEINE's checksum is unknown
    for release in CATALOG.values():
        for source in release.others:
            weights = [file for file in source.files if file.path.endswith((".pt", ".safetensors"))]
            assert source.repo in of_the_authors or len(source.revision) == 40
            assert source.repo == "xinyuanc91/SEINE" or all(len(file.sha256) == 64 for file in weights)


def test_the_tokenizer_alone_is_in_no_group():
    assert all("clip-tokenizer" not in names for names in GROUPS.values())
