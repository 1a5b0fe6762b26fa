"""Time and memory of a training step against K, T, batch and image size.

`python -m benchmarks.scaling [CONFIG]` changes one of them at a time, each value in a process of
its own, and prints seconds a step and peak memory, also as ratios to the first value.
"""

from benchmarks.train_step import run_in_process
from iodine.main import get_config
from multi_object_datasets.arguments import Parser

BATCH_SIZE = 4
AXES = {
    "num_components": (2, 4, 8),
    "num_iters": (2, 4, 8),
    "batch_size": (2, 4, 8),
    "data.image_dim": ([32, 32], [48, 48], [64, 64]),
}


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="tetrominoes")
    parser.add_argument("--variant", default="default", help="of benchmarks.train_step")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each value")
    args = parser.parse_args()
    get_config(args.config)  # an unknown name fails here, before the table
    print(f"{args.config}, {args.variant}, batch {BATCH_SIZE} unless said otherwise")
    print("| changed | s/step | ratio | peak GB | ratio |\n| --- | --- | --- | --- | --- |")
    for key, values in AXES.items():
        first = None
        for value in values:
            batch_size = value if key == "batch_size" else BATCH_SIZE
            updates = {} if key == "batch_size" else {key: value}
            result = run_in_process(args.config, args.variant, batch_size, args.repeats, updates)
            first = first or result
            time_ratio = result["seconds"] / first["seconds"]
            memory_ratio = result["peak_gb"] / first["peak_gb"]
            print(
                f"| {key}={value} | {result['seconds']:.3f} | {time_ratio:.2f} "
                f"| {result['peak_gb']:.2f} | {memory_ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
