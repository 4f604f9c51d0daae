"""YAML as people write it: no key twice, and no number or date where nobody meant one.

PyYAML follows YAML 1.1, where 5e-4 is text, 010 is eight, 1:30 is ninety and 2024-01-01 is a date. Here 5e-4 is a
number, as in YAML 1.2, and the other three, which people mean in more than one way, are text. 1_000 is a thousand.
"""

import re
from typing import Any, ClassVar

import yaml

_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    "int": r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$",
    "float": r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
}


class YamlError(Exception):
    """A text that cannot be read; the message names the line of it and what is wrong, in one line."""


class OneKey:
    """A loader that refuses a key that comes twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for at, key in enumerate(keys):
            if key.value in [other.value for other in keys[:at]]:
                problem = f"{key.value!r} comes twice; remove one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


class Values(OneKey, yaml.SafeLoader):
    """Numbers, truth values, texts, lists and mappings."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, form) for tag, form in resolvers if tag.removeprefix(_TAG) not in (*_NUMBERS, "timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, _form in _NUMBERS.items():
    Values.add_implicit_resolver(_TAG + _kind, re.compile(_form), list("-+.0123456789"))


def load(text: str, loader: type = Values) -> Any:
    """What a text holds. loader: one that makes plain values alone (Values, yaml.BaseLoader). Raises YamlError."""
    try:
        return loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        advice = "; write blanks in place of tabs" if r"'\t'" in str(error.problem) else ""
        raise YamlError(f"{line}{error.problem}{advice}") from None
    except RecursionError:
        raise YamlError("its brackets are nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # a sign that cannot be in a text; a number of thousands of digits
        raise YamlError(" ".join(str(error).replace('in "<unicode string>", ', "").split())) from None
