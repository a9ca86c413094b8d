"""Kickstart cases for RHEL 7 and pykickstart's verdict on each, as JSON lines.

Run by tests/kickstart_parity.rs with a Python that has pykickstart. Nothing here is random: the
cases follow from the parsers that pykickstart's RHEL 7 handler brings and from the tables in
tables.py, in a fixed order. For every command that the handler knows:

1.  A *base* is built: the command, its required options and arguments, and what its code wants
    beyond that (tables.EXTRA), the shortest line that is well-formed.
2.  Every option is put behind the base alone, in each way it can be written, and given wrongly:
    without its value, with one it does not take, with a value of the wrong type or choice.
3.  Every two options stand together, so that contradictions and dependencies show.
4.  Every word of the base is left out; words, unknown options, open quotes are added.
5.  Lines are repeated, and put before and after the commands they conflict with.
6.  Options that other releases know under the command are tried.

Then come commands of other releases, sections, small files whose lines belong together, and the
hand-picked texts of tests/kickstarts/verdicts.txt.

A text is accepted when KickstartParser, with errors fatal, gets to its end; warnings are let
pass, and included files are not looked for.
"""

import itertools
import json
import pathlib
import warnings

from pykickstart.errors import KickstartWarning
from pykickstart.handlers import control
from pykickstart.parser import KickstartParser
from pykickstart.version import RHEL7, makeVersion

import tables

warnings.simplefilter("ignore", KickstartWarning)


class Command:
    """A command of RHEL 7 as its parser describes it."""

    def __init__(self, name, handler):
        self.name = name
        parser = getattr(handler.commands[name], "op", None)
        actions = parser._actions if parser else []
        self.options = [a for a in actions if a.option_strings]
        self.arguments = [a for a in actions if not a.option_strings]

    def value(self, option):
        """A value that the option should take."""
        special = tables.VALUES.get((self.name, option.option_strings[0]))
        if special:
            return special
        if option.choices:
            return list(option.choices)[-1]
        return tables.BY_TYPE.get(type_name(option), "value")

    def written(self, option, spelling=None):
        """The option with its value, as one word."""
        spelling = spelling or option.option_strings[0]
        return spelling if is_flag(option) else f"{spelling}={self.value(option)}"

    def base(self):
        """The words of the shortest well-formed line."""
        words = [self.name]
        for argument in self.arguments:
            if argument.nargs in (None, 1):
                words.append(tables.ARGUMENTS.get((self.name, argument.dest), "value"))
        words += [self.written(o) for o in self.options if o.required]
        return words + tables.EXTRA.get(self.name, [])


def is_flag(option):
    return option.nargs == 0


def type_name(option):
    return getattr(option.type, "__name__", "text")


def join(words):
    return " ".join(words) + "\n"


def each_option(command):
    """Every option alone behind the base, rightly and wrongly."""
    base = command.base()
    for option in command.options:
        for spelling in option.option_strings:
            yield "option", join(base + [command.written(option, spelling)])
        first = option.option_strings[0]
        yield "first", join([command.name, command.written(option)] + base[1:])
        yield "repeated", join(base + [command.written(option)] * 2)
        yield "shortened", join(base + [command.written(option, first[:-1])])
        yield "misspelt", join(base + [command.written(option, first + "x")])
        yield "one dash", join(base + [command.written(option, first[1:])])
        if is_flag(option):
            yield from flag_cases(base, first)
        else:
            yield from value_cases(command, option, base, first)


def flag_cases(base, flag):
    yield "flag with value", join(base + [f"{flag}=yes"])
    yield "flag with empty value", join(base + [f"{flag}="])
    yield "flag with word", join(base + [flag, "yes"])


def value_cases(command, option, base, name):
    value = command.value(option)
    yield "two words", join(base + [name, value])
    yield "quoted", join(base + [f'{name}="{value}"'])
    yield "all quoted", join(base + [f"'{name}={value}'"])
    yield "quoted with blank", join(base + [f'{name}="{value} {value}"'])
    yield "list", join(base + [f"{name}={value},{value}"])
    yield "empty", join(base + [f"{name}="])
    yield "missing at end", join(base + [name])
    yield "missing inside", join([command.name, name] + base[1:])
    yield "option for value", join(base + [name, "--frobnicate"])
    yield "dash value", join(base + [f"{name}=-value"])
    yield "open quote", join(base + [f'{name}="{value}'])
    wrong = tables.WRONG.get(type_name(option), ["Qx"] if option.choices else [])
    for text in wrong:
        yield "wrong value", join(base + [f"{name}={text}"])
    for text in option.choices or tables.CHOICES.get((command.name, name), []):
        yield "choice", join(base + [f"{name}={text}"])
        yield "choice in capitals", join(base + [f"{name}={text.upper()}"])


def pairs(command):
    """Every two options together."""
    base = command.base()
    for one, other in itertools.combinations(command.options, 2):
        yield "pair", join(base + [command.written(one), command.written(other)])


def bare_pairs(command):
    """Options without what the base brings: alone, and by two."""
    head = [command.name]
    for option in command.options:
        yield "bare option", join(head + [command.written(option)])
    if len(command.options) <= tables.FEW:
        for one, other in itertools.combinations(command.options, 2):
            yield "bare pair", join(head + [command.written(one), command.written(other)])


def whole_line(command):
    """The base itself: cut, extended, repeated, badly quoted."""
    base = command.base()
    yield "base", join(base)
    yield "bare", join([command.name])
    yield "in capitals", join([command.name.upper()] + base[1:])
    yield "misspelt command", join([command.name + "x"] + base[1:])
    for i in range(1, len(base)):
        yield "left out", join(base[:i] + base[i + 1 :])
    for words in tables.SURPLUS:
        yield "surplus", join(base + words)
        yield "surplus first", join(base[:1] + words + base[1:])
    for tail in tables.TAILS:
        yield "tail", " ".join(base) + tail + "\n"
    yield "indented", "  " + join(base)
    yield "twice", join(base) * 2
    yield "twice, second bare", join(base) + join([command.name])


def conflicts(command, handler, commands):
    """The line before and after those that it must not stand with."""
    others = list(handler.commands[command.name].conflictingCommands)
    others += [n for n, c in handler.commands.items() if command.name in c.conflictingCommands]
    for other in sorted(set(others + ["autopart", "part"])):
        if other in commands:
            yield "conflict", join(command.base()) + join(commands[other].base())
            yield "conflict", join(commands[other].base()) + join(command.base())


def other_releases(command):
    """Options that the command has in another release and not in RHEL 7."""
    mine = {s for o in command.options for s in o.option_strings}
    foreign = {}
    for version in sorted(control.commandMap):
        kind = control.commandMap[version].get(command.name)
        parser = getattr(kind(), "op", None) if kind else None
        for action in parser._actions if parser else []:
            for spelling in set(action.option_strings) - mine:
                foreign.setdefault(spelling, is_flag(action))
    for spelling, flag in sorted(foreign.items()):
        yield "other release", join(command.base() + [spelling if flag else f"{spelling}=5"])


def of_command(command, handler, commands):
    yield from whole_line(command)
    yield from each_option(command)
    yield from pairs(command)
    yield from bare_pairs(command)
    yield from conflicts(command, handler, commands)
    yield from other_releases(command)
    for line in tables.LINES.get(command.name, []):
        yield "line", line + "\n"


def commands_of_other_releases(known):
    names = {n for v in control.commandMap.values() for n in v} - set(known)
    for name in sorted(names):
        yield name, f"{name}\n"
        yield name, f"{name} value\n"
        yield name, f"lang en_US.UTF-8\n{name} --name=value\n"


def sections():
    """Headers with right and wrong options, bodies, ends that are there and are not."""
    for name, options in tables.SECTIONS.items():
        for body, tail in itertools.product(tables.BODIES, ["%end\n", ""]):
            yield name, f"{name}\n{body}{tail}"
        heads = options + ["--frobnicate", "word", "-- x", "'open", "# it's"]
        heads += [f"{a} {b}" for a, b in itertools.combinations(options, 2)]
        heads += [o.split("=")[0] for o in options if "=" in o]
        heads += [f"{o}=x" for o in options if "=" not in o]
        for head in heads:
            yield name, f"{name} {head}\nvalue\n%end\n"
        for other in tables.SECTIONS:
            yield name, f"{name}\nvalue\n{other}\nvalue\n%end\n"
        yield name, f"lang en_US\n{name}\nvalue\n%end # it's\ntext\n"
    for text in tables.SECTION_TEXTS:
        yield "sections", text


def picked():
    """The lines that people thought of; ` ; ` stands for a line break."""
    path = pathlib.Path(__file__).parent.parent / "kickstarts" / "verdicts.txt"
    for line in path.read_text().splitlines():
        if line and not line.startswith("##"):
            yield line.replace(" ; ", "\n") + "\n"


def cases():
    """Every case once: what it is of, how it was made, its text."""
    handler = makeVersion(RHEL7)
    commands = {name: Command(name, handler) for name in sorted(handler.commands)}
    for name, command in commands.items():
        for how, text in of_command(command, handler, commands):
            yield name, how, text
    for name, text in commands_of_other_releases(commands):
        yield name, "command of another release", text
    for name, text in sections():
        yield name, "section", text
    for name, text in tables.FILES.items():
        yield "files", name, text
    for text in picked():
        yield "picked", "picked", text


class Judge:
    """One handler of pykickstart that forgets each text before it reads the next.

    Building a handler takes longer than everything else here. So its state, and that of its
    commands, is kept as it was in the beginning and put back; a fresh handler now and then
    says whether that worked.
    """

    EVERY = 100

    def __init__(self):
        self.handler = makeVersion(RHEL7)
        self.objects = [self.handler, self.handler.packages]
        self.objects += {id(c): c for c in self.handler.commands.values()}.values()
        self.state = [contents(o) for o in self.objects]
        self.cases = 0

    def message(self, text):
        """What pykickstart refuses the text with; nothing when it accepts it."""
        message = complaint(self.handler, text)
        for thing, state in zip(self.objects, self.state):
            vars(thing).clear()
            vars(thing).update({k: copied(v) for k, v in state.items()})
        self.cases += 1
        if self.cases % self.EVERY == 0 and complaint(makeVersion(RHEL7), text) != message:
            raise RuntimeError(f"the handler remembers an earlier text: {text!r}")
        return message


def contents(thing):
    return {k: copied(v) for k, v in vars(thing).items()}


def copied(value):
    return value.copy() if isinstance(value, (list, dict)) else value


def complaint(handler, text):
    try:
        KickstartParser(handler, followIncludes=False).readKickstartFromString(text)
    except Exception as error:  # pykickstart lets all kinds out: what ends the reading counts
        words = str(error).split("kickstart file:")[-1]
        return f"{type(error).__name__}: {' '.join(words.split())}"
    return ""


def main():
    judge = Judge()
    print(json.dumps({"commands": sorted(judge.handler.commands)}))
    seen = set()
    for of, how, text in cases():
        if text in seen:
            continue
        seen.add(text)
        message = judge.message(text)
        case = {"id": f"{of} / {how} / {len(seen)}", "of": of, "text": text}
        print(json.dumps(case | {"accepted": not message, "message": message}))


if __name__ == "__main__":
    main()
