"""PyTorch's rate at the decoder of an exported step, for comparison on the same machine.

    python torch_convs.py ARTEFACT_DIR [--repeats N]

Runs the decoder's convolutions with their ELUs, forward and backward, in bfloat16 and in float32
(TF32 on a GPU that has it), channels last. A training step decodes num_iters + 1 times and does
more beside, so that images/s divided by num_iters + 1 bounds what training by plain PyTorch could
reach. Needs torch, and of the artefact step.json alone.
"""

import argparse
import json
import os
import sys
import time

import torch


def decoder(kernels):
    """Returns the decoder's stack for kernels [[k, k, channels in, channels out], ...]."""
    layers = []
    for k, _, n_in, n_out in kernels:
        layers += [torch.nn.Conv2d(n_in, n_out, k, padding=k // 2), torch.nn.ELU()]
    return torch.nn.Sequential(*layers[:-1])


def median_seconds(network, x, repeats):
    """Returns the median time of a forward and backward pass, in seconds."""
    synchronize = torch.cuda.synchronize if x.is_cuda else lambda: None
    seconds = []
    for _ in range(repeats + 2):  # two to warm up
        synchronize()
        start = time.perf_counter()
        y = network(x)
        torch.autograd.grad(y, [x, *network.parameters()], torch.ones_like(y))
        synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[2:])[repeats // 2]


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artefact", help="directory that export_step wrote")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    try:
        with open(os.path.join(args.artefact, "step.json")) as file:
            about = json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    kernels, num_slots = about["decoder_kernels"], about["num_slots"]
    height, width = about["images_shape"][-3:-1]
    multiply_adds = sum(k * k * n_in * n_out for k, _, n_in, n_out in kernels) * height * width
    flop = 3 * 2 * multiply_adds * num_slots  # forward, inputs' gradient, weights' gradient

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"{about['config']}, torch {torch.__version__} on {name}, forward and backward")
    for dtype in (torch.bfloat16, torch.float32):
        network = decoder(kernels).to(device, dtype, memory_format=torch.channels_last)
        x = torch.randn([num_slots, kernels[0][2], height, width], device=device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        seconds = median_seconds(network, x, args.repeats)
        images = about["batch_size"] / seconds
        label = "bf16" if dtype is torch.bfloat16 else "float32"
        print(f"{label:<8}{images:>10.1f} images/s{flop / seconds / 1e12:>10.3f} TFLOP/s")


if __name__ == "__main__":
    main()
