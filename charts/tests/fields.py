"""Prints the fields of the ChatCluster's spec that a rendered spec does not have.

usage: fields.py DEFINITION SPEC
"""

import json
import pathlib
import sys


def main(definition_path, spec_path):
    definition = json.loads(pathlib.Path(definition_path).read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rendered = json.loads(pathlib.Path(spec_path).read_text())
    print(*sorted(schema["properties"].keys() - rendered.keys()))


if __name__ == "__main__":
    main(*sys.argv[1:])
