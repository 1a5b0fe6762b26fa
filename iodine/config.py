"""From words to configs: defaults, named configs, the user's words and stages, merged in one order.

Each line wins over those before it:

1. the defaults of `entries.ENTRIES`;
2. named configs and JSON files, in the order of the command line;
3. the user's words, `kl_weight=0.5`;
4. in training, the differences of a stage;
5. the named config then makes the plans `data`, `model` and `optimizer` of these entries;
6. parts of plans, `model.n_z=8`, those of files first and the user's last.

A part that names another constructor than the one in its place replaces it as a whole; of its old
arguments stay those that bear the name of an entry and that the new constructor takes.

A trained model is looked at as its checkpoint remembers it: the record's entries and plans take the
place of 1 and 2, but for the number of refinements, which the named config decides.
"""

import copy
import importlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from iodine.build import arguments_of
from iodine.configurations.named_config import NAMED_CONFIGS, evaluate_entries
from iodine.entries import ENTRIES, PLANS, defaults
from iodine.errors import UserError, as_whole_number, did_you_mean
from iodine.train.stages import Stage, override_stages, plan_stages

importlib.import_module("iodine.configurations")  # where the named configs register themselves


class Resolution(NamedTuple):
    """What a command's words come to.

    Attributes:
      config: the config without any stage's differences, or of the model to look at.
      stages: list of (`Stage`, its config), at least one.
      unchanged: the config without the user's words.
      notes: lines for the user, of words that count in no stage or in some, and of settings that
        differ from those of the checkpoint.
    """

    config: dict
    stages: list[tuple[Stage, dict]]
    unchanged: dict
    notes: list[str]


def get_config(named_config: str, updates: Mapping[str, Any] | None = None) -> dict:
    """Returns the config of a named one.

    Args:
      named_config: its name.
      updates: {dotted key: value}, as on the command line.

    Raises:
      UserError: if there is no such config, or an entry that it does not know.
    """
    return resolve([named_config], updates).config


def resolve(
    names: Iterable[str],
    updates: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    scopes: Mapping[str, Any] | None = None,
) -> Resolution:
    """Resolves a command's words, once and for all its stages.

    Args:
      names: of named configs and JSON files, in their order.
      updates: {dotted key: value} or nested dict, the user's words.
      record: what the checkpoint to look at remembers, if the command looks at one.
      scopes: {name: Sacred's config scope}, named configs of the user's own.

    Returns:
      `Resolution`.

    Raises:
      UserError: if a name or an entry is unknown, a value is invalid, or a part of a plan hides a
        stage's difference.
    """
    layers = [_layer(name, scopes or {}) for name in names]
    words = _checked(_nested(updates or {}), "")
    _refuse_foreign_entries(layers, words)
    if record and "config" in record:
        return _looked_at(record, layers, words)
    unchanged = _with_plans(*_merge(layers))
    entries, parts = _merge([*layers, words])
    config = _with_plans(entries, parts)
    stages = []
    planned = plan_stages(config)
    for stage in planned:
        of_stage = entries
        if config["stages"]:
            place = f"stages: stage {stage.number}: "
            differences = {k: ENTRIES[k].check(v, place) for k, v in stage.differences.items()}
            of_stage = {**entries, **differences}
        stages.append((stage, _with_plans(of_stage, parts)))
    notes = _without_effect(entries, words, unchanged)
    if config["stages"]:
        notes += _unheard(words, planned)
        _refuse_hidden_differences(entries, parts, config, planned)
    return Resolution(config, stages, unchanged, notes)


def differing(first: Mapping, second: Mapping, prefix: str = "") -> dict[str, tuple]:
    """Returns {dotted key: (value in the first, in the second)} of the leaves that differ."""
    found: dict[str, tuple] = {}
    for key in dict.fromkeys((*first, *second)):
        a, b, path = first.get(key), second.get(key), f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= differing(a, b, f"{path}.")
        elif _plain(a) != _plain(b):
            found[path] = (a, b)
    return found


def _plain(value):
    """A value as JSON has it, where a tuple is a list."""
    return json.loads(json.dumps(value, default=str))


# ---------------------------------------------------------------- layers


def _layer(name, scopes):
    """Returns the entries of a named config, a JSON file or one of Sacred's config scopes."""
    if name in NAMED_CONFIGS:
        named = NAMED_CONFIGS[name]
        return {"named_config": name, **named.entries}
    if name in scopes:
        return _checked(_nested(dict(scopes[name]())), f"{name}: ", of_user=False)
    if not os.path.isfile(name):
        if "." in name:
            raise UserError(f"the config file {name} is not there")
        raise UserError(
            f"there is no config '{name}'{did_you_mean(name, NAMED_CONFIGS)} "
            f"(a JSON file, or one of {', '.join(NAMED_CONFIGS)})"
        )
    try:
        with open(name, encoding="utf-8") as file:
            content = json.load(file)
    except (ValueError, OSError) as error:
        raise UserError(f"the config file {name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"the config file {name} holds no entries, but {content!r}")
    return _checked(_nested(content), f"{name}: ", of_user=False)


def _nested(updates):
    """Returns updates with dotted keys as nested dicts."""
    nested = {}
    for key, value in updates.items():
        *outer, last = str(key).split(".")
        place = nested
        for part in outer:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UserError(f"{key}: {part} has no entries of its own, give it as a whole")
        is_group = isinstance(value, Mapping)
        if is_group and isinstance(place.get(last), dict):
            place[last] |= _nested(value)
        else:
            place[last] = _nested(value) if is_group else value
    return nested


def _checked(layer, place, of_user=True):
    """Returns a layer as its entries take it; raises UserError for the first that does not fit."""
    checked = {}
    for key, value in layer.items():
        if key not in ENTRIES:
            raise UserError(f"{place}unknown config entry '{key}'{did_you_mean(key, ENTRIES)}")
        if key == "allow_constructors" and not of_user:
            raise UserError(f"{place}allow_constructors is for the command line alone")
        if key in PLANS:
            if not isinstance(value, dict):
                raise UserError(f"{place}{key} has to be a plan, not {value!r}")
            checked[key] = value
            continue
        if isinstance(value, dict) and key != "stages":
            raise UserError(f"{place}{key} has no entries of its own, give it as a whole")
        checked[key] = ENTRIES[key].check(value, place)
    return checked


def _refuse_foreign_entries(layers, words):
    """Raises UserError for an entry that the named config has no value for."""
    named = [layer for layer in layers if "named_config" in layer]
    for layer in [*layers, words] if named else []:
        for key in layer:
            if ENTRIES[key].of_config and not any(key in config for config in named):
                raise UserError(f"{key} means nothing to this config, which has no such value")


def _merge(layers):
    """Merges layers.

    Returns:
      (entries at the top, some of them functions of others; list of parts of plans).
    """
    entries, parts = defaults(), []
    for layer in layers:
        for key, value in layer.items():
            if key in PLANS:
                parts.append({key: value})
            elif key == "stages" and isinstance(value, dict):
                entries[key] = override_stages(entries[key], value)
            else:
                entries[key] = value
    return entries, parts


# ---------------------------------------------------------------- plans


def _with_plans(entries, parts):
    """Returns the config: the entries, and their plans with the parts in them."""
    values = evaluate_entries({k: v for k, v in entries.items() if k not in PLANS})
    name, plans = values["named_config"], dict.fromkeys(PLANS, {})
    if name is not None:
        if name not in NAMED_CONFIGS:
            meant = did_you_mean(name, NAMED_CONFIGS)
            raise UserError(f"named_config={name}: there is no config of this name{meant}")
        plans = copy.deepcopy(NAMED_CONFIGS[name].plans(values))
    return {**values, **_with_parts(plans, parts, values)}


def _with_parts(plans, parts, values):
    """Returns plans with parts laid over them, and what every model that declares it is given."""
    allowed = values["allow_constructors"]
    for part in parts:
        plans = {**plans, **{k: _overlay(plans[k], v, k, allowed) for k, v in part.items()}}
    if plans["model"]:
        plans["model"] = _with_options(plans["model"], values)
    return plans


def _with_options(model, values):
    """Returns a model's plan with precision and rematerialize, where the model declares them."""
    declared = arguments_of(model.get("constructor"), values["allow_constructors"])
    options = {}
    for key in ("precision", "rematerialize"):
        if declared is not None and key in declared:
            options[key] = values[key]
        elif declared is not None and values[key] != ENTRIES[key].default:
            name = str(model["constructor"]).rpartition(".")[2]
            raise UserError(
                f"{key}={values[key]}: {name} has no argument '{key}', leave it at "
                f"{ENTRIES[key].default}"
            )
    return {**options, **model}


def _overlay(plan, part, place, allowed):
    """Returns a plan, or what stands in one, with a part of it changed.

    Args:
      plan: what stands there.
      part: what the user gives for it.
      place: its dotted key, for messages.
      allowed: packages whose constructors may be named.
    """
    if not isinstance(part, Mapping):
        return _fitting(place, part, type(plan))
    if plan is None or (not isinstance(plan, Mapping) and "constructor" in part):
        plan = {}
    if not isinstance(plan, Mapping):
        raise UserError(f"{place} has no entries of its own, give it as a whole")
    constructor = part.get("constructor", plan.get("constructor"))
    if plan and constructor != plan.get("constructor"):
        taken = arguments_of(constructor, allowed)
        plan = {k: v for k, v in plan.items() if k in ENTRIES and (taken is None or k in taken)}
    return {
        **plan,
        **{k: _overlay(plan.get(k), v, f"{place}.{k}", allowed) for k, v in part.items()},
    }


def _fitting(key, value, kind):
    """Returns a value as one of a type, refusing what cannot take the old value's place.

    None is always taken, a whole number for a float, and a list for a number, as networks take one
    a layer. A string's place may be taken by anything, since `iter_loss_weight` is one or a number.
    """
    if kind is int:
        value = as_whole_number(value)
    if key == "data.path":
        return ENTRIES["checkpoint_dir"]._replace(name=key).check(value)
    if value is None or kind in (str, type(None)) or isinstance(value, kind):
        fits = not (kind is int and isinstance(value, bool))
    elif kind is float:
        fits = isinstance(value, int)
    else:
        fits = isinstance(value, (list, tuple)) and kind in (int, list, tuple)
    if not fits:
        raise UserError(f"{key} has to be of type {kind.__name__}, not {value!r}")
    return value


# ---------------------------------------------------------------- stages


def _without_effect(entries, words, unchanged):
    """Returns a line for each of the user's words that no plan of the config is fed by."""
    notes, with_words = [], _with_plans(entries, [])
    for key, value in words.items():
        if key in PLANS or not ENTRIES[key].feeds or value == unchanged[key]:
            continue
        changed = differing(_with_plans({**entries, key: unchanged[key]}, []), with_words)
        if not any(name.partition(".")[0] in PLANS for name in changed):
            notes.append(f"{key}={value} changes nothing: no part of this config depends on it")
    return notes


def _unheard(words, stages):
    """Returns a line for each of the user's words that does not count in all stages."""
    notes = []
    for key, value in words.items():
        own = [str(stage.number) for stage in stages if key in stage.differences]
        if own:
            where = "no stage" if len(own) == len(stages) else "some stages alone"
            notes.append(
                f"{key}={value} counts in {where}: stage{'s' * (len(own) > 1)} {', '.join(own)} "
                f"of {stages[-1].count} set{'s' * (len(own) == 1)} another "
                f"(stages.{own[0]}.{key}=... changes it)"
            )
    return notes


def _refuse_hidden_differences(entries, parts, config, stages):
    """Raises UserError for a part of a plan that stands where a stage's difference goes."""
    given = [key for part in parts for key, _ in _leaves(part)]
    if not given:
        return
    before = _with_plans(entries, [])
    for stage in stages:
        for name, value in stage.differences.items():
            changed = differing(before, _with_plans({**entries, name: value}, []))
            for key in given:
                if key in changed:
                    raise UserError(
                        f"{key} would hide what stage {stage.number} says of {name}: set "
                        f"stages.{stage.number}.{name}, or stages=[] to train without stages"
                    )


def _leaves(nested, prefix=""):
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# ---------------------------------------------------------------- trained models


def _looked_at(record, layers, words):
    """Resolves the config that a trained model is looked at with.

    Args:
      record: of its checkpoint, with a config.
      layers: of the named configs that the user gave, perhaps none.
      words: the user's.
    """
    recorded = _plain(record["config"])
    name = recorded.get("named_config")
    notes = []
    given = [layer["named_config"] for layer in layers if "named_config" in layer]
    if given and name and given[-1] != name:
        notes.append(
            f"the checkpoint was trained with {name}, not {given[-1]}: it is shown as such"
        )
    elif given:
        name = given[-1]
    known = NAMED_CONFIGS.get(name)
    trained = {k: v for k, v in recorded.items() if k in ENTRIES and ENTRIES[k].feeds}
    own_layers = layers or ([_layer(name, {})] if known else [])
    entries, parts = _merge(own_layers)
    # Of the named config count what commands do, and the number of refinements to look with.
    num_iters = record.get("overridden", {}).get("num_iters", trained.get("num_iters"))
    if known and "num_iters" in known.entries:
        num_iters = known.entries["num_iters"]
    entries |= {k: v for k, v in trained.items() if k not in PLANS}
    entries |= {"named_config": name, "stages": [], "num_iters": num_iters}
    plans = {key: trained[key] for key in PLANS}
    unchanged = _of_record(plans, trained, entries, parts if given else [], known)
    changed, word_parts = _merge_words(entries, words)
    word_parts = [*(parts if given else []), *word_parts]
    config = _of_record(plans, trained, changed, word_parts, known)
    for key, (value, before) in differing(config, unchanged).items():
        if key.split(".")[0] in words and (key in PLANS or ENTRIES[key.split(".")[0]].feeds):
            notes.append(f"{key}={value} differs from the checkpoint's {before}")
    return Resolution(config, [], unchanged, notes)


def _merge_words(entries, words):
    """Returns entries with the user's words at the top in them, and their parts of plans."""
    changed = dict(entries)
    parts = []
    for key, value in words.items():
        if key in PLANS:
            parts.append({key: value})
        elif ENTRIES[key].of_config and entries.get(key) is None:
            raise UserError(f"{key} means nothing to this config, which has no such value")
        else:
            changed[key] = value
    return changed, parts


def _of_record(plans, trained, entries, parts, known):
    """Returns the config of recorded plans with what entries and parts change in them.

    What an entry changes is found by making the named config's plans twice, with the entries of the
    training and with the new ones. So plans stay as recorded where the named config has changed.
    """
    values = evaluate_entries(entries)
    plans = copy.deepcopy(plans)
    fed = {k: v for k, v in values.items() if ENTRIES[k].feeds}
    if known:
        before = known.plans({**values, **{k: v for k, v in trained.items() if k not in PLANS}})
        for key, (_, value) in differing(before, known.plans(values)).items():
            _set(plans, key, value)
    else:
        changed = {k: v for k, v in fed.items() if k not in PLANS and v != trained.get(k)}
        for plan in plans.values():
            plan |= {k: changed[k] for k in changed.keys() & plan.keys()}
    plans["model"] |= {k: values[k] for k in ("precision", "rematerialize") if k in plans["model"]}
    return {**values, **_with_parts(plans, parts, values)}


def _set(plans, key, value):
    """Sets a leaf of nested dicts by its dotted key, where its place is there."""
    *outer, last = key.split(".")
    for part in outer:
        plans = plans.get(part)
        if not isinstance(plans, dict):
            return
    plans[last] = value
