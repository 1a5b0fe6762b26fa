"""Writes the parts of the documentation that follow from configs and from the models' figures.

    python -m docs.generate

writes docs/configs.md, and the tables between the marks `<!-- generated: NAME -->` and
`<!-- end -->` in README.md, checkpoints/README.md and docs/baselines.md. The figures are those of
checkpoints/*/evaluation.json: what `evaluate` measured, and beside it

    "seeds"      {seed: {measure: value}} of every seed that was trained
    "training"   {"hardware", "minutes", "scenes", "steps", "seed", "command"} of the shipped seed
    "published"  {"figure", "error", "source", "pixels"} of the same kind of model, and a "remark"
                 where that was trained on something else
    "note"       what a reader has to know to read the row

each of which may be missing.
"""

import inspect
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from iodine import config
from iodine.entries import ENTRIES

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "checkpoints/README.md", "docs/baselines.md")
# One model of each kind of scene, in the README.
BEST = (
    "tetrominoes_fast",
    "clevr6_fast",
    "multi_dsprites_fast",
    "objects_room_fast",
    "demo_fast",
    "slot_attention_tetrominoes_fast",
    "air",
)
# A model that stays further below its published figure was not trained to it.
LARGEST_GAP = 0.1

KINDS = {"SlotAttentionAutoEncoder": "Slot Attention", "RNNNEM": "RNN-NEM"}
SCENES = {
    "MultiDSprites": "Multi-dSprites",
    "ObjectsRoom": "Objects Room",
    "MultiMNIST": "Multi-MNIST",
}
VARIANTS = {
    "train": "three objects",
    "sequences": "moving",
    "standard": "up to two digits",
    "small": "up to two small digits",
    "textured": "a textured digit",
    "colored_on_grayscale": "coloured on grey",
    "binarized": "white on black",
    "binarized_few": "up to two, small, white on black",
}


class ShippedModel(NamedTuple):
    """A model in checkpoints/.

    Attributes:
      name: of its directory, and of its config.
      config: its config.
      figures: content of its evaluation.json.
    """

    name: str
    config: dict[str, Any]
    figures: dict[str, Any]

    @property
    def measure(self) -> str:
        """The measure that tells how good the model is."""
        return "count_accuracy" if "count_accuracy" in self.figures else "ari_nobg"

    def over_seeds(self, measure: str) -> tuple[float, float]:
        """Returns (mean, standard error): over seeds if there are several, else over scenes."""
        values = [s[measure] for s in self.figures.get("seeds", {}).values() if measure in s]
        if len(values) > 1:
            return statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5
        of_scenes = self.figures[measure]
        return of_scenes["mean"], of_scenes["stderr"]


def shipped_models(root: Path = ROOT) -> list[ShippedModel]:
    """Returns the shipped models, in the order of their names."""
    paths = sorted(root.glob("checkpoints/*/evaluation.json"))
    return [
        ShippedModel(
            path.parent.name, config.get_config(path.parent.name), json.loads(path.read_text())
        )
        for path in paths
    ]


def generate(out: Path = ROOT, root: Path = ROOT) -> list[Path]:
    """Writes all that is generated.

    Args:
      out: directory that the files are written to, under the paths that they have in the project.
      root: directory of the project, whose pages and models are read.

    Returns:
      Paths of the files.
    """
    models = shipped_models(root)
    blocks = {"best": _best(models), "ledger": _ledger(models), "baselines": _baselines(models)}
    pages = {page: _with_blocks((root / page).read_text(), blocks) for page in PAGES}
    pages["docs/configs.md"] = _configs_page()
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [out / name for name in pages]


def _with_blocks(text: str, blocks: dict[str, str]) -> str:
    """Returns a page with what stands between its marks replaced."""
    return re.sub(
        r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{blocks[match[2]]}{match[3]}",
        text,
        flags=re.DOTALL,
    )


# ---------------------------------------------------------------- words


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _kind(values: dict[str, Any]) -> str:
    name = values["model"]["constructor"].rpartition(".")[2]
    return KINDS.get(name, name)


def _scenes(values: dict[str, Any]) -> str:
    """Returns what scenes a config is about."""
    data = values["data"]
    name = data["constructor"].rpartition(".")[2]
    words = [SCENES.get(name, name)]
    if data.get("max_num_objects"):
        words.append(f"{data['min_num_objects']} to {data['max_num_objects']} objects")
    if data.get("grayscale"):
        words.append("grey")
    variant = values["dataset_variant"] or data.get("dataset_variant")
    if variant:
        words.append(VARIANTS.get(variant, variant))
    if data.get("num_frames"):
        words.append(f"{data['num_frames']} frames")
    return ", ".join(words)


def _size(image_dim: list[int] | None) -> str:
    return "×".join(map(str, image_dim)) if image_dim else "–"


def _figure(mean: float, error: float | None = None) -> str:
    if error is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {error:.3f}" if error >= 0.0005 else f"{mean:.3f} ± {error:.1g}"


def _quality(model: ShippedModel) -> str:
    text = _figure(*model.over_seeds(model.measure))
    return f"{text} (count accuracy)" if model.measure == "count_accuracy" else text


def _published(model: ShippedModel) -> str:
    """Returns the published figure, where it is one of scenes of the same size."""
    published = model.figures.get("published")
    if not published:
        return "–"
    text, remarks = _figure(published["figure"], published.get("error")), []
    if published.get("remark"):
        remarks.append(published["remark"])
    if published.get("pixels", model.config["image_dim"]) != list(model.config["image_dim"]):
        text = "–"
        remarks.append(f"published at {_size(published['pixels'])}")
    elif model.over_seeds(model.measure)[0] < published["figure"] - LARGEST_GAP:
        remarks.append("not trained to its published figure")
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def _count(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.3g} million"
    return f"{number / 1e3:.0f} thousand"


def _minutes(minutes: float) -> str:
    if minutes < 2:
        return f"{60 * minutes:.0f} seconds"
    if minutes >= 120:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes:.3g} minutes"


def _training(model: ShippedModel) -> str:
    training = model.figures.get("training")
    return f"{_minutes(training['minutes'])}, {training['hardware']}" if training else "–"


def _link(model: ShippedModel, to_checkpoints: str) -> str:
    return f"[`{model.name}`]({to_checkpoints}{model.name}/README.md)"


def _measures(model: ShippedModel) -> list[str]:
    """Returns the cells of seeds, quality, ARI, mean IoU and squared error."""
    digits = {"ari": 3, "miou_nobg": 3, "mse": 4}
    return [
        str(len(model.figures.get("seeds", {})) or 1),
        _quality(model),
        *(f"{model.over_seeds(name)[0]:.{n}f}" for name, n in digits.items()),
    ]


# ---------------------------------------------------------------- tables of models


def _best(models: list[ShippedModel]) -> str:
    by_name = {model.name: model for model in models}
    rows = [
        [
            _link(model, "checkpoints/"),
            f"{_scenes(model.config)}, {_size(model.config['image_dim'])}",
            _quality(model),
            _published(model),
            _training(model),
        ]
        for model in (by_name[name] for name in BEST if name in by_name)
    ]
    return _table(["model", "scenes", "foreground ARI", "published", "trained in"], rows)


def _ledger(models: list[ShippedModel]) -> str:
    header = ["model", "kind", "scenes", "size", "trained in", "scenes seen", "seeds"]
    header += ["foreground ARI", "ARI", "mIoU of objects", "MSE", "published"]
    rows = []
    for model in models:
        training = model.figures.get("training")
        rows.append(
            [
                _link(model, ""),
                _kind(model.config),
                _scenes(model.config),
                _size(model.config["image_dim"]),
                _training(model),
                _count(training["scenes"]) if training else "–",
                *_measures(model),
                _published(model),
            ]
        )
    notes = [f"- `{m.name}`: {m.figures['note']}\n" for m in models if m.figures.get("note")]
    return _table(header, rows) + "\n" + "".join(notes)


def _baselines(models: list[ShippedModel]) -> str:
    """Returns a table for each kind of scene that a baseline was trained on, and each size."""
    groups = {}
    for model in models:
        key = (_scenes(model.config), _size(model.config["image_dim"]))
        groups.setdefault(key, []).append(model)
    compared = {
        scenes
        for (scenes, _), group in groups.items()
        if any(_kind(model.config) not in ("IODINE", "AIR") for model in group)
    }
    header = ["model", "trained in", "seeds", "foreground ARI", "ARI", "mIoU of objects", "MSE"]
    header += ["linear read-out", "published"]
    text = ""
    for (scenes, size), group in sorted(groups.items()):
        if scenes not in compared:
            continue
        rows = [
            [
                f"{_kind(m.config)}, {_link(m, '../checkpoints/')}",
                _training(m),
                *_measures(m),
                _read_out(m),
                _published(m),
            ]
            for m in group
        ]
        text += f"**{scenes}, {size}**\n\n{_table(header, rows)}\n"
        text += "".join(
            f"`{m.name}`: {m.figures['note']}\n\n" for m in group if "note" in m.figures
        )
    return text


def _read_out(model: ShippedModel) -> str:
    """Returns how well linear models of frozen slots tell factors, without those they do not."""
    found = model.figures.get("factor_regression", {})
    told = [f"{name} {value:.3f}" for name, value in found.items() if name != "orientation"]
    return ", ".join(told) or "–"


# ---------------------------------------------------------------- page of configs

CONFIGS_INTRO = """# Configs

This page lists every entry that can stand at the top of a config, and every named config.
`python -m docs.generate` writes it from `iodine/entries.py` and `iodine/configurations/`.
[Training](training.md#configs) explains how configs, words of the command line and stages combine.

```
python -m iodine.main print_config with clevr6 batch_size=8
```

prints a config as a run would use it.
"""


def _configs_page() -> str:
    entries = [
        [f"`{e.name}`", _code(e.default), "yes" if e.of_stage else "", e.help]
        for e in ENTRIES.values()
    ]
    header = ["config", "model", "scenes", "size", "K", "Z", "iterations", "batch"]
    configs = {name: config.get_config(name) for name in config.NAMED_CONFIGS}
    rows = [[f"[`{name}`](#{name})", *_summary(values)] for name, values in configs.items()]
    parts = [
        CONFIGS_INTRO,
        "## Entries\n",
        "A stage may change the entries that are marked. A named config has defaults of its own.\n",
        _table(["entry", "default", "stage", ""], entries),
        "## Named configs\n",
        "K is the number of slots, the background's among them, and Z the number of latents of a "
        "slot.\nSize, iterations and batch are those that a trained model is looked at with.\n",
        _table(header, rows),
    ]
    for name, values in configs.items():
        parts += [f"### {name}\n", inspect.cleandoc(config.NAMED_CONFIGS[name].__doc__) + "\n"]
        if values["stages"]:
            parts.append(_stages(values["stages"]))
    return "\n".join(parts)


def _code(value: Any) -> str:
    return f"`{json.dumps(value)}`" if isinstance(value, (list, dict)) else f"`{value}`"


def _keys(plan: dict[str, Any]) -> Iterator[str]:
    for key, value in plan.items():
        yield key
        if isinstance(value, dict):
            yield from _keys(value)


def _summary(values: dict[str, Any]) -> list[str]:
    used = set(_keys(values["model"]))
    return [
        _kind(values),
        _scenes(values),
        _size(values["image_dim"]),
        str(values["num_components"]) if "num_components" in used else "–",
        str(values["n_z"]),
        str(values["num_iters"]) if used & {"num_iters", "num_iterations"} else "–",
        str(values["batch_size"]),
    ]


def _stages(stages: list[dict[str, Any]]) -> str:
    """Returns a table of a config's stages, with a column for each entry that one changes."""
    changed = [key for key in ENTRIES if any(key in stage for stage in stages)]
    rows = [
        [str(stage["until"]), *(_cell(stage[key]) if key in stage else "" for key in changed)]
        for stage in stages
    ]
    return _table(["until step", *(f"`{key}`" for key in changed)], rows)


def _cell(value: Any) -> str:
    return _size(value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    for path in generate():
        print(path.relative_to(ROOT))
