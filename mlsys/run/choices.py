"""The groups of the command line, their options and what each has: a mistake is answered with what there is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlsys.defaults import conf, options
from mlsys.errors import UserError

NO_KNOBS = ("name", "hydra")  # which a command line does not set, or few do


def check(words: Sequence[str]) -> None:
    """Raise UserError where one of the command line's `words` gives a group something else than an option's name."""
    if {"-m", "--multirun"} & set(words) and {"--cfg", "-c", "--info", "-i"} & set(words):
        raise UserError("-m does not go with --cfg and --info, which show one configuration: leave -m out")
    for override in _overrides(words):
        if not override.key_or_group:
            raise UserError(f"{override.input_line} names no option; --help lists them")
        for value in _values(override) if options(override.key_or_group) else ():
            if value is None or isinstance(value, (bool, int, float, list)) or str(value).startswith("_"):
                shown = "null" if value is None else str(value).lower().replace("'", "")
                raise UserError(_not_an_option(override.key_or_group, shown))


def without_bases(words: Sequence[str]) -> list[str]:
    """`words` where a `glob(*)` over a group leaves out what its options share, the files that begin with `_`."""
    return [_without_bases(word) for word in words]


def filled(words: Sequence[str]) -> list[str]:
    """`server.parameters={temperature: 0}` as `++server.parameters=…`: else Hydra fills no mapping that is empty."""
    return [f"++{word}" if _fills(word) else word for word in words]


def _fills(word: str) -> bool:
    name, _, value = word.partition("=")
    group, _, knob = name.partition(".")
    if not (knob and value.startswith("{")):
        return False
    found = (OmegaConf.load(conf() / group / f"{option}.yaml") for option in options(group))
    return any(isinstance(one, DictConfig) and one.get(knob) == {} for one in found)


def _without_bases(word: str) -> str:
    for override in _overrides([word]):
        swept: Any = override.value()
        if isinstance(swept, Glob) and options(override.key_or_group):
            include, exclude = ",".join(swept.include), ",".join([*swept.exclude, "_*"])
            return f"{word.partition('=')[0]}=glob([{include}],exclude=[{exclude}])"
    return word


def _not_an_option(group: str, shown: str) -> str:
    none = "" if "none" in options(group) or shown != "null" else "; null is no option: leave it out"
    return f"{group}={shown} is not an option; there are: {', '.join(options(group))}{none}"


def missing(name: str, words: Sequence[str]) -> str:
    """Why there is no option `name` (`data.x`) on a command line of `words`, and where there is one."""
    group, _, knob = name.partition(".")
    plain = f"there is no option {name}; --help lists the options"
    having = [option for option in options(group) if _has(group, option, name)] if knob else []
    if not having:
        return f"there is no option {name}; {beside}" if (beside := _beside(name, words)) else plain
    have = f"{', '.join(f'{group}={option}' for option in having)} {'has' if len(having) == 1 else 'have'}"
    try:
        chosen, swept = _chosen(group, words)
    except (HydraException, OmegaConfBaseException):
        return f"{plain}; {have} {knob}"
    if chosen in having and (fields := OmegaConf.select(_compose(f"{group}/{chosen}"), name)) is not None:
        return f"{name} has {', '.join(map(str, fields))} and nothing else"
    if swept:
        given = next((word for word in words if word.partition("=")[0] == name), f"{name}=…")
        return f"{group} is swept, and {group}={chosen}, from which the sweep starts, has no {knob}: write ++{given}"
    return f"{group}={chosen} has no {knob}; {have}"


def _beside(name: str, words: Sequence[str]) -> str:
    """What there is where `name` would be: what is written alike, else all of it. Empty where that is unknown."""
    parent, dot, knob = name.rpartition(".")
    try:
        whole = _unswept(words)
        node = OmegaConf.select(whole, parent) if dot else whole
    except (HydraException, OmegaConfBaseException):
        return ""
    if not isinstance(node, DictConfig):
        return ""
    there = [str(key) for key in node if str(key) not in NO_KNOBS and not str(key).startswith("_")]
    if alike := get_close_matches(knob, there):
        return f"did you mean {parent}{dot}{alike[0]}?"
    return f"{parent} has {', '.join(there)}" if dot and there else ""


def check_preset(chosen: Mapping[str, str | None]) -> None:
    """Raise UserError where the preset among the options `chosen` sets a knob that another of them does not have."""
    preset = chosen.get("experiment")
    path = conf() / "experiment" / f"{preset}.yaml"
    for key, knobs in OmegaConf.load(path).items() if preset and path.is_file() else ():
        group = str(key)
        option = chosen.get(group)
        if option is None or option not in options(group) or not isinstance(knobs, DictConfig):
            continue
        for knob in map(str, knobs):
            if not _has(group, option, f"{group}.{knob}"):
                text = f"experiment={preset} sets {group}.{knob}, which {group}={option} does not have: leave one out"
                own = (
                    f", or keep it in experiment/loadtest/{preset}-OPTION.yaml" if group == "loadtest" else ""
                )
                raise UserError(text + own)


def _has(group: str, option: str, name: str) -> bool:
    """Whether a configuration with `option` (`file` of `data`) has `name` (`data.x`)."""
    parent, _, knob = name.rpartition(".")
    try:
        node = OmegaConf.select(_compose(f"{group}/{option}"), parent)
    except (HydraException, OmegaConfBaseException):
        return False
    return isinstance(node, DictConfig) and knob in node


def _chosen(group: str, words: Sequence[str]) -> tuple[str, bool]:
    """The option of `group` that `words` come to before any sweep, and whether the group is swept."""
    config = _unswept(words)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    swept = any(one.is_sweep_override() for one in _overrides(words) if one.key_or_group == group)
    return str(config.hydra.runtime.choices[group]), swept or group in params


def _unswept(words: Sequence[str]) -> DictConfig:
    """What the options that `words` choose come to, without those that are swept."""
    given = [override for override in _overrides(words) if options(override.key_or_group)]
    return _compose(
        "config", *(str(override.input_line) for override in given if not override.is_sweep_override())
    )


def _compose(name: str, *overrides: str) -> DictConfig:
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with warnings.catch_warnings(), hydra.initialize_config_dir(str(conf()), version_base="1.3"):
            warnings.simplefilter(
                "ignore"
            )  # an option by itself: Hydra advises on the order of what is not there
            return hydra.compose(name, list(overrides), return_hydra_config=name == "config")
    finally:
        GlobalHydra.instance().hydra = running


def _overrides(words: Sequence[str]) -> Iterator[Override]:
    """Those of the words that are overrides. What does not parse is left for Hydra to refuse."""
    parser = OverridesParser.create()
    for word in words:
        if "=" in word and not word.startswith("-"):
            try:
                yield parser.parse_override(word)
            except HydraException:
                continue


def _values(override: Override) -> list[Any]:
    value = override.value()
    return list(value.list) if isinstance(value, ChoiceSweep) else [value]
