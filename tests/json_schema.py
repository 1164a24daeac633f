#!/usr/bin/env python3
"""Holds what banger prints with --json against docs/json-schema.json: json_schema.py FILE...

Each line of the files is "COMMAND<tab>OUTPUT". Prints what is wrong and fails; with --all also when a command of the
schema was never seen, or when a command of `banger --help` (on standard input) is neither in the schema nor among
its streams. "failure" as a command is what failures print.
"""
import json
import os
import re
import sys

import jsonschema

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "json-schema.json")


def check_line(schema, line, seen):
    """What is wrong with one output; None when nothing is."""
    command, _, output = line.partition("\t")
    if command not in schema["commands"] and command != "failure":
        return f"{command}: not in the schema"
    seen.add(command)
    try:
        value = json.loads(output)
    except ValueError as problem:
        return f"{command}: {problem}: {output[:200]!r}"
    rule = {"$ref": "#/$defs/failure"} if command == "failure" else schema["commands"][command]
    validator = jsonschema.Draft202012Validator({"$defs": schema["$defs"], **rule})
    problems = [f"{command}: {'/'.join(str(p) for p in e.absolute_path)}: {e.message[:300]}"
                for e in validator.iter_errors(value)]
    return "\n".join(problems) or None


def check_coverage(schema, seen):
    """Commands of the schema that nothing was seen of, and commands that the schema does not know."""
    problems = [f"{command}: in the schema, but was never tried" for command in schema["commands"] if command not in seen]
    if "failure" not in seen:
        problems.append("no failure was tried")
    known = set(schema["commands"]) | set(schema["streams"])
    offered = set()
    for line in sys.stdin:
        match = re.match(r"  ((?!banger )[a-z-]+(?: [a-z-]+)*)(?:  .*)?$", line.rstrip("\n"))
        if match:
            offered.add(match.group(1))
    problems += [f"{command}: in neither 'commands' nor 'streams'" for command in sorted(offered - known)]
    problems += [f"{command}: there is no such command" for command in sorted(known - offered - {"ssh-proxy"})]
    return problems


def main():
    arguments = sys.argv[1:]
    wants_all = arguments[:1] == ["--all"]
    with open(SCHEMA, encoding="utf-8") as file:
        schema = json.load(file)
    for rule in [*schema["commands"].values(), *schema["$defs"].values()]:
        jsonschema.Draft202012Validator.check_schema(rule)
    seen, problems, count = set(), [], 0
    for path in arguments[wants_all:]:
        with open(path, encoding="utf-8") as file:
            for line in file:
                count += 1
                problem = check_line(schema, line.rstrip("\n"), seen)
                if problem:
                    problems.append(problem)
    if wants_all:
        problems += check_coverage(schema, seen)
    print("\n".join(problems) or f"{count} outputs of {len(seen)} commands are as documented")
    return 1 if problems or count == 0 else 0


sys.exit(main())
