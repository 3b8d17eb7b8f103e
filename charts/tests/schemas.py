"""JSON schemas for kubeconform, from Kubernetes' own swagger.json and our CustomResourceDefinition.

usage: schemas.py SWAGGER DEFINITION FOLDER

One file for each kind, `kind-group-version.json`, without references, and strict: a key that the type does not have is
an error, as it is for a server with strict field validation.
"""

import json
import pathlib
import sys

ANY_OF = {"int-or-string": [{"type": "string"}, {"type": "integer"}]}


def strict(schema):
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    return schema


def nullable(schema):
    """Kubernetes takes null for absent."""
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def expand(schema, definitions, path=()):
    """The schema with each reference replaced by what it refers to; a type within itself becomes "anything"."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in path:
            return {}
        return expand(definitions[name], definitions, (*path, name))
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [*ANY_OF["int-or-string"], {"type": "null"}]}
    result = {k: v for k, v in schema.items() if k not in ("description", "default") and not (k.startswith("x-") and "preserve" not in k)}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = expand(result[key], definitions, path)
    if "properties" in result:
        result["properties"] = {k: expand(v, definitions, path) for k, v in result["properties"].items()}
    # Formats such as int64 and byte are Kubernetes' own.
    result.pop("format", None)
    result.pop("nullable", None)
    return nullable(strict(result))


def kinds(swagger):
    for name, definition in swagger["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            yield kind["group"], kind["version"], kind["kind"], {"$ref": f"#/definitions/{name}"}


def file_name(group, version, kind):
    short = [group.split(".")[0]] if group else []
    return "-".join([kind, *short, version]).lower() + ".json"


def main(swagger_path, definition_path, folder):
    swagger = json.loads(pathlib.Path(swagger_path).read_text())
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {
        "Deployment", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
        "CustomResourceDefinition", "Service", "StatefulSet", "PodDisruptionBudget", "ConfigMap", "Secret", "Namespace",
    }
    for group, version, kind, reference in kinds(swagger):
        if kind in wanted:
            schema = expand(reference, swagger["definitions"])
            (folder / file_name(group, version, kind)).write_text(json.dumps(schema))
    definition = json.loads(pathlib.Path(definition_path).read_text())
    spec = definition["spec"]
    metadata = expand({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}, swagger["definitions"])
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        own = expand(schema, {})
        own["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata}
        own["additionalProperties"] = False
        (folder / file_name(spec["group"], version["name"], spec["names"]["kind"])).write_text(json.dumps(own))


if __name__ == "__main__":
    main(*sys.argv[1:])
