"""Tries out what stages/openstack/python-starts.yaml puts into every Python of a lab.

`tries.py FOLDER`: the files are in FOLDER, and keep there what they keep. Every try is a Python
of its own, which sees packages made here under the names of those that the files know.
"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

STARTS = Path(sys.argv.pop(1))

PACKAGES = {
    "chardet/__init__.py": "from .detector import detect\nfrom .version import __version__\n",
    "chardet/detector.py": "def detect(text):\n    return 'guessed'\n",
    "chardet/version.py": "__version__ = '5.1.0'\n",
    "pyroute2/__init__.py": "from .heavy import Socket\n",
    "pyroute2/heavy.py": "class Socket:\n    pass\n",
    "pyroute2/netlink.py": "NUMBER = 7\n",
    "alembic/__init__.py": "",
    "alembic/migration.py": "class MigrationContext:\n    pass\n",
    "alembic/operations.py": "class Operations:\n    pass\n",
    "oslo_db/__init__.py": "",
    "oslo_db/sqlalchemy/__init__.py": "",
    "oslo_db/sqlalchemy/utils.py": (
        "from alembic.migration import MigrationContext\n"
        "from alembic.operations import Operations\n"
        "def useful():\n    return 1\n"
    ),
    "cffi/__init__.py": "raise RuntimeError('parsed')\n",
    "oslo_privsep/__init__.py": "",
    "oslo_privsep/capabilities.py": (
        "import cffi\nffi = cffi.FFI()\nffi.cdef('int x;')\ncrt = ffi.dlopen(None)\nprctl = crt.prctl\n"
    ),
    "neutron/__init__.py": "",
    "neutron/privileged/__init__.py": "default, link_cmd, namespace_cmd, dhcp_release_cmd = range(4)\n",
    "nova/__init__.py": "",
    "nova/virt/__init__.py": "raise RuntimeError('asked')\n",
    "nova/virt/driver.py": "",
    "munch.py": "raise RuntimeError('loaded')\n",
    "numpy/__init__.py": "ready = True\nfrom . import part\n",
    "numpy/part.py": "import numpy\nVALUE = 2 if numpy.ready else 1\n",
    "own/__init__.py": "",
    "own/part.py": "import re\nVALUE = 1\nWORD = re.compile('(?P<name>[a-z]+)-([0-9]{2,3})', re.I)\n",
}


class Tries(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.packages = Path(self.folder.name)
        for name, text in PACKAGES.items():
            self.write(name, text)
        for kept in STARTS.glob("*.kept"):
            kept.unlink()

    def write(self, name, text):
        path = self.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def python(self, *arguments):
        environment = dict(os.environ, PYTHONPATH=f"{STARTS}:{self.packages}")
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, text=True, capture_output=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def says(self, code, said, program=None):
        """Runs code after the start, by `-c` or as a program of that name."""
        code = "import lab_starts, sys\n" + code
        if program:
            self.write(program, code)
            answer = self.python(str(self.packages / program))
        else:
            answer = self.python("-c", code)
        self.assertEqual(answer, said + "\n", code)

    def keep(self):
        return self.python("-c", "import lab_starts, lab_keep", "own.part", "email.mime.text")

    def test_what_is_kept_is_the_same_module(self):
        look = "import own.part as p; print(type(p.__loader__).__name__, p.VALUE, p.__file__, p.__spec__.parent)"
        file = self.packages / "own/part.py"
        self.says(look, f"SourceFileLoader 1 {file} own")
        self.keep()
        self.says(look, f"Kept 1 {file} own")
        self.says("import email.mime.text as t; print(type(t.__loader__).__name__, t.MIMEText('x'))",
                  "Kept " + self.python("-c", "import email.mime.text as t; print(t.MIMEText('x'))")[:-1])
        self.says("import own, inspect; from own import part; print(inspect.getsource(part)[:9])", "import re")

    def test_more_is_kept_beside_it(self):
        self.keep()
        self.python("-c", "import lab_starts, lab_keep", "email.mime.audio")
        for name in "own.part", "email.mime.text", "email.mime.audio":
            self.says(f"import {name}; print(type({name}.__loader__).__name__)", "Kept")

    def test_a_source_that_changed_counts(self):
        self.keep()
        self.write("own/part.py", "VALUE = 2\n")
        self.says("import own.part as p; print(type(p.__loader__).__name__, p.VALUE)", "SourceFileLoader 2")
        (self.packages / "own/part.py").unlink()
        self.says("try: import own.part\nexcept ModuleNotFoundError as e: print(e)", "No module named 'own.part'")

    def test_a_package_of_the_same_name_elsewhere_is_another(self):
        self.keep()
        self.write("elsewhere/own/__init__.py", "")
        self.write("elsewhere/own/part.py", "VALUE = 3\n")
        elsewhere = str(self.packages / "elsewhere")
        self.says(f"sys.path.insert(0, {elsewhere!r}); import own.part as p; print(p.VALUE)", "3")

    def test_expressions_are_kept(self):
        look = (
            "import re, own.part as p\nm = p.WORD.fullmatch('Node-42')\n"
            "print(m.groups(), m['name'], p.WORD.flags, p.WORD.pattern, p.WORD == re.compile(p.WORD.pattern, re.I))"
        )
        said = self.python("-c", look)[:-1]
        self.keep()
        self.says(look, said)
        count = "import re\nre._compiler._code = lambda *a: print('compiled')\nimport own.part\nprint('loaded')"
        self.says(count, "loaded")

    def test_chardet_is_a_version_until_it_is_used(self):
        self.says("import chardet; from chardet import __version__ as v; print(v, 'chardet.detector' in sys.modules)",
                  "5.1.0 False")
        self.says("import chardet; print(chardet.detect(b'x'), 'chardet.detector' in sys.modules)", "guessed True")
        self.says("from chardet import detect; print(detect(b'x'))", "guessed")

    def test_a_package_is_there_for_its_modules(self):
        self.says("from pyroute2 import netlink; print(netlink.NUMBER, 'pyroute2.heavy' in sys.modules)", "7 False")
        self.says("import pyroute2.netlink as n; print(n.NUMBER, 'pyroute2.heavy' in sys.modules)", "7 False")
        self.says("import pyroute2; print(pyroute2.netlink.NUMBER, pyroute2.Socket.__name__)", "7 Socket")
        self.says("import pyroute2\ntry: pyroute2.nonsense\nexcept AttributeError as e: print(e)",
                  "module 'pyroute2' has no attribute 'nonsense'")

    def test_services_are_without_migrations_and_programs_have_them(self):
        look = "import oslo_db.sqlalchemy.utils as u; print(u.useful(), u.Operations, 'alembic' in sys.modules)"
        self.says(look, "1 None False")
        self.says(look + "\nfrom alembic.operations import Operations as o; print(o)",
                  "1 None False\n<class 'alembic.operations.Operations'>")
        self.says(look, "1 <class 'alembic.operations.Operations'> True", program="nova-manage")

    def test_declarations_are_parsed_by_a_helper_alone(self):
        self.says("import oslo_privsep.capabilities; print('cffi' in sys.modules)", "False")
        code = "try: import oslo_privsep.capabilities\nexcept RuntimeError as e: print(e)"
        self.says(code, "parsed", program="privsep-helper")

    def test_who_goes_through_all_modules_loads_none(self):
        self.says(
            "import chardet, munch, numpy, pyroute2, nova.virt\n"
            "found = [n for n, m in sys.modules.items() if getattr(m, '__file__', None) and m.__name__ and m.__spec__]\n"
            "print('munch' in found, 'numpy' in found, 'numpy.part' in sys.modules)",
            "True True False",
        )

    def test_a_package_loads_before_its_modules(self):
        self.says("import numpy.part; print(numpy.part.VALUE, numpy.ready)", "2 True")
        self.says("import numpy; print(numpy.ready, numpy.part.VALUE)", "True 2")
        self.says("from numpy import part; print(part.VALUE)", "2")

    def test_one_helper_is_enough(self):
        self.says("import neutron.privileged as p; print(p.default, p.link_cmd, p.namespace_cmd, p.dhcp_release_cmd)",
                  "0 0 0 3")

    def test_what_asks_for_the_index_is_left_out_or_waits(self):
        self.says("import nova.virt.driver, munch; print('nova.virt' in sys.modules)", "True")
        self.says("import munch\ntry: munch.Munch\nexcept RuntimeError as e: print(e)", "loaded")


if __name__ == "__main__":
    unittest.main()
