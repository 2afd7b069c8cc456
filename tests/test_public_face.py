"""What `import mwaconvert` shows: all public names, loaded at first use, without services or heavy packages."""

import subprocess
import sys

import mwaconvert


def test_all_public_names_are_listed_and_there():
    assert set(mwaconvert.__all__) <= set(dir(mwaconvert))
    for name in dir(mwaconvert):
        assert getattr(mwaconvert, name) is not None
    assert mwaconvert.asvo.__name__ == "mwaconvert.clients.asvo"


def test_the_import_loads_no_service_and_nothing_heavy():
    code = (
        "import sys, mwaconvert, mwaconvert.cli.main, mwaconvert.cli.convert\n"
        "heavy = {'numpy', 'astropy', 'dbos', 'sqlalchemy', 'fastapi', 'uvicorn', 'obstore', 'alembic', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
