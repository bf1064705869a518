"""ESC-10: from a mirror, over https with resuming, and featurized; on real recordings in the data set's own layout."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import http.server
import io
import os
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.base.errors import UserError
from harness.data.clips.clips import open_clips
from harness.data.clips.decoding import SHORTEST
from harness.data.clips.manifest import read_manifest
from harness.data.featurize import featurize
from harness.data.fetching import esc10_files
from harness.data.fetching.esc10_files import COLUMNS, Recording, fetch_esc10, read_recordings
from harness.data.fetching.fetch import fetch
from harness.data.sources import esc10
from harness.data.sources.soundfont import read_soundfont
from tests.conftest import ROOT

from .conftest import MakeParams


@pytest.fixture(scope="session")
def tree(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Recording]]:
    """The data set's layout with recorded sounds of another origin (Ogg Vorbis, as ESC-10's): 10 classes, 5 folds."""
    folder = tmp_path_factory.mktemp("esc10")
    samples = read_soundfont(packed / "data/raw/instruments/FluidR3Mono_GM.sf3")[101:]
    sounds = (each.content for each in samples if soundfile.info(io.BytesIO(each.content)).duration > SHORTEST)
    recordings = []
    for number, class_dir in enumerate(esc10.CLASSES):
        (folder / class_dir).mkdir()
        for fold in range(1, 6):
            content = next(sounds)
            name = f"{fold}-{1000 + number}-A.ogg"
            (folder / class_dir / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            recordings.append(Recording(name, class_dir, fold, digest, "MIT", "someone", str(1000 + number), "none"))
    return folder, recordings


def test_committed_list_is_complete() -> None:
    recordings = read_recordings()
    assert len(recordings) == len({recording.sha256 for recording in recordings}) == 400
    assert Counter(recording.class_dir for recording in recordings) == dict.fromkeys(esc10.CLASSES, 40)
    assert Counter(recording.fold for recording in recordings) == dict.fromkeys(range(1, 6), 80)
    assert all(recording.file.startswith(f"{recording.fold}-") for recording in recordings)
    assert all(recording.licence and recording.author and recording.url for recording in recordings)


@pytest.mark.parametrize("nested", [False, True])
def test_from_a_mirror(tmp_path: Path, tree: tuple[Path, list[Recording]], nested: bool) -> None:
    mirror, recordings = tree
    if nested:
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / "esc10").symlink_to(mirror)
        mirror = tmp_path / "mirror"
    (tmp_path / "raw").mkdir()
    fetch_esc10(tmp_path / "raw", mirror, tmp_path / "cache", recordings)
    assert read_recordings(tmp_path / "raw" / "files.csv") == recordings
    assert all((tmp_path / "raw" / recording.path).is_file() for recording in recordings)
    assert not (tmp_path / "cache").exists()


def test_splits_targets_and_padding(tmp_path: Path, tree: tuple[Path, list[Recording]], make: MakeParams) -> None:
    mirror, recordings = tree
    params = make(preset="esc10", kind="esc10", clip_seconds=1.5)
    raw = tmp_path / "data" / "raw" / "esc10"
    raw.mkdir(parents=True)
    fetch_esc10(raw, mirror, tmp_path / "cache", recordings)
    silence, broken = recordings[0], recordings[1]
    soundfile.write(raw / silence.path, np.zeros(44_100), 44_100, format="OGG")
    (raw / broken.path).write_bytes((raw / broken.path).read_bytes()[:200])
    (raw / recordings[2].path).unlink()
    with contextlib.chdir(tmp_path):
        featurize(params)
        clips = {split: open_clips(params, split) for split in ("train", "val", "test")}
        rows = {row.id: row for row in read_manifest(Path("data/packed/esc10/manifest.csv"))}
        assert {split: len(found) for split, found in clips.items()} == {"train": 28, "val": 10, "test": 9}
        assert [rows[each.file].status for each in recordings[:3]] == ["silent", "unreadable", "missing"]
        assert clips["test"].labels == [label.name for label in esc10.classes()]
        assert all(name.startswith("5-") for name in clips["val"].ids)
        for found in clips.values():
            np.testing.assert_array_equal(found.targets.sum(axis=1), 1)
            for index, name in enumerate(found.ids):
                waveform = found.waveform(index)
                assert waveform.shape == (48_000,) and waveform.dtype == np.float32
                assert not waveform[rows[name].samples :].any()
                expected = esc10.CLASSES[Path(rows[name].source).parent.name]
                assert found.labels[int(found.targets[index].argmax())] == next(
                    label.name for label in esc10.classes() if label.mid == expected
                )
        with open("data/packed/esc10/ATTRIBUTION.csv", newline="") as file:
            assert {row["author"] for row in csv.DictReader(file)} == {"someone"}


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Answers Range requests as RFC 9110 says, and notes them."""

    asked: list[str]

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        first = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(
    tree: tuple[Path, list[Recording]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[str]]]:
    """The tree over https on this machine, with a certificate made for it; its address, and the Ranges asked for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=localhost"
    try:
        subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    asked: list[str] = []
    handler = type("Handler", (Ranged,), {"asked": asked})
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: handler(*given, directory=str(tree[0])))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("no_proxy", "localhost")
    yield f"https://localhost:{web.server_port}", asked
    web.shutdown()
    web.server_close()


def test_download_resumes_and_is_checked(
    tmp_path: Path, tree: tuple[Path, list[Recording]], server: tuple[str, list[str]]
) -> None:
    mirror, recordings = tree
    address, asked = server
    cache, raw = tmp_path / "cache", tmp_path / "raw"
    raw.mkdir()
    half, whole, corrupt, *_ = recordings = recordings[:6]
    for recording, name, end in [(half, f"{half.file}.partial", 1000), (whole, f"{whole.file}.partial", None)]:
        (cache / recording.path).parent.mkdir(parents=True, exist_ok=True)
        (cache / recording.path).with_name(name).write_bytes((mirror / recording.path).read_bytes()[:end])
    (cache / corrupt.path).write_bytes(b"something else")
    fetch_esc10(raw, None, cache, recordings, address)
    size = (mirror / whole.path).stat().st_size
    assert asked == ["bytes=1000-", f"bytes={size}-", "", "", "", ""]
    for recording in recordings:
        assert (raw / recording.path).read_bytes() == (mirror / recording.path).read_bytes()
    assert not list(cache.rglob("*.partial"))
    fetch_esc10(raw, None, cache, recordings, address)
    assert len(asked) == 6, "what is cached is not downloaded again"


def test_a_download_with_other_content_is_refused(
    tmp_path: Path, tree: tuple[Path, list[Recording]], server: tuple[str, list[str]]
) -> None:
    wrong = dataclasses.replace(tree[1][0], sha256="0" * 64)
    with pytest.raises(UserError, match=r"what came has not the SHA-256 0000"):
        fetch_esc10(tmp_path, None, tmp_path / "cache", [wrong], server[0])
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_only_https(tmp_path: Path) -> None:
    for url in ("http://localhost/a", "file:///etc/passwd", "ftp://localhost/a"):
        with pytest.raises(OSError, match="is not https"):
            esc10_files.download(url, tmp_path / "a")


def test_the_list_is_checked(tmp_path: Path) -> None:
    (tmp_path / "files.csv").write_text(",".join(COLUMNS[:-1]) + "\n1-2-A.ogg,001 - Dog bark,1,0,a,b,c\n")
    for name in ("files.csv", "gone.csv"):
        with pytest.raises(UserError, match=rf"{name}: no list of ESC-10's recordings"):
            read_recordings(tmp_path / name)


def real_mirror() -> Path | None:
    given = os.environ.get("DCLS_HARNESS_MIRROR")
    for folder in ([Path(given), Path(given) / "esc10"] if given else []) + [ROOT.parent / "shared" / "esc10"]:
        if (folder / "001 - Dog bark").is_dir():
            return folder
    return None


@pytest.mark.skipif(real_mirror() is None, reason="no mirror with ESC-10 (DCLS_HARNESS_MIRROR)")
def test_the_real_recordings(tmp_path: Path, make: MakeParams) -> None:
    params = make(preset="esc10", kind="esc10", clip_seconds=5.0, mirror=str(real_mirror()))
    with contextlib.chdir(tmp_path):
        fetch(params)
        featurize(params)
        for split, count in (("train", 240), ("val", 80), ("test", 80)):
            clips = open_clips(params, split)
            assert len(clips) == count
            np.testing.assert_array_equal(clips.targets.sum(axis=0), count / 10)
            assert all(0 < np.abs(clips.waveform(index)).max() <= 1 for index in range(0, count, 8))
