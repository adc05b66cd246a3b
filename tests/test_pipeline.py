"""Pipelines: YAML to filters and back, overrides, and every problem at once with its line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, FilePath, field_validator, model_validator

from curate import Filter, Pipeline, PipelineError, Step
from curate.filter import plugin_problems
from curate.pipeline import Input, Output, json_schema, parse_share, parse_size, shipped
from curate.yaml_text import read_yaml, write_yaml


class Words(Filter, name="test.pipeline.words"):
    """Drop short pages."""

    min_words: int = Field(default=5, ge=0, description="Fewest words that are kept.")
    unit: Literal["words", "characters"] = "words"
    strict: bool = False
    share: float | Literal["auto"] = 0.5


class Keep(Filter, name="test.pipeline.keep"):
    """Keep some languages."""

    keep: tuple[str, ...]
    weights: dict[str, float] = Field(default_factory=dict)

    @field_validator("keep")
    @classmethod
    def _known(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        if "xx" in keep:
            raise ValueError('"xx" is no language code; `no` is Norwegian')
        return keep

    @model_validator(mode="after")
    def _weighted(self) -> Keep:
        if set(self.weights) - set(self.keep):
            raise ValueError("every language with a weight must be kept")
        return self


class Listed(Filter, name="test.pipeline.listed"):
    """Drop listed addresses."""

    list: Path | Literal["builtin"] = "builtin"
    more: tuple[Path, ...] = ()
    note: str = "address"

    def files(self) -> tuple[Path, ...]:
        return (*self.more, *([self.list] if isinstance(self.list, Path) else []))


class Existing(Filter, name="test.pipeline.existing"):
    """Reads its file when it is made."""

    file: FilePath


class Broken(Filter, name="test.pipeline.broken"):
    """A filter of others whose validator fails."""

    size: int = 1

    @field_validator("size")
    @classmethod
    def _fails(cls, size: int) -> int:
        raise KeyError("table")


WORDS, KEEP, LISTED = "test.pipeline.words", "test.pipeline.keep", "test.pipeline.listed"


def parse(text: str, base: Path | str = "/nowhere", **options: Any) -> Pipeline:
    return Pipeline.parse(text, base=base, **options)


def problems(text: str, base: Path | str = "/nowhere", **options: Any) -> list[str]:
    with pytest.raises(PipelineError) as caught:
        parse(text, base, **options)
    return [str(problem) for problem in caught.value.problems]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_whole_pipeline() -> None:
    pipeline = parse(
        """
name: web
input: {paths: ["crawl/*.jsonl.zst"], text: body, id: url}
steps:
  - test.pipeline.words
  - test.pipeline.keep: {keep: [en, fr, no]}
  - test.pipeline.words: {min_words: 50}
    as: long
output: {path: clean/, shard_size: 64MB, dropped: full, columns: [keep.label]}
max_quarantined: 0.1%
audit: {sample: 5%}
limits: {record: 1 MiB}
"""
    )
    assert pipeline.name == "web"
    assert pipeline.input == Input(paths=("crawl/*.jsonl.zst",), text="body", id="url")
    assert pipeline.steps == (
        Step(name=WORDS, filter=Words()),
        Step(name=KEEP, filter=Keep(keep=("en", "fr", "no"))),
        Step(name="long", filter=Words(min_words=50)),
    )
    assert pipeline.output == Output(path="clean/", shard_size=64_000_000, dropped="full", columns=("keep.label",))
    assert (pipeline.max_quarantined, pipeline.audit.sample, pipeline.limits.record) == (0.001, 0.05, 1_048_576)


def test_only_steps_are_needed() -> None:
    pipeline = parse("steps: [test.pipeline.words]")
    assert pipeline == Pipeline([Words()], base="/nowhere")


def test_a_section_with_nothing_below_it_means_the_defaults() -> None:
    assert parse("input:\noutput:\nsteps: [test.pipeline.words: ]").output == Output()


def test_one_path_stands_for_a_list() -> None:
    assert parse("input: {paths: a.jsonl}\nsteps: []").input.paths == ("a.jsonl",)


def test_no_stays_norwegian_as_value_and_as_key() -> None:
    (step,) = parse("steps: [{test.pipeline.keep: {keep: [no, 'yes'], weights: {no: 1e-3}}}]").steps
    assert step.filter == Keep(keep=("no", "yes"), weights={"no": 0.001})


def test_numbers_as_yaml_1_2_writes_them() -> None:
    text = "[1e-3, 0x1F, 0o17, 010, 1_000, .inf, -2.5, ~, true, False, 2026-01-01, 1:30, yes, '5']"
    expected = [0.001, 31, 15, 10, 1000, float("inf"), -2.5, None, True, False, "2026-01-01", "1:30", "yes", "5"]
    assert read_yaml(text, "p.yaml").root == expected


WORD = st.text() | st.sampled_from(
    ["no", "~", "", "1e3", ".5", "null", "- a", ":0", "#c", "a: b", "\x85", "\U0001f600"]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORD, PLAIN, max_size=3))
def test_plain_values_survive_yaml(value: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(value), "p.yaml").root == (value or None)


# --- files that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\nsteps: !!python/object:os.system [rm]", "pipeline.yaml:2: the tag !!python/object:os.system is not"),
        ("steps: !mine x", "pipeline.yaml:1: the tag !mine is not allowed"),
        ("name: &x a", "pipeline.yaml:1: the anchor &x is not allowed"),
        ("name: x\nname: y", 'pipeline.yaml:2: the key "name" stands here again; the first is on line 1'),
        ("steps:\n\t- a", "pipeline.yaml:2: a tab cannot indent YAML (indent with spaces)"),
        ("steps: [a", "pipeline.yaml:1: not readable as YAML: "),
        ("%YAML 1.1\n---\nsteps: []", "pipeline.yaml:2: only YAML 1.2 is read"),
        ("steps: []\n---\nsteps: []", "pipeline.yaml:2: a second document starts here"),
        ("steps: []\n? [a]\n: 1", "pipeline.yaml:2: a key must be text"),
        ("a: 1\nb: \x01", "pipeline.yaml:2: the character U+0001 is not allowed"),
        ('a: "\\ud800"', "pipeline.yaml:1: a half of a surrogate pair is no text"),
        ("a: " + "[" * 100_000, "pipeline.yaml:1: nested more than 50 deep"),
        ("# " + "x" * 1_000_000, "pipeline.yaml: larger than 1 MB"),
        ("a: " + "9" * 5000, "pipeline.yaml:1: not a number"),
        ("", "pipeline.yaml: a pipeline needs `steps:`"),
        ("- a", "pipeline.yaml: a pipeline is a mapping with the key `steps:`, got a list"),
        ("steps: test.pipeline.words", "pipeline.yaml:1: `steps` must be a list, got the text"),
    ],
)
def test_refused_with_the_line(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(expected)


def test_an_alias_bomb_is_refused_without_being_expanded() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    found = problems("\n".join(["a0: &a0 x", *levels]))
    assert found[0] == "pipeline.yaml:1: the anchor &a0 is not allowed (write values out, or quote it)"
    assert any("the alias *a0 is not allowed" in problem for problem in found)


def test_all_refusals_of_a_file_are_listed() -> None:
    assert len(problems("a: !x 1\nb: &y 2\nc: *y")) == 3


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"name: ok\nsteps: [\xff]")
    with pytest.raises(PipelineError, match=r"p\.yaml:2: not valid UTF-8"):
        Pipeline.load(tmp_path / "p.yaml")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("#" * 1_000_001)
    with pytest.raises(PipelineError, match="larger than 1 MB"):
        Pipeline.load(tmp_path / "p.yaml")


# --- problems of steps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("test.pipeline.wrods", 'there is no filter "test.pipeline.wrods" (did you mean "test.pipeline.words"?)'),
        (
            "test.pipeline.words: {min_wrods: 1}",
            '"test.pipeline.words" has no "min_wrods" (did you mean "min_words"?)',
        ),
        (
            "test.pipeline.words: {zzz: 1}",
            '"test.pipeline.words" has no "zzz" (known: min_words, unit, strict, share)',
        ),
        (
            "test.pipeline.words: {min_words: many}",
            '"min_words" of "test.pipeline.words" must be a whole number, got the text "many"',
        ),
        (
            "test.pipeline.words: {min_words: '5'}",
            '"min_words" of "test.pipeline.words" must be a whole number, got the text "5" (write it without quotes)',
        ),
        (
            "test.pipeline.words: {min_words: true}",
            '"min_words" of "test.pipeline.words" must be a whole number, got true',
        ),
        (
            "test.pipeline.words: {min_words: -1}",
            '"min_words" of "test.pipeline.words" must be at least 0, got the number -1',
        ),
        (
            "test.pipeline.words: {strict: no}",
            '"strict" of "test.pipeline.words" must be true or false, got the text "no"',
        ),
        (
            "test.pipeline.words: {unit: word}",
            '"unit" of "test.pipeline.words" must be "words" or "characters", got the text "word"'
            ' (did you mean "words"?)',
        ),
        (
            "test.pipeline.words: {share: [1]}",
            '"share" of "test.pipeline.words" must be a number or "auto", got a list',
        ),
        ("test.pipeline.keep", '"test.pipeline.keep" needs "keep"'),
        ("test.pipeline.keep: {keep: en}", '"keep" of "test.pipeline.keep" must be a list, got the text "en"'),
        (
            "test.pipeline.keep: {keep: [en, 5]}",
            '"keep[1]" of "test.pipeline.keep" must be text, got the number 5 (quote it: "5")',
        ),
        (
            "test.pipeline.keep: {keep: [xx]}",
            '"keep" of "test.pipeline.keep": "xx" is no language code; `no` is Norwegian',
        ),
        (
            "test.pipeline.keep: {keep: [en], weights: {fr: 1}}",
            '"test.pipeline.keep": every language with a weight must be kept',
        ),
        (
            "test.pipeline.broken: {size: 2}",
            "\"test.pipeline.broken\" cannot be made from these options: KeyError: 'table'",
        ),
        (
            "test.pipeline.words: 5",
            'the options of "test.pipeline.words" must be a mapping, got the number 5'
            " (write `- test.pipeline.words: {min_words: ...}`)",
        ),
        ("5", "a step is a filter's name or `- name: {options}`, got the number 5"),
        ("{as: x}", "the step names no filter (write it as `- length: {min_words: 5}`)"),
        (
            "{test.pipeline.words: {}, test.pipeline.listed: {}}",
            "a step has one filter's name as its key, got test.pipeline.words, test.pipeline.listed"
            " (start each step with `- `)",
        ),
        (
            "{test.pipeline.words: , min_words: 5}",
            'a step has one filter\'s name as its key, got also "min_words" (options stand below the name, indented by'
            " two more spaces: `- test.pipeline.words: {min_words: ...}`)",
        ),
        ("{test.pipeline.words: {}, as: 5}", "`as` must be a name for the step, got the number 5"),
        (
            "{test.pipeline.words: {}, as: a-b}",
            'the step name "a-b" must be words of letters, digits and _, joined by dots',
        ),
        (
            "{test.pipeline.words: {}, as: input.x}",
            'the step name "input.x" is taken: the ledger calls columns of the input input.NAME',
        ),
    ],
)
def test_a_step_that_is_wrong(step: str, expected: str) -> None:
    assert problems(f"steps:\n  - {step}") == [f"pipeline.yaml:2: {expected}"]


def test_a_filter_used_twice_needs_another_name() -> None:
    (problem,) = problems("steps:\n- test.pipeline.words\n- test.pipeline.words: {min_words: 9}")
    assert problem.startswith('pipeline.yaml:3: the step "test.pipeline.words" is there already, at pipeline.yaml:2')
    assert "`as: other_name`" in problem


def test_a_missing_file_is_named_with_the_line_of_its_option(tmp_path: Path) -> None:
    found = problems("steps:\n- test.pipeline.listed:\n    note: x\n    list: gone.txt", tmp_path)
    missing = str(tmp_path / "gone.txt")
    assert found == [f'pipeline.yaml:4: "test.pipeline.listed" needs the file {missing!r}, which does not exist']


def test_an_unknown_filter_ends_with_a_hint() -> None:
    with pytest.raises(PipelineError) as caught:
        parse("steps: [nothing_like_it]")
    assert str(caught.value).splitlines()[-1].startswith("hint: `curate filters` lists the filters")


def test_an_unknown_filter_may_be_of_an_entry_point_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_problems() == {}
    monkeypatch.setattr("curate.parse.plugin_problems", lambda: {"acme": "ImportError: no module named acme"})
    found = problems("steps: [acme.one, acme.two]")
    assert found[-1] == 'entry point "acme": its filters are missing: ImportError: no module named acme'
    assert len(found) == 3


# --- problems of the rest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stpes: []", 'a pipeline has no "stpes" (did you mean "steps"?)'),
        ("input: {txt: body}", 'input of the pipeline has no "txt" (did you mean "text"?)'),
        ("output: {shard_sizes: 1}", 'output of the pipeline has no "shard_sizes" (did you mean "shard_size"?)'),
        ("audit: {samples: 1%}", 'audit of the pipeline has no "samples" (did you mean "sample"?)'),
        ("limits: {records: 5}", 'limits of the pipeline has no "records" (did you mean "record"?)'),
        ("input: {text: 5}", '"input.text" of the pipeline must be text, got the number 5 (quote it: "5")'),
        (
            "input: {kind: poem}",
            '"input.kind" of the pipeline must be "text", "chat" or "preference", got the text "poem"',
        ),
        ("input: {paths: 5}", '"input.paths" of the pipeline must be a list, got the number 5'),
        ("input: body", '"input" of the pipeline must be a mapping, got the text "body"'),
        (
            "output: {shard_size: 5 XB}",
            '"output.shard_size" of the pipeline must be a size such as 256MB, 64 MiB or a whole number of bytes,'
            ' got the text "5 XB"',
        ),
        ("output: {shard_size: 0}", '"output.shard_size" of the pipeline must be above 0, got the number 0'),
        (
            "max_quarantined: 5",
            '"max_quarantined" of the pipeline must be a share from 0 to 1, or a percentage such as 0.1%,'
            " got the number 5",
        ),
    ],
)
def test_a_setting_that_is_wrong(text: str, expected: str) -> None:
    assert problems(f"steps: [test.pipeline.words]\n{text}") == [f"pipeline.yaml:2: {expected}"]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "nmae: web\ninput: {txt: body}\nsteps:\n- test.pipeline.wrods\n- test.pipeline.words: {min_words: x, on: 1}",
        source="web.yaml",
        overrides=["outptu.path=x", "audit.sample=7"],
        plugins=["/nowhere/gone.py"],
    )
    places = [problem.partition(": ")[0] for problem in found]
    assert places[:5] == ["web.yaml:1", "web.yaml:2", "web.yaml:4", "web.yaml:5", "web.yaml:5"]
    assert sorted(places[5:]) == ["--plugin /nowhere/gone.py", "audit.sample=7", "outptu.path=x"]


# --- overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "option", "expected"),
    [
        ("name=x", "name", "x"),
        ("input.text=body", "input.text", "body"),
        ("input.paths=[a,b]", "input.paths", ("a", "b")),
        ("input.id=", "input.id", None),
        ("max_quarantined=1%", "max_quarantined", 0.01),
        ("output.shard_size=64MB", "output.shard_size", 64_000_000),
        ("audit={sample: 2%}", "audit.sample", 0.02),
    ],
)
def test_an_override_of_a_setting(override: str, option: str, expected: Any) -> None:
    value: Any = parse("steps: []\ninput: {id: url}", overrides=[override])
    for part in option.split("."):
        value = getattr(value, part)
    assert value == expected


@pytest.mark.parametrize(
    "steps",
    [
        "[test.pipeline.words]",
        "[test.pipeline.words: ]",
        "[test.pipeline.words: {min_words: 1}]",
        "[{test.pipeline.words: {min_words: 1}, as: a}]",
    ],
)
def test_an_override_of_a_step(steps: str) -> None:
    name = "a" if "as: a" in steps else WORDS
    (step,) = parse(f"steps: {steps}", overrides=[f"steps.{name}.min_words=7"]).steps
    assert step.filter == Words(min_words=7)


def test_an_override_goes_to_the_longest_step_name() -> None:
    steps = "steps: [{test.pipeline.keep: {keep: [a]}, as: a}, {test.pipeline.words: {}, as: a.weights}]"
    first, second = parse(steps, overrides=["steps.a.weights.min_words=7", "steps.a.keep=[b]"]).steps
    assert first.filter == Keep(keep=("b",))
    assert second.filter == Words(min_words=7)


def test_an_override_may_set_one_entry_of_a_mapping() -> None:
    (step,) = parse("steps: [{test.pipeline.keep: {keep: [a]}}]", overrides=[f"steps.{KEEP}.weights.a=2"]).steps
    assert step.filter == Keep(keep=("a",), weights={"a": 2})


def test_the_last_override_wins() -> None:
    assert parse("steps: []", overrides=["name=a", "name=b"]).name == "b"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("nmae=x", 'a pipeline has no "nmae" (did you mean "name"?)'),
        ("text=body", 'a pipeline has no "text" (did you mean "input.text"?)'),
        ("input.txt=body", 'input of the pipeline has no "txt" (did you mean "text"?)'),
        ("steps.lenght.min_words=5", 'no step fits "steps.lenght.min_words" (did you mean "steps.length"?)'),
        ("steps.length.min_wrods=5", '"test.pipeline.words" has no "min_wrods" (did you mean "min_words"?)'),
        (
            "steps.length.min_words=x",
            '"min_words" of "test.pipeline.words" must be a whole number, got the text "x"',
        ),
        ("steps.length.none.such=5", '"test.pipeline.words" has no "none" (known: min_words, unit, strict, share)'),
        ("steps.length=5", "an override sets one option of a step (write steps.length.OPTION=value)"),
        ("steps=[]", 'no step fits "steps" (steps: length)'),
        ("name.x=1", '"name" holds no options, so that "name.x" cannot be set'),
        ("name", "an override is written key=value (for example steps.toxicity.max_share=0.1)"),
        ("name=*x", "the alias *x is not allowed (write the value out, or quote it)"),
    ],
)
def test_an_override_that_is_wrong(override: str, expected: str) -> None:
    text = "name: a\nsteps: [{test.pipeline.words: {}, as: length}]"
    assert problems(text, overrides=[override]) == [f"{override}: {expected}"]


# --- paths and plugins ------------------------------------------------------------------------------------------------


def test_paths_among_options_are_relative_to_the_pipeline_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    pipeline = parse("steps: [test.pipeline.listed: {list: a.txt, more: [a.txt], note: a.txt}]", tmp_path)
    file = tmp_path / "a.txt"
    assert pipeline.steps[0].filter == Listed(list=file, more=(file,), note="a.txt")


def test_a_word_beside_paths_is_no_path() -> None:
    assert parse("steps: [test.pipeline.listed: {list: builtin}]").steps[0].filter == Listed(list="builtin")


def test_a_filter_that_opens_its_file_sees_the_joined_path(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    pipeline = parse("steps: [test.pipeline.existing: {file: a.txt}]", tmp_path)
    assert pipeline.steps[0].filter == Existing(file=tmp_path / "a.txt")


def test_paths_inside_the_folder_are_written_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    pipeline = Pipeline([Listed(list=Path("a.txt"), more=(tmp_path / "a.txt", Path("/etc/hosts")))], base=tmp_path)
    assert pipeline.resolved()["steps"] == [
        {LISTED: {"list": "a.txt", "more": ["a.txt", "/etc/hosts"], "note": "address"}}
    ]


def test_input_output_and_plugins_stay_as_written(tmp_path: Path) -> None:
    (tmp_path / "plug.py").touch()
    pipeline = parse("{input: {paths: [a/*.csv]}, output: {path: out/}, plugins: [plug.py], steps: []}", tmp_path)
    assert (pipeline.input.paths, pipeline.output.path, pipeline.plugins) == (("a/*.csv",), "out/", ("plug.py",))
    assert pipeline.base == tmp_path


PLUGIN = """
from curate import Filter

class Acme(Filter, name="{name}"):
    size: int = 1
"""


def test_a_plugin_of_the_pipeline_is_loaded_before_the_steps(tmp_path: Path) -> None:
    (tmp_path / "acme_one.py").write_text(PLUGIN.format(name="acme.pipeline_one"))
    pipeline = parse("plugins: [acme_one.py]\nsteps: [acme.pipeline_one: {size: 3}]", tmp_path)
    assert pipeline.steps[0].filter.options() == {"size": 3}


def test_a_plugin_of_the_command_line_is_relative_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "acme_two.py").write_text(PLUGIN.format(name="acme.pipeline_two"))
    monkeypatch.chdir(tmp_path)
    pipeline = parse("steps: [acme.pipeline_two]", tmp_path / "sub", plugins=["acme_two.py"])
    assert pipeline.plugins == ("../acme_two.py",)
    assert parse(pipeline.to_yaml(), pipeline.base) == pipeline


def test_a_plugin_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0")
    first, second = problems("plugins:\n- bad.py\n- gone.py\nsteps: []", tmp_path)
    assert first.startswith("pipeline.yaml:2: plugin file 'bad.py' cannot be loaded: ZeroDivisionError")
    assert second.startswith("pipeline.yaml:3: the plugin file 'gone.py' does not exist")


# --- loading ----------------------------------------------------------------------------------------------------------


def test_load_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.yaml").write_text("\ufeffname: x\nsteps: [test.pipeline.words]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    pipeline = Pipeline.load("p.yaml", ["name=y"])
    assert pipeline == Pipeline([Words()], name="y", base=tmp_path)


def test_load_a_shipped_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.pipeline.shipped", lambda: {"tiny": "steps: [test.pipeline.words]"})
    monkeypatch.chdir(tmp_path)
    assert Pipeline.load("tiny").base == tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tinny", "there is no file and no shipped pipeline 'tinny' (did you mean \"tiny\"?)"),
        ("conf/tiny.yaml", "the file 'conf/tiny.yaml' does not exist (did you mean \"tiny\"?)"),
    ],
)
def test_load_something_unknown(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.pipeline.shipped", lambda: {"tiny": "steps: []", "web": "steps: []"})
    with pytest.raises(PipelineError) as caught:
        Pipeline.load(name)
    assert str(caught.value) == f"{message}\nhint: shipped pipelines: tiny, web"


def test_load_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is a folder, not a pipeline file"):
        Pipeline.load(tmp_path)


def test_every_shipped_pipeline_is_yaml() -> None:
    for name, text in shipped().items():
        assert "steps" in read_yaml(text, name).root


# --- Python objects ---------------------------------------------------------------------------------------------------


def test_steps_as_filters_pairs_and_steps() -> None:
    pipeline = Pipeline([Words(), ("a", Words()), Step(name="b", filter=Words())])
    assert [step.name for step in pipeline.steps] == [WORDS, "a", "b"]


def test_settings_as_models_or_mappings() -> None:
    assert Pipeline([], input={"paths": ["a"]}) == Pipeline([], input=Input(paths=("a",)))


def test_paths_in_python_may_be_path_objects() -> None:
    pipeline = Pipeline([], input={"paths": Path("a.csv")}, output={"path": Path("out")}, plugins=[Path("p.py")])
    assert (pipeline.input.paths, pipeline.output.path, pipeline.plugins) == (("a.csv",), "out", ("p.py",))


def test_the_base_in_python_is_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Pipeline([]).base == tmp_path


class Unnamed(Filter):
    """A filter without a name."""


class Inherited(Words):
    """A filter that would go by the name of another."""


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            [Words(), Words(min_words=9)],
            'steps[1]: the step "test.pipeline.words" is there already'
            ' (name this one: Step(name="other_name", filter=...))',
        ),
        ([Words], "steps[0]: Words is a class, a step needs one made (write Words(...))"),
        (["words"], 'steps[0]: a step is a filter, a (name, filter) pair or a Step, got the text "words"'),
        ([Unnamed()], "steps[0]: Unnamed has no name of its own"),
        ([Inherited()], "steps[0]: Inherited has no name of its own"),
        ([("a b", Words())], 'steps[0]: the step name "a b" must be words of letters, digits and _, joined by dots'),
        (Words(), "steps must be a list of filters, got a Words"),
    ],
)
def test_wrong_steps_in_python(steps: Any, expected: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline(steps)
    (problem,) = caught.value.problems
    assert str(problem).startswith(expected)


def test_problems_in_python_come_at_once() -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline([Words], nmae="x", input={"txt": "body"})
    assert len(caught.value.problems) == 3


def test_a_pipeline_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Pipeline([]).name = "x"


def test_a_pipeline_pickles() -> None:
    pipeline = Pipeline([Words()], base="/nowhere")
    assert pickle.loads(pickle.dumps(pipeline)) == pipeline


def test_files_of_filters_can_be_checked_in_python(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"needs the file '.*gone\.txt', which does not exist"):
        Pipeline([Listed(list=Path("gone.txt"))], base=tmp_path).check_files()


# --- writing ----------------------------------------------------------------------------------------------------------


def everything(base: Path) -> Pipeline:
    return Pipeline(
        [Words(), ("b", Words(share="auto")), Keep(keep=("no", "5", "null")), Listed(list=base / "a.txt")],
        name="no",
        input={"paths": ["a: b.csv", "#c"], "id": "1"},
        output={"path": "out", "ledger_columns": [], "shard_size": 5},
        max_quarantined=1e-9,
        audit={"sample": 0},
        base=base,
    )


def test_yaml_round_trip(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    pipeline = everything(tmp_path)
    assert parse(pipeline.to_yaml(), tmp_path) == pipeline


def test_resolved_round_trip_through_json(tmp_path: Path) -> None:
    pipeline = everything(tmp_path)
    resolved = pipeline.resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert Pipeline.from_resolved(resolved, tmp_path) == pipeline


def test_resolved_says_every_option() -> None:
    resolved = parse("steps: [{test.pipeline.words: {}, as: a}]").resolved()
    assert resolved["steps"] == [{WORDS: {"min_words": 5, "unit": "words", "strict": False, "share": 0.5}, "as": "a"}]
    assert resolved["output"]["shard_size"] == 256_000_000
    assert list(resolved) == [
        "name", "input", "steps", "output", "max_quarantined", "audit", "limits", "policy", "card", "plugins"
    ]  # fmt: skip


def test_to_yaml_leaves_defaults_out() -> None:
    text = Pipeline([Words(), Keep(keep=("en",))], name="x").to_yaml()
    assert text == "name: x\nsteps:\n  - test.pipeline.words\n  - test.pipeline.keep: {keep: [en]}\n"


def test_shared_values_are_written_without_aliases() -> None:
    names = ["a", "b"]
    assert write_yaml({"c": names, "d": names}) == "c: [a, b]\nd: [a, b]\n"


def test_repr_is_a_short_listing() -> None:
    pipeline = Pipeline([Words(), ("a", Words(min_words=9))], name="web", input={"paths": ["a", "b"]})
    assert repr(pipeline) == (
        "Pipeline 'web', 2 steps\n  input   a, b\n  1. test.pipeline.words\n  2. a = test.pipeline.words(min_words=9)"
    )


def test_html_is_escaped() -> None:
    html = Pipeline([], name="</pre><script>")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


# --- sizes and shares -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("256MB", 256_000_000),
        ("64 MiB", 67_108_864),
        ("1.5GB", 1_500_000_000),
        ("2 kb", 2000),
        ("1KiB", 1024),
        ("1 TB", 10**12),
        ("7", 7),
        ("7 B", 7),
        (7, 7),
        (256e6, 256_000_000),
    ],
)
def test_sizes(value: Any, expected: int) -> None:
    assert parse_size(value) == expected


@pytest.mark.parametrize("value", ["", "MB", "5XB", "-5MB", "1.5B", 1.5, True, None, float("inf"), "1e3", [5]])
def test_sizes_that_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^must be a"):
        parse_size(value)


@pytest.mark.parametrize(("value", "expected"), [("0.1%", 0.001), ("100 %", 1.0), (0.001, 0.001), (0, 0.0), (1, 1.0)])
def test_shares(value: Any, expected: float) -> None:
    assert parse_share(value) == expected


@pytest.mark.parametrize("value", ["0.1", "101%", "-1%", 5, -0.1, True, None, float("nan"), "%"])
def test_shares_that_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^must be a share"):
        parse_share(value)


# --- JSON Schema ------------------------------------------------------------------------------------------------------


def valid(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(document))


def test_the_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.dumps(json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "steps: []",
        "steps: [test.pipeline.words, {test.pipeline.words: {min_words: 9}, as: b}]",
        "steps: [test.pipeline.keep: {keep: [no]}]",
        "steps: [test.pipeline.words: ]\ninput:\nmax_quarantined: 0.1%\noutput: {shard_size: 256MB, path: out/}",
        "steps: [test.pipeline.listed: {list: a.txt, more: [b.txt]}]\ninput: {paths: a.csv}\nplugins: [a.py]",
    ],
)
def test_the_schema_accepts(text: str) -> None:
    assert valid(read_yaml(text, "p.yaml").root)


def test_the_schema_accepts_what_resolved_returns(tmp_path: Path) -> None:
    assert valid(everything(tmp_path).resolved())


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "steps: words",
        "steps: []\nnmae: x",
        "steps: []\ninput: {txt: x}",
        "steps: []\nmax_quarantined: 5",
        "steps: []\noutput: {shard_size: -1}",
        "steps: [test.pipeline.wrods]",
        "steps: [test.pipeline.keep]",
        "steps: [test.pipeline.keep: ]",
        "steps: [test.pipeline.words: {min_wrods: 1}]",
        "steps: [test.pipeline.words: {min_words: many}]",
        "steps: [test.pipeline.words: {unit: word}]",
        "steps: [test.pipeline.words: 5]",
        "steps: [{test.pipeline.words: {}, as: a b}]",
        "steps: [{test.pipeline.words: {}, as: input.x}]",
        "steps: [{test.pipeline.words: {}, test.pipeline.listed: {}}]",
    ],
)
def test_the_schema_refuses(text: str) -> None:
    assert not valid(read_yaml(text, "p.yaml").root)


def test_the_schema_has_titles_and_descriptions() -> None:
    options = json_schema()["$defs"]["filter.test.pipeline.words"]
    assert (options["title"], options["description"]) == (WORDS, "Drop short pages.")
    assert options["properties"]["min_words"]["description"] == "Fewest words that are kept."


# --- import -----------------------------------------------------------------------------------------------------------


def test_importing_pipelines_loads_no_heavy_library() -> None:
    code = (
        "import curate.pipeline, sys; print(*sorted({'polars', 'pyarrow', 'numpy', 'ruamel.yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
