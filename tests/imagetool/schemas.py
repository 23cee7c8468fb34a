"""schemas.py SCHEMAS PLACE…: holds what each OCI layout, and each file that is a manifest or an index,
says against image-spec's JSON schemas, and what they lead to. Prints what was found wrong, a line each,
then how many documents of each kind were read."""

import base64
import collections
import hashlib
import json
import os
import re
import sys

from jsonschema import Draft4Validator, FormatChecker, RefResolver

OCI = "application/vnd.oci.image."
KINDS = {
    OCI + "index.v1+json": "image-index-schema",
    OCI + "manifest.v1+json": "image-manifest-schema",
    OCI + "config.v1+json": "config-schema",
}
TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")

schemas, places = sys.argv[1], sys.argv[2:]
formats = FormatChecker(formats=())
formats.checks("date-time")(lambda text: not isinstance(text, str) or TIME.match(text) is not None)
formats.checks("uri")(lambda text: not isinstance(text, str) or re.match(r"^[a-z][a-z0-9+.-]*:", text) is not None)
seen = collections.Counter()
wrong = []


def schema(name):
    with open(os.path.join(schemas, name + ".json")) as file:
        return json.load(file)


def local(uri):
    """Whatever address a schema is named by, it lies in the folder."""
    return schema(os.path.basename(uri.split("#")[0]).removesuffix(".json"))


def no_double(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"a key twice: {names}")
    return dict(pairs)


def hold(bytes_, kind, where):
    """The document, when it is one."""
    seen[kind] += 1
    try:
        value = json.loads(bytes_, object_pairs_hook=no_double)
    except ValueError as error:
        wrong.append(f"{where}: {error}")
        return {}
    whole = schema(kind)
    resolver = RefResolver("", whole, handlers={"https": local, "": local})
    for error in Draft4Validator(whole, resolver=resolver, format_checker=formats).iter_errors(value):
        at = "/".join(map(str, error.path))
        wrong.append(f"{where}: {kind}: /{at}: {error.message[:200]}")
    return value


def follow(read, descriptor, where):
    """A descriptor, and what it names, when that is here."""
    hold(json.dumps(descriptor), "content-descriptor", where)
    algorithm, hex_ = descriptor["digest"].split(":", 1)
    bytes_ = read(algorithm, hex_)
    if bytes_ is None:
        seen["elsewhere"] += 1
        return {}
    if len(bytes_) != descriptor["size"] or hashlib.new(algorithm, bytes_).hexdigest() != hex_:
        wrong.append(f"{where}: {descriptor['digest']}: not these bytes")
    if "data" in descriptor and base64.b64decode(descriptor["data"]) != bytes_:
        wrong.append(f"{where}: {descriptor['digest']}: data says otherwise")
    kind = KINDS.get(descriptor["mediaType"])
    if kind is None:
        seen["other"] += 1
        return {}
    value = hold(bytes_, kind, f"{where}: {descriptor['digest'][:19]}")
    if value.get("mediaType", descriptor["mediaType"]) != descriptor["mediaType"]:
        wrong.append(f"{where}: says it is {value['mediaType']}, named as {descriptor['mediaType']}")
    document(read, value, where)
    return value


def document(read, value, where):
    for below in value.get("manifests", []):
        follow(read, below, where)
    if "subject" in value:
        follow(read, value["subject"], where)
    if "layers" in value:
        config = follow(read, value["config"], where)
        for layer in value["layers"]:
            follow(read, layer, where)
        ids = config.get("rootfs", {}).get("diff_ids", value["layers"])
        if len(ids) != len(value["layers"]):
            wrong.append(f"{where}: {len(value['layers'])} layers, {len(ids)} diff_ids")
        steps = config.get("history")
        if steps and sum(not step.get("empty_layer") for step in steps) != len(ids):
            wrong.append(f"{where}: the history is of another number of layers than {len(ids)}")


def layout(place):
    def read(algorithm, hex_):
        try:
            with open(os.path.join(place, "blobs", algorithm, hex_), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    with open(os.path.join(place, "oci-layout"), "rb") as file:
        hold(file.read(), "image-layout-schema", place)
    with open(os.path.join(place, "index.json"), "rb") as file:
        index = hold(file.read(), "image-index-schema", place)
    for named in index.get("manifests", []):
        name = named.get("annotations", {}).get("org.opencontainers.image.ref.name", "-")
        follow(read, named, f"{os.path.basename(place)}:{name}")


for place in places:
    if os.path.isdir(place):
        layout(place)
    else:
        with open(place, "rb") as file:
            bytes_ = file.read()
        kind = KINDS.get(json.loads(bytes_)["mediaType"])
        if kind:
            document(lambda *_: None, hold(bytes_, kind, place), place)
        else:
            seen["other"] += 1
print(*wrong, sep="\n", end="\n" if wrong else "")
print(json.dumps(seen))
