"""How `make docs` builds the site."""

project = "Telegram gateway"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
exclude_patterns = ["reference/_*"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # Mermaid has no highlighter
nitpicky = True
