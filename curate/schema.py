"""JSON Schema of the pipeline file, for editors: every filter that is registered, with its options."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from curate.filter import Filter, registered
from curate.settings import STEP_NAME, Settings
from curate.turns import PARTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a pipeline file, with the filters known now: built in, entry points, plugins."""
    schema = Settings.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})
    properties: dict[str, Any] = schema["properties"]
    for name, value in properties.items():
        properties[name] = {"anyOf": [_without_description(value), {"type": "null"}], **_described(value)}
    steps: list[dict[str, Any]] = []
    for label, made in registered().items():
        options, inner = _options(label, made)
        definitions |= inner
        definitions[f"filter.{label}"] = options
        steps += _step(label, options)
    properties["steps"] = {
        "type": "array",
        "description": "Filters in the order they run: a name, or a name with options below it.",
        "items": {"anyOf": steps},
    }
    return {
        "$schema": DIALECT,
        "title": "curate pipeline",
        "description": "Input, steps and output of a curation.",
        "type": "object",
        "properties": properties,
        "required": ["steps"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _options(label: str, made: type[Filter]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of a filter's options, and the definitions it refers to."""
    try:
        schema = made.model_json_schema(ref_template=f"#/$defs/filter.{label}.{{model}}")
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):  # a plugin's option of an unusual type
        schema = {"type": "object", "properties": {name: {} for name in made.model_fields}}
        schema["required"] = [name for name, field in made.model_fields.items() if field.is_required()]
    inner = {f"filter.{label}.{name}": value for name, value in schema.pop("$defs", {}).items()}
    schema["title"] = label
    schema["description"] = inspect.cleandoc(made.__doc__ or "")
    schema["additionalProperties"] = False
    return schema, inner


def _step(label: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The ways to write a step: with options, and by name alone when no option is required."""
    shown = {"title": label, "description": options["description"]}
    bare = not options.get("required")
    reference = {"$ref": f"#/$defs/filter.{label}"}
    mapping = {
        "type": "object",
        "properties": {
            label: {"anyOf": [reference, {"type": "null"}]} if bare else reference,
            "as": {
                "type": "string",
                "pattern": f"^(?!input(\\.|$)){STEP_NAME}$",
                "description": "A name for the step, when a filter is used twice.",
            },
            "on": {
                "enum": list(PARTS),
                "default": "whole",
                "description": "The part of a chat or preference record that the step judges.",
            },
        },
        "required": [label],
        "additionalProperties": False,
    }
    return [*([{"const": label, **shown}] if bare else []), {**mapping, **shown}]


def _described(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("title", "description", "default") if key in value}


def _without_description(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in ("title", "description", "default")}
