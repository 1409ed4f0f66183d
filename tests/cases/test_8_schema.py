"""What other languages generate from the schema, and what its golden vectors say where two readers differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format

from scripts import vectors
from streamcell.v1 import cell_pb2

NAMES = {
    "csharp_namespace": "Streamcell.V1",
    "go_package": "streamcell/v1;streamcellv1",
    "java_multiple_files": True,
    "java_package": "streamcell.v1",
    "objc_class_prefix": "SCL",
}
# Bytes in which a cell and a library of protobuf see something else.
READ_IN_TWO_WAYS = {"An unknown frame", "A frame of no kind", "An unknown error code"}


def committed(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


BATCHES = [vector for name in ("frames", "edge_cases", "corrupt") for vector in committed(name)]


def test_case_8_5_other_languages_get_names_for_what_is_generated() -> None:
    """Once given they stay: code that was generated from the schema is used by these names."""
    schema = descriptor_pb2.FileDescriptorProto()
    cell_pb2.DESCRIPTOR.CopyToProto(schema)
    assert {option.name: value for option, value in schema.options.ListFields()} == NAMES


@pytest.mark.parametrize("vector", BATCHES, ids=lambda vector: str(vector["name"]))
def test_case_8_6_a_vector_says_what_protobuf_alone_reads(vector: dict[str, Any]) -> None:
    batch = cell_pb2.ExchangeRequest.FromString(bytes.fromhex(vector["hex"]))
    read = json_format.MessageToDict(batch, preserving_proto_field_name=True).get("frames", [])
    assert read == vector.get("protobuf", vector["frames"])


def test_case_8_6_both_readings_stand_where_they_differ() -> None:
    two_ways = [vector for vector in BATCHES if "protobuf" in vector]
    assert {vector["name"] for vector in two_ways} == READ_IN_TWO_WAYS
    assert all(vector["protobuf"] != vector["frames"] for vector in two_ways)
