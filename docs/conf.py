"""Sphinx: `sphinx-build -W docs docs/_build`. The examples of the gallery run unless GALLERY=0."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import minilandscape

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
#: How the names of examples begin that need another package; they are shown and not run where it is not installed.
NEEDS = {"ase_chgnet": "chgnet", "ase": "ase", "jax": "jax", "pele": "pele", "reaction": "tblite"}
NEEDS |= {"topsearch": "topsearch", "torch": "torch"}
LEFT_OUT = [start for start, package in NEEDS.items() if importlib.util.find_spec(package) is None]

project = "minilandscape"
author = "The minilandscape developers"
copyright = "the minilandscape developers"
version = release = minilandscape.__version__

extensions = [
    "command_options",
    "vertical_bars",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the gallery's sorting key is a class, which is never stored

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "minilandscape"
html_static_path = ["_static"]
html_css_files = ["minilandscape.css"]
html_theme_options = {
    "navigation_depth": 2,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
}
html_sidebars = {"index": []}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"/(?!{'|'.join(LEFT_OUT)})\w+\.py$" if LEFT_OUT else r"\.py$",
    "image_scrapers": ("saved_pictures.saved_pictures",),
    "within_subsection_order": "ExampleTitleSortKey",
    "plot_gallery": os.environ.get("GALLERY", "1") != "0",
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "copyfile_regex": r"",
}
