"""The LaTeX form of the tables: well formed, and compiled where there is a TeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report.paper_tables.table import MOST_ROWS, View, escape, latex_view

FOLDER = Path("paper_tables/instruments")
NAMES = ("table1", "parameters", "per_seed", "per_class")
DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,graphicx,longtable}
\begin{document}
%s
\end{document}
"""


def _long() -> str:
    """As AudioSet's 527 classes: more rows than a page has lines."""
    rows = tuple((f"class_{n} & more", f"{n - 5}.50", "- to +2") for n in range(2 * MOST_ROWS))
    return latex_view(View("50% of #1", ("class", "AP", "interval"), rows), "tab:long_one", "A note of 95%.")


@pytest.fixture
def texts(made: Path) -> dict[str, str]:
    return {name: (FOLDER / f"{name}.tex").read_text() for name in NAMES} | {"long": _long()}


def test_latex_is_well_formed(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        plain = re.sub(r"\\[\\{}%&_#$]", "", body)  # without escaped characters and line ends
        assert plain.count("{") == plain.count("}"), name
        assert not re.search(r"[_#%~^]", re.sub(r"\\label\{[^}]*\}|%\n", "", plain)), name
        found = re.findall(r"\\begin\{(tabular|longtable)\}\{([lr]+)\}(.*?)\\end\{\1\}", body, re.DOTALL)
        assert found, name
        for _, columns, inside in found:
            rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
            rows = [line for line in rows if r"\caption" not in line and r"\multicolumn" not in line]
            assert rows and all(line.count(" & ") == len(columns) - 1 for line in rows), name
        begun, ended = re.findall(r"\\begin\{(\w+)\}", body), re.findall(r"\\end\{(\w+)\}", body)
        assert sorted(begun) == sorted(ended), name
        labels = re.findall(r"\\label\{(.*?)\}", body)
        assert len(labels) == len(set(labels)) == len(found), name


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here: the tables' LaTeX is checked, not compiled")
def test_latex_compiles(texts: dict[str, str], tmp_path: Path) -> None:
    for name, text in texts.items():
        (tmp_path / f"{name}.tex").write_text(text)
    (tmp_path / "all.tex").write_text(DOCUMENT % "\n".join(rf"\input{{{name}.tex}}" for name in texts))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert "Overfull" not in log and "Undefined control sequence" not in log
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_escape_covers_what_latex_reads_otherwise() -> None:
    assert escape(r"a_b & 5% #1 {x} $ ~ ^ \ ") == (
        r"a\_b \& 5\% \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
    )
    assert escape("-1.5 to +2, 1-1-3") == "$-$1.5 to +2, 1-1-3"
