"""Downloads over a real https server that breaks off, changes the file, ignores ranges and is busy."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base import download as module
from harness.base.download import download, read_url, search
from tests.https_server import Site, serve

CONTENT = bytes(range(256)) * 2000
OTHER = CONTENT[::-1]
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01, 0.01))
    (tmp_path / "server").mkdir()
    with serve(tmp_path / "server", {"/a.bin": CONTENT}) as site:
        yield site


def only(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("digest", [DIGEST, f"md5:{hashlib.md5(CONTENT).hexdigest()}", None])
def test_whole_and_alone_in_its_folder(site: Site, tmp_path: Path, digest: str | None) -> None:
    target = tmp_path / "new" / "a.bin"
    download(f"{site.url}/a.bin", target, digest=digest)
    assert target.read_bytes() == CONTENT and only(target) == ["a.bin"] and site.asked == [""]


@pytest.mark.parametrize(("etag", "digest"), [('"1"', None), (None, DIGEST), ('"1"', DIGEST)])
def test_a_broken_connection_is_gone_on_with(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], etag: str | None, digest: str | None
) -> None:
    site.etag, site.break_after = etag, [100_000, 50_000]
    download(f"{site.url}/a.bin", tmp_path / "new" / "a.bin", digest=digest)
    assert site.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT and only(tmp_path / "new" / "a.bin") == ["a.bin"]
    assert "a.bin: the connection broke after 100000 of 512000 bytes; again in" in capsys.readouterr().err


def test_after_too_many_breaks_a_later_call_goes_on(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    site.break_after = [1000] * 4
    with pytest.raises(OSError, match="the connection broke after 4000 of 512000 bytes"):
        download(f"{site.url}/a.bin", target, digest=DIGEST)
    assert only(target) == ["a.bin.partial"]
    download(f"{site.url}/a.bin", target, digest=DIGEST)
    assert site.asked[-1] == "bytes=4000-" and target.read_bytes() == CONTENT and only(target) == ["a.bin"]


def test_a_file_that_changed_meanwhile_is_begun_again(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    for etag, digest in (('"1"', None), (None, f"sha256:{hashlib.sha256(OTHER).hexdigest()}")):
        site.pages["/a.bin"], site.etag, site.break_after = CONTENT, etag, [1000] * 4
        with pytest.raises(OSError, match="the connection broke"):
            download(f"{site.url}/a.bin", target, digest=digest)
        site.pages["/a.bin"], site.etag = OTHER, '"2"' if etag else None
        download(f"{site.url}/a.bin", target, digest=digest)
        assert target.read_bytes() == OTHER and only(target) == ["a.bin"]
        target.unlink()


def test_without_digest_and_validator_nothing_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    (tmp_path / "a.bin.partial").write_bytes(OTHER[:1000])
    download(f"{site.url}/a.bin", target)
    assert target.read_bytes() == CONTENT and site.asked == [""]


def test_a_server_that_ignores_ranges(site: Site, tmp_path: Path) -> None:
    site.ranges, site.break_after = False, [1000]
    download(f"{site.url}/a.bin", tmp_path / "a.bin", digest=DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and site.asked == ["", "bytes=1000-"]


@pytest.mark.parametrize(("partial", "asked"), [(CONTENT, 1), (OTHER, 2), (CONTENT + b"more", 2)])
def test_a_partial_that_is_all_or_too_much(site: Site, tmp_path: Path, partial: bytes, asked: int) -> None:
    (tmp_path / "a.bin.partial").write_bytes(partial)
    download(f"{site.url}/a.bin", tmp_path / "a.bin", digest=DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and len(site.asked) == asked


def test_busy_servers_are_asked_again_and_missing_files_are_not(site: Site, tmp_path: Path) -> None:
    site.status = [503, 429]
    download(f"{site.url}/a.bin", tmp_path / "a.bin", digest=DIGEST)
    assert len(site.asked) == 3
    with pytest.raises(OSError, match="HTTP 404 Not Found"):
        download(f"{site.url}/b.bin", tmp_path / "b.bin")
    assert len(site.asked) == 4 and not (tmp_path / "b.bin").exists()


def test_wrong_content_is_refused_and_removed(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    with pytest.raises(OSError, match="what came has not the MD5 0000"):
        download(f"{site.url}/a.bin", target, digest="md5:0000")
    assert only(target) == [] and len(site.asked) == 1
    with pytest.raises(OSError, match="more than 1000 bytes"):
        download(f"{site.url}/a.bin", target, most=1000)
    assert "a.bin" not in only(target)


def test_only_https_and_no_way_out_of_it(site: Site, tmp_path: Path) -> None:
    for url in ("http://localhost/a", "file:///etc/hostname", "ftp://localhost/a"):
        with pytest.raises(OSError, match="is not https"):
            download(url, tmp_path / "a")
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.0)
        for scheme in ("http", "ftp"):
            site.redirects["/a.bin"] = f"{scheme}://localhost:{other.getsockname()[1]}/a"
            with pytest.raises(OSError, match=rf"{scheme}://localhost:\d+/a is not https"):
                download(f"{site.url}/a.bin", tmp_path / "a")
            with pytest.raises(BlockingIOError):  # nobody has called there
                other.accept()
    site.pages["/b.bin"] = OTHER
    site.redirects["/a.bin"] = f"{site.url}/b.bin"
    download(f"{site.url}/a.bin", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == OTHER


def test_nobody_there_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        download(f"https://localhost:{port}/a", tmp_path / "a")


def test_progress_without_a_terminal_has_rate_and_time_left(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PLAIN_EVERY", 0.0)
    download(f"{site.url}/a.bin", tmp_path / "a.bin")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1 and re.search(r"a\.bin: +\d+%\S* \S+/512k \[00:00<00:0\d, +[\d.]+\wB/s\]", lines[0]), lines[0]
    monkeypatch.setattr(module, "PLAIN_EVERY", 10.0)
    download(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert capsys.readouterr().err == "", "a short download says nothing"


def test_search_names_what_is_corrupt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").write_bytes(OTHER)
    (tmp_path / "good").write_bytes(CONTENT)
    places = [tmp_path / "none", tmp_path / "bad", tmp_path / "good"]
    assert search(places, DIGEST) == tmp_path / "good"
    assert f"{tmp_path / 'bad'}: corrupt (it has not the SHA-256" in capsys.readouterr().err
    assert search(places) == tmp_path / "bad" and search(places[:1]) is None


def test_small_pages_are_read_whole_or_not(site: Site) -> None:
    assert read_url(f"{site.url}/a.bin") == CONTENT
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_url(f"{site.url}/a.bin", most=10)
