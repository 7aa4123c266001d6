"""Write the prefix into the files that name it, and the byte code, as Anaconda's packages bring it. Run by the installer."""

import compileall
import sys
from pathlib import Path

PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"
# Nothing that a running program imports, or far too much.
RARE = {"distutils", "ensurepip", "lib2to3", "pydoc_data", "site-packages"}

prefix = Path(sys.prefix)
for name in (prefix / "conda-meta/has_prefix").read_text().split():
    path = prefix / name
    path.write_text(path.read_text().replace(PLACEHOLDER, sys.prefix))
for folder in (prefix / "lib/python3.8", *(prefix / "lib/python3.8").iterdir()):
    if folder.is_dir() and folder.name not in RARE:
        compileall.compile_dir(str(folder), maxlevels=0 if folder.name == "python3.8" else 10, quiet=2)
