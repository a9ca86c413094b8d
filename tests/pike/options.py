#!/usr/bin/env python3
"""Makes the lists of option names in this folder out of the sources of the release called Pike.

usage: options.py FOLDER    FOLDER holds the source distributions, unpacked (README.md says which)

`*.lines` are the samples of configuration that Glance's sources carry, less all text for people: the
number of each line that is a section or a commented-out default, and the line. `*.options` have one
section per line and the names of its options. Those of Keystone and Glance are read off samples;
Nova and Neutron carry none, and theirs are read off the declarations in Python, without running any.
"""

import ast
import pathlib
import re
import sys
from collections import defaultdict

DEFAULT_LINE = re.compile(r"#([A-Za-z][A-Za-z0-9_]*) =")
SECTION = re.compile(r"\[(.+)\]$")


def lines_of(sample):
    for number, line in enumerate(sample.read_text().splitlines(), 1):
        if SECTION.match(line) or DEFAULT_LINE.match(line):
            yield number, line


def options_of_sample(sample):
    sections, section = defaultdict(set), None
    for line in sample.read_text().splitlines():
        if found := SECTION.match(line):
            section = found[1]
            sections[section]
        elif found := DEFAULT_LINE.match(line):
            sections[section].add(found[1])
        elif found := re.match(r"# Deprecated group/name - \[(.+)\]/(\w+)", line):
            sections[found[1]].add(found[2])
    return sections


class Module:
    """What one file of Python says about options: lists of names, names of groups."""

    def __init__(self, path):
        self.tree = ast.parse(path.read_text())
        self.assigned = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.assigned.setdefault(target.id, node.value)


class Package:
    """All modules of a source distribution; names are looked up across them."""

    def __init__(self, folder):
        paths = sorted(p for p in folder.rglob("*.py") if "tests" not in p.parts)
        paths = [path for path in paths if (path.parent / "__init__.py").exists()]
        self.modules = [module for module in map(self.module, paths) if module]
        self.everywhere = defaultdict(list)
        for module in self.modules:
            for name, value in module.assigned.items():
                self.everywhere[name].append((module, value))
        self.sections = defaultdict(set)
        self.auth_sections = set()

    @staticmethod
    def module(path):
        """A file that is no Python 3 declares no options either: those parts of the sources are."""
        try:
            return Module(path)
        except SyntaxError:
            return None

    def lookup(self, module, node):
        """The module and the value that a name stands for, where there is exactly one."""
        if isinstance(node, ast.Name) and node.id in module.assigned:
            return module, module.assigned[node.id]
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
        found = self.everywhere.get(name, [])
        return found[0] if len(found) == 1 else (module, None)

    def text(self, module, node, depth=0):
        """The name of a group."""
        if node is None or depth > 40:
            return None
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Attribute) and node.attr == "name":
            return self.text(module, node.value, depth + 1)
        if isinstance(node, ast.Call) and called(node) == "OptGroup":
            first = node.args[0] if node.args else keyword(node, "name")
            return self.text(module, first, depth + 1)
        if isinstance(node, (ast.Name, ast.Attribute)):
            module, value = self.lookup(module, node)
            return self.text(module, value, depth + 1)
        return None

    def names(self, module, node, depth=0):
        """The options that an expression lists."""
        if node is None or depth > 40:
            return set()
        each = lambda nodes: set().union(*(self.names(module, n, depth + 1) for n in nodes))
        if isinstance(node, (ast.List, ast.Tuple)):
            return each(node.elts)
        if isinstance(node, ast.BinOp):
            return each([node.left, node.right])
        if isinstance(node, ast.Starred):
            return each([node.value])
        if isinstance(node, (ast.Name, ast.Attribute)):
            where, value = self.lookup(module, node)
            return self.names(where, value, depth + 1)
        if isinstance(node, ast.Call):
            if called(node).endswith("Opt"):
                return self.option(module, node)
            if called(node) in ("list", "chain", "deepcopy", "copy"):
                return each(node.args)
        return set()

    def option(self, module, call):
        first = call.args[0] if call.args else keyword(call, "name")
        names = {self.text(module, first), self.text(module, keyword(call, "deprecated_name"))}
        older = keyword(call, "deprecated_opts")
        for node in ast.walk(older) if older else ():
            if isinstance(node, ast.Call) and called(node) == "DeprecatedOpt" and node.args:
                names.add(self.text(module, node.args[0]))
        return {name.replace("-", "_") for name in names if name}

    def read(self):
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    self.registered(module, node)
                elif isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values):
                        self.add(self.text(module, key), self.names(module, value))
                elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
                    self.add(self.text(module, node.elts[0]), self.names(module, node.elts[1]))
        return self

    def registered(self, module, call):
        if called(call) in ("register_opts", "register_opt", "register_cli_opts") and call.args:
            group = keyword(call, "group") or (call.args[1] if len(call.args) > 1 else None)
            section = self.text(module, group) if group is not None else "DEFAULT"
            self.add(section, self.names(module, call.args[0]))
        if called(call) == "register_auth_conf_options":
            group = keyword(call, "group") or (call.args[1] if len(call.args) > 1 else None)
            self.auth_sections.add(self.text(module, group))

    def add(self, section, names):
        if section and names:
            self.sections[section] |= names


def called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def keyword(call, name):
    return next((k.value for k in call.keywords if k.arg == name), None)


def plugin_options(keystoneauth):
    """What the authentication plugin `password` takes, and how it is chosen."""
    loading = keystoneauth / "keystoneauth1/loading"
    names = {"auth_type", "auth_section"}
    for file in ("identity.py", "_plugins/identity/generic.py"):
        module = Module(loading / file)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and called(node) == "Opt" and node.args:
                if isinstance(node.args[0], ast.Constant):
                    names.add(node.args[0].value.replace("-", "_"))
    return names


def write(file, heads, sections):
    lines = [f"# {head}" for head in heads]
    for section in sorted(sections):
        lines.append(f"{section}: {' '.join(sorted(sections[section]))}".rstrip())
    file.write_text("\n".join(lines) + "\n")


def main():
    sources, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
    folder = lambda name: next(p for p in sources.glob(f"{name}-[0-9]*") if p.is_dir())
    plugin = plugin_options(folder("keystoneauth1"))
    shared = ["keystonemiddleware", "oslo.concurrency", "oslo.db", "oslo.messaging"]
    for sample in ("glance-api", "glance-registry"):
        path = folder("glance") / f"etc/{sample}.conf"
        text = [f"# etc/{sample}.conf of {folder('glance').name}"]
        text += [f"{number} {line}" for number, line in lines_of(path)]
        (here / f"{sample}.lines").write_text("\n".join(text) + "\n")
        sections = options_of_sample(path)
        sections["keystone_authtoken"] |= plugin
        heads = [f"{folder('glance').name}, {folder('keystoneauth1').name}"]
        write(here / f"{sample}.options", heads, sections)
    sample = folder("keystone") / "etc/keystone.conf.sample"
    write(here / "keystone.options", [folder("keystone").name], options_of_sample(sample))
    for name in ("nova", "neutron"):
        sections = defaultdict(set)
        parts = [folder(part) for part in [name] + shared]
        for part in parts:
            package = Package(part).read()
            for section, names in package.sections.items():
                sections[section] |= names
            for section in package.auth_sections - {None}:
                sections[section] |= plugin
        heads = [", ".join(part.name for part in parts + [folder("keystoneauth1")])]
        write(here / f"{name}.options", heads, sections)


if __name__ == "__main__":
    main()
