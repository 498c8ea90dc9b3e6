"""Scripts that have a shell complete our command line: the tree of commands in, one static script out. Pure.

A script starts no process when TAB is pressed. It follows the words to the deepest command; a command that holds
others takes no value, so a value is never taken for a command.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

PROGRAM = "shipwrightd"


@dataclass(frozen=True, slots=True)
class Takes:
    """What stands as an argument or behind an option: one of some words, a file, a folder, or what nobody can guess."""

    metavar: str
    words: tuple[str, ...] = ()
    kind: str = "word"  # word | file | folder


@dataclass(frozen=True, slots=True)
class Option:
    """One option under all its names."""

    names: tuple[str, ...]
    about: str
    takes: Takes | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command; its path is empty for the program itself."""

    path: str
    about: str
    options: tuple[Option, ...] = ()
    argument: Takes | None = None
    holds: tuple[Command, ...] = field(default=())


def every(command: Command) -> list[Command]:
    """Return a command and all below it."""
    return [command, *(below for held in command.holds for below in every(held))]


def _name(command: Command) -> str:
    return command.path.rpartition(" ")[2]


def _alternatives(texts: list[str]) -> str:
    return "|".join(shlex.quote(text) for text in texts)


BASH = """# bash completion of shipwrightd; `shipwrightd completion bash` writes it
_shipwrightd() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} at= word words=
    if [[ $current == = ]]; then  # bash takes --format=json for three words
        current=
    elif [[ $before == = ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{at:+$at }}$word" in
            {paths}) at="${{at:+$at }}$word" ;;
        esac
    done
    COMPREPLY=()
    case "$at $before" in
{values}
        *)
            case "$at" in
{commands}
            esac
            if [[ $current == -* ]]; then words=$options; fi
            ;;
    esac
    if [[ $words == : ]]; then  # a file or folder: left to readline, which knows of ~ and blanks
        return
    fi
    compopt +o default 2>/dev/null
    while IFS= read -r word; do
        if [[ -n $word ]]; then COMPREPLY+=("$word"); fi
    done < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _shipwrightd shipwrightd
"""


def bash(program: Command) -> str:
    """Return the script for bash, 3.2 of macOS included."""
    values: dict[str, list[str]] = {}
    commands: list[str] = []
    for command in every(program):
        for option in command.options:
            if option.takes:
                words = ":" if option.takes.kind != "word" else " ".join(option.takes.words)
                values.setdefault(words, []).extend(f"{command.path} {name}" for name in option.names)
        argument = command.argument
        offered = [_name(held) for held in command.holds] or list(argument.words if argument else ())
        words = ":" if argument and argument.kind != "word" else " ".join(offered)
        names = " ".join(name for option in command.options for name in option.names)
        assigned = f"local options={shlex.quote(names)}; words={shlex.quote(words)}"
        commands.append(f"                {shlex.quote(command.path)}) {assigned} ;;")
    return BASH.format(
        paths=_alternatives([command.path for command in every(program)[1:]]),
        values="\n".join(
            f"        {_alternatives(places)}) words={shlex.quote(words)} ;;" for words, places in values.items()
        ),
        commands="\n".join(commands),
    )


ZSH = """#compdef shipwrightd
# zsh completion of shipwrightd; `shipwrightd completion zsh` writes it
_shipwrightd() {{
    local context state state_descr line at= ret=1
    typeset -A opt_args
    integer n deep=0
    for ((n = 2; n < CURRENT; n++)); do
        case "${{at:+$at }}$words[n]" in
            ({paths}) at="${{at:+$at }}$words[n]"; deep=n-1 ;;
        esac
    done
    (( deep )) && {{ shift $deep words; (( CURRENT -= deep )) }}
    case "$at" in
{commands}
    esac
}}
if [[ $funcstack[1] == _shipwrightd ]]; then
    _shipwrightd "$@"
elif (( $+functions[compdef] )); then
    compdef _shipwrightd shipwrightd
fi
"""


def zsh(program: Command) -> str:
    """Return the script for zsh: a file of a folder in fpath, or text to be evaluated after compinit."""
    commands: list[str] = []
    for command in every(program):
        specs = [spec for option in command.options for spec in _zsh_specs(option)]
        if command.holds:
            told = " ".join(f"{_name(held)}\\:{shlex.quote(_zsh_text(held.about))}" for held in command.holds)
            specs.append(f"1:command:(({told}))")
        elif command.argument and (command.argument.words or command.argument.kind != "word"):
            specs.append(f"1:{command.argument.metavar}:{_zsh_action(command.argument)}")
        quoted = " ".join(map(shlex.quote, specs))
        commands.append(f"        ({shlex.quote(command.path)}) _arguments -s {quoted} && ret=0 ;;")
    return ZSH.format(
        paths=_alternatives([command.path for command in every(program)[1:]]), commands="\n".join(commands)
    )


def _zsh_specs(option: Option) -> list[str]:
    others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    value = f":{option.takes.metavar.replace(':', chr(92) + ':')}:{_zsh_action(option.takes)}" if option.takes else ""
    equals = "=" if option.takes else ""
    return [
        f"{others}{name}{equals if name.startswith('--') else ''}[{_zsh_text(option.about)}]{value}"
        for name in option.names
    ]


def _zsh_action(takes: Takes) -> str:
    if takes.kind == "word":
        return f"({' '.join(takes.words)})" if takes.words else " "
    return "_files -/" if takes.kind == "folder" else "_files"


def _zsh_text(text: str) -> str:
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, f"\\{special}")
    return text


FISH = """# fish completion of shipwrightd; `shipwrightd completion fish` writes it
set -g __shipwrightd_commands {paths}
function __shipwrightd_at --description 'whether this is the command that the words lead to'
    set -l words (commandline -opc)
    set -e words[1]
    set -l at
    for word in $words
        set -l deeper (string trim -- "$at $word")
        contains -- $deeper $__shipwrightd_commands; and set at $deeper
    end
    test "$at" = "$argv"
end
complete -c shipwrightd -f
"""


def fish(program: Command) -> str:
    """Return the script for fish."""
    lines: list[str] = []
    for command in every(program):
        at = f"complete -c {PROGRAM} -n {_fish_text(f'__shipwrightd_at {command.path}'.strip())}"
        lines += [f"{at} -a {_name(held)} -d {_fish_text(held.about)}" for held in command.holds]
        if command.argument:
            lines.append(f"{at} {_fish_takes(command.argument, option=False)}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            takes = f" {_fish_takes(option.takes, option=True)}" if option.takes else ""
            lines.append(f"{at} {names}{takes} -d {_fish_text(option.about)}")
    paths = " ".join(_fish_text(command.path) for command in every(program)[1:])
    return FISH.format(paths=paths) + "\n".join(lines) + "\n"


def _fish_takes(takes: Takes, *, option: bool) -> str:
    if takes.kind == "file":
        return "-r -F" if option else "-F"
    words = "(__fish_complete_directories)" if takes.kind == "folder" else " ".join(takes.words)
    return f"{'-x ' if option else ''}-a {_fish_text(words)}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
