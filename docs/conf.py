"""Sphinx reads the pages as they stand: `make docs`."""

from mwaconvert import __version__

project = "mwaconvert"
author = "The mwaconvert developers"
project_copyright = author
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"mwaconvert {release}"
# notebooks are executed, each in a folder of its own
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
exclude_patterns = ["make_options.py", "examples", "paper"]
# links to files of the repository that are not pages are for readers on a forge
suppress_warnings = ["myst.xref_missing"]
nitpicky = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_preprocess_types = False
