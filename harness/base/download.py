"""Files over https: an interrupted download goes on, what came is checked, and a file is there whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness.base.errors import UserError

TIMEOUT = 30  # seconds without an answer
PAUSES = (1.0, 2.0, 4.0)  # seconds before each further try
PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
BUSY = (408, 429, 500, 502, 503, 504)  # statuses that may be gone a moment later
LARGEST = 16 * 1024**3  # bytes of a file whose size nobody has said
NAMES = {"sha256": "SHA-256", "md5": "MD5"}


class _TryAgainError(OSError):
    """What came is of no use, or not all; another try may bring it."""


def search(places: Iterable[Path], digest: str | None = None) -> Path | None:
    """The first of `places` that is a file with this digest (`sha256:...` or `md5:...`); corrupt ones go to stderr."""
    for path in places:
        if path.is_file():
            wrong = _wrong(path, digest)
            if wrong is None:
                return path
            print(f"{path}: corrupt (it {wrong}), not used", file=sys.stderr, flush=True)
    return None


def download(url: str, target: Path, *, digest: str | None = None, most: int | None = None) -> None:
    """Fetch `url` into `target`, which appears whole and checked against `digest` (`sha256:...` or `md5:...`).

    Only over https. Goes on with `target`.partial, from an earlier call too where the digest or the server's validator
    shows that it is of the same file, and begins again where it is not; after a broken connection or a busy server
    tries again, len(PAUSES) times. `most` is the largest size taken, in bytes (None: LARGEST). Progress goes to stderr,
    as a bar, or as a line every PLAIN_EVERY seconds where that is no terminal. Raises OSError, with the reason in a few
    words.
    """
    if digest is not None and digest.partition(":")[0] not in NAMES:
        raise OSError(f"{digest[:20]!r} is neither {' nor '.join(NAMES.values())}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, validator = (target.with_name(f"{target.name}.{end}") for end in ("partial", "partial.validator"))
    fresh = not partial.exists()
    for begin_again in (False, True):
        _insist(lambda: _receive(url, partial, validator, digest, LARGEST if most is None else most), target.name)
        wrong = _wrong(partial, digest)
        validator.unlink(missing_ok=True)
        if wrong is None:
            partial.replace(target)
            return
        partial.unlink()
        if fresh or begin_again:
            break
    raise OSError(f"what came {wrong}")


def read_url(url: str, most: int = 1024 * 1024) -> bytes:
    """The content of a small page. Raises OSError, as `download`."""

    def read() -> bytes:
        with _open(url, {}) as answer:
            content: bytes = answer.read(most + 1)
        if len(content) > most:
            raise OSError(f"more than {most} bytes")
        return content

    return _insist(read, url)


def file_name(url: str, otherwise: str) -> str:
    """A name to keep `url` under: the last part of its path, or `otherwise` where that is no plain file name."""
    try:
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    except ValueError:
        return otherwise
    plain = name.isprintable() and not name.startswith(".") and "\\" not in name and len(name.encode()) <= 200
    return name if name and plain else otherwise


def missing(name: str, mirror: Path | None, cached: Path, url: str, problem: object, instead: str) -> UserError:
    """The one line for a file that is nowhere to be had; `instead` says how to do without the network."""
    return UserError(
        f"{name}: missing; looked in the mirror ({mirror or 'none given'}), the cache ({cached.parent}) "
        f"and at {url} ({problem}); connect, or {instead}"
    )


def _insist(action: Callable[[], Any], name: str) -> Any:
    """Do it, again after pauses where it failed for a reason that may pass. Raises OSError."""
    for pause in (*PAUSES, None):
        try:
            return action()
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no address, or no http
            reason = " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())
            if isinstance(error, urllib.error.HTTPError):
                reason = f"HTTP {error.code} {reason}"
            if pause is None or not _may_pass(error):
                raise OSError(reason) from error
            print(f"{name}: {reason}; again in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in BUSY
    if isinstance(error, http.client.InvalidURL):
        return False
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    broken = (_TryAgainError, TimeoutError, ConnectionResetError, ConnectionAbortedError, http.client.HTTPException)
    return isinstance(cause, (*broken, ssl.SSLEOFError, ssl.SSLZeroReturnError))


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """urllib follows redirects to http and ftp too."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> Any:
    _require_https(url)
    opener = urllib.request.build_opener(_HttpsOnly)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _require_https(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme != "https":
        raise OSError(f"{url} is not https")


def _receive(url: str, partial: Path, validator: Path, digest: str | None, most: int) -> None:
    """One try: all of the file, or what `partial` lacks of it."""
    known = validator.read_text() if validator.exists() else ""
    have = partial.stat().st_size if partial.exists() and (known or digest) else 0
    headers = {"Range": f"bytes={have}-"} | ({"If-Range": known} if known else {}) if have else {}
    try:
        answer = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if digest or error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing is left to send, or what we have is no beginning of it: the digest will tell
        partial.unlink()
        raise _TryAgainError("the server has another file than before") from error
    with answer:
        resumed = answer.status == 206
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            partial.unlink(missing_ok=True)
            raise _TryAgainError("the server sent another part than asked for")
        length = answer.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length else None
        if not resumed:
            have = 0
            _keep(validator, answer.headers)
        if total is not None and total > most:
            raise OSError(f"it has {total} bytes, more than {most} bytes")
        with open(partial, "ab" if resumed else "wb") as file, _progress(partial.stem, have, total) as came:
            while piece := answer.read(64 * 1024):
                came(file.write(piece))
                if file.tell() > most:
                    partial.unlink()
                    raise OSError(f"more than {most} bytes")
        size = partial.stat().st_size
        if total is not None and size < total:
            raise _TryAgainError(f"the connection broke after {size} of {total} bytes")


def _keep(validator: Path, headers: Any) -> None:
    """Write down what tells this version of the file from another: a strong ETag, or else the date."""
    tag = headers.get("ETag", "")
    known = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    if known:
        validator.write_text(known)
    else:
        validator.unlink(missing_ok=True)


@contextmanager
def _progress(name: str, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Rate and time left: a bar (none for what takes under a second), or plain lines where stderr is no terminal."""
    started = last = time.monotonic()
    so_far = have
    with tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, delay=1, disable=None) as bar:

        def came(count: int) -> None:
            nonlocal so_far, last
            so_far += count
            bar.update(count)
            now = time.monotonic()
            if bar.disable and now - last >= PLAIN_EVERY:
                last = now
                line = tqdm.format_meter(
                    so_far, total, now - started, ncols=0, prefix=name, unit="B", unit_scale=True, initial=have
                )
                print(line, file=sys.stderr, flush=True)

        yield came


def _wrong(path: Path, digest: str | None) -> str | None:
    """`has not the SHA-256 ...` where the file's content is not that of `digest`."""
    if digest is None:
        return None
    algorithm, _, expected = digest.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return None if found == expected.lower() else f"has not the {NAMES[algorithm]} {expected}"
