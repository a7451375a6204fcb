"""The settings of Sphinx, which makes the documentation; `make docs` runs it."""

from __future__ import annotations

from airflow_provider_fullstory import __version__

project = "airflow-provider-fullstory"
author = "airflow-provider-fullstory maintainers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]

nitpicky = True
# Types of Airflow, requests and the standard library, whose own references need a network.
nitpick_ignore_regex = [
    ("py:.*", r"(aiohttp|airflow|collections|datetime|msgspec|pathlib|requests|typing)\..*"),
]

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/airflow-provider-fullstory/airflow-provider-fullstory/",
    "source_branch": "main",
    "source_directory": "docs/",
}
exclude_patterns = ["_build"]
