"""No code of ours runs what comes from outside, and downloads take nothing unchecked, unbounded or unencrypted."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base import download as downloads
from harness.base.download import download, file_name, read_url
from tests.conftest import ROOT
from tests.https_server import Handler, Site, serve

# What runs text or data as code, or unpacks without looking: full names, however they were imported.
FORBIDDEN = {
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")),
    *(
        f"os.{name}"
        for name in ("system", "popen", "startfile", "spawnl", "spawnv", "execl", "execv", "execve", "execvp")
    ),
    *(
        f"{module}.{name}"
        for module in ("pickle", "_pickle", "dill", "cloudpickle", "marshal")
        for name in ("load", "loads")
    ),
    *("pickle.Unpickler", "shelve.open", "joblib.load", "pandas.read_pickle", "torch.hub.load", "code.interact"),
    *("torch.hub.load_state_dict_from_url", "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp"),
    *(
        f"yaml.{name}"
        for name in ("load", "load_all", "full_load", "unsafe_load", "Loader", "FullLoader", "UnsafeLoader")
    ),
    *(
        "shutil.unpack_archive",
        "urllib.request.urlopen",
        "urllib.request.urlretrieve",
        "ssl._create_unverified_context",
    ),
    *("zipfile.ZipFile", "xml.etree.ElementTree.parse", "xml.etree.ElementTree.fromstring", "importlib.import_module"),
}
METHODS = {"extractall"}  # of any archive
# A keyword and the one value that a call may give it; "needed": it must be given, as the library's default is another.
KEYWORDS = {"torch.load": ("weights_only", True, "needed"), "numpy.load": ("allow_pickle", False, "default")}
EVERYWHERE = {"shell": False, "allow_pickle": False, "verify": True, "check_hostname": True}


def findings(source: str) -> list[str]:
    """`line: name` of everything in a module that FORBIDDEN, METHODS, KEYWORDS or EVERYWHERE rule out."""
    tree, found = ast.parse(source), []
    imported = {name: f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    imported[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in FORBIDDEN:
                    found.append(f"{node.lineno}: {node.module}.{alias.name}")

    def full(node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return imported.get(node.id, node.id)
        return f"{full(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"

    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and full(node) in FORBIDDEN:
            found.append(f"{node.lineno}: {full(node)}")
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            found.append(f"{node.lineno}: {node.attr}")
        if isinstance(node, ast.Call):
            given = {keyword.arg: getattr(keyword.value, "value", "?") for keyword in node.keywords}
            name = full(node.func)
            keyword, value, left_out = KEYWORDS.get(name, ("", None, "default"))
            if keyword and (None in given or given.get(keyword, value if left_out == "default" else "?") is not value):
                found.append(f"{node.lineno}: {name} without {keyword}={value}")
            found += [
                f"{node.lineno}: {name} with {keyword}={given[keyword]}"
                for keyword, allowed in EVERYWHERE.items()
                if keyword in given and given[keyword] is not allowed
            ]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "run = exec",
        "import os\nos.system('ls')",
        "from os import system",
        "import os as o\no.popen(x)",
        "import pickle\npickle.load(file)",
        "import pickle as p\nf = p.loads",
        "from pickle import Unpickler",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import subprocess\nsubprocess.Popen(text, shell=how)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, **options)",
        "from torch import load\nload(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, **options)",
        "import tarfile\ntarfile.open(path).extractall()",
        "import shutil\nshutil.unpack_archive(path)",
        "import zipfile\nzipfile.ZipFile(path)",
        "import urllib.request\nurllib.request.urlopen(url)",
        "def f():\n    import marshal\n    return marshal.loads(x)",
        "requests.get(url, verify=False)",
        "__import__(name)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert findings(source)


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import torch\ntorch.compile(model)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import re\nre.compile('a')",
        "class Train:\n    compile: bool = False",
        "import yaml\nyaml.safe_load(text)",
        "import numpy as np\nnp.load(path, allow_pickle=False)\nnp.load(path)",
        "import subprocess\nsubprocess.run(['ls'])",
        "import pickle\ntry: f()\nexcept pickle.UnpicklingError: pass",
    ],
)
def test_the_search_finds_nothing_else(source: str) -> None:
    assert findings(source) == []


KNOWN = {  # what is found and is no danger: by file the calls, each for the reason beside it
    "harness/__main__.py": {"importlib.import_module"},  # of the modules in two tables in the code
    "benchmarks/gpu_check/part.py": {"importlib.import_module"},  # of the modules in a table in the code
    "benchmarks/gpu_check/peers.py": {"importlib.import_module"},  # of two names in the code
    "benchmarks/gpu_check/__main__.py": {
        "zipfile.ZipFile",
        "extractall",
    },  # wheels that the caller gives
}


@pytest.mark.parametrize("folder", ["harness", "dcls", "benchmarks", "examples"])
def test_no_code_comes_from_data(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {}
    for path in files:
        calls = {one.partition(": ")[2] for one in findings(path.read_text())}
        found[path.relative_to(ROOT).as_posix()] = calls - KNOWN.get(path.relative_to(ROOT).as_posix(), set())
    assert {name: calls for name, calls in found.items() if calls} == {}


def modules_that_use(name: str) -> list[str]:
    """Files of harness/ in which this module is imported."""
    wanted = []
    for path in sorted((ROOT / "harness").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(part == name or part.startswith(f"{name}.") for part in parts):
                wanted.append(path.relative_to(ROOT / "harness").as_posix())
    return sorted(set(wanted))


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("yaml", ["config/strict_yaml.py"]),
        ("tarfile", ["data/clips/encoded.py", "data/fetching/npm_files.py", "data/sources/tars.py"]),  # the others read
        ("urllib.request", ["base/download.py"]),
        ("http.client", ["base/download.py"]),
        ("requests", []),
        ("huggingface_hub", ["models/build.py"]),
    ],
)
def test_what_is_delicate_is_done_in_one_place(name: str, where: list[str]) -> None:
    assert modules_that_use(name) == where


CONTENT = b"a" * 5000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    (tmp_path / "server").mkdir()
    with serve(tmp_path / "server", {"/a.bin": CONTENT}) as site:
        yield site


def test_a_certificate_that_nobody_signed_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        download(f"{site.url}/a.bin", tmp_path / "new" / "a.bin")
    assert not list((tmp_path / "new").iterdir()) and site.asked == []


def test_a_redirect_back_and_forth_ends(site: Site, tmp_path: Path) -> None:
    site.redirects["/a.bin"] = f"{site.url}/a.bin"
    with pytest.raises(OSError, match="redirect"):
        download(f"{site.url}/a.bin", tmp_path / "a.bin")


def test_a_file_of_unknown_size_has_a_limit(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 4999)
    with pytest.raises(OSError, match="it has 5000 bytes, more than 4999"):
        download(f"{site.url}/a.bin", tmp_path / "new" / "a.bin")
    assert not list((tmp_path / "new").glob("a.bin"))
    monkeypatch.setattr(downloads, "LARGEST", 5000)
    download(f"{site.url}/a.bin", tmp_path / "new" / "a.bin")


@pytest.mark.parametrize("digest", ["sha1:00", "", "sha256:", "sha256", "shake_128:00", "MD5:00"])
def test_a_digest_that_checks_nothing_is_no_digest(site: Site, tmp_path: Path, digest: str) -> None:
    with pytest.raises(OSError, match=r"is neither SHA-256 nor MD5|has not the SHA-256"):
        download(f"{site.url}/a.bin", tmp_path / "b.bin", digest=digest)
    assert not (tmp_path / "b.bin").exists()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://[",
            "https://",
            "https:///a",
            "https://localhost:port/a",
            "https://x y/a",
            "https://ex\u00e4\u2028/\u00fc",
        ),
        *("a", "//localhost/a", "https://localhost/\n", "data:,a", "https://.../", f"https://{'a' * 300}/"),
    ],
)
def test_what_is_no_address_is_one_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    monkeypatch.setenv("no_proxy", "*")
    for action in (lambda: download(url, tmp_path / "new" / "a"), lambda: read_url(url)):
        with pytest.raises(OSError) as caught:
            action()
        assert str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("name", ["Content-Length", "ETag", "Content-Range"])
@pytest.mark.parametrize("value", ["many", "-1", "9" * 5000, "\xff\x01", "bytes 1000-", "a\r\n b"])
def test_odd_headers_do_no_harm(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A first answer that breaks off, and a second; of both, one header is not what it should be."""
    send = Handler.send_header

    def sends(handler: Handler, key: str, normal: str) -> None:
        send(handler, key, value if key == name else normal)

    monkeypatch.setattr(Handler, "send_header", sends)
    site.etag, site.break_after = '"1"', [1000]
    try:
        download(f"{site.url}/a.bin", tmp_path / "new" / "a.bin", digest=DIGEST)
    except OSError as error:
        assert str(error) and "\n" not in str(error) and not (tmp_path / "new" / "a.bin").exists()
    else:
        assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://zenodo.org/records/1/files/model.pth?download=1", "model.pth"),
        ("https://a/b%20c.pth", "b c.pth"),
        ("https://a/..%2F..%2Fup.pth", "up.pth"),
        ("https://a/b/..", "none"),
        ("https://a/%2e%2e", "none"),
        ("https://a/..%5cup.pth", "none"),
        ("https://a/x%00.pth", "none"),
        ("https://a/x%0a.pth", "none"),
        ("https://a/.bashrc", "none"),
        ("https://a/", "none"),
        ("https://a/" + "x" * 300, "none"),
        ("https://[", "none"),
    ],
)
def test_an_address_cannot_choose_its_folder(url: str, name: str) -> None:
    assert file_name(url, "none") == name
