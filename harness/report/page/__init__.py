"""The page stage: the whole report in one self-contained HTML file."""
