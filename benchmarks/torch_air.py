"""A plain PyTorch AIR with REINFORCE, for the speed of training: `python torch_air.py`.

The sizes, the likelihood and the optimizers of config `air` with model.estimator=reinforce, written
as one would in PyTorch: `LSTMCell`, `affine_grid` and `grid_sample`. Trains on random pictures, as
speed does not depend on them, and prints one line: the median milliseconds of a step. Needs torch
alone.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn

STEPS, SIZE, PATCH, PLACE, WHAT, LSTM, HIDDEN = 3, 50, 28, 3, 50, 256, 200
PRIOR_MEAN, PRIOR_STD = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.2, 1.0, 1.0])
START = torch.tensor([0.0, 3.0, 0.0, 0.0, -1.5, -1.05, -1.05])
PRESENCE_PRIOR = torch.tensor(0.01)
PIXEL_STD = 0.3


def mlp(num_in, num_out):
    """One hidden layer of ReLUs."""
    return nn.Sequential(nn.Linear(num_in, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_out))


def normal_kl(mean, std, prior_mean, prior_std):
    """KL divergence of independent normal variables, [B, D] -> [B]."""
    ratio = (std / prior_std) ** 2
    return 0.5 * (ratio + ((mean - prior_mean) / prior_std) ** 2 - 1 - ratio.log()).sum(-1)


def transform(picture, scale, x, y, size):
    """Samples pictures [B, H, W] to [B, size, size] at scale·u + (x, y)."""
    zero = torch.zeros_like(scale)
    matrix = torch.stack([scale, zero, x, zero, scale, y], dim=-1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, [len(picture), 1, size, size], align_corners=False)
    return F.grid_sample(picture[:, None], grid, align_corners=False)[:, 0]


class Air(nn.Module):
    """The model; calling it gives (surrogate loss, squared error of the baseline), both []."""

    def __init__(self):
        super().__init__()
        num_in = SIZE * SIZE + 1 + PLACE + WHAT
        self.lstm, self.head = nn.LSTMCell(num_in, LSTM), mlp(LSTM, 7)
        self.encoder, self.decoder = mlp(PATCH * PATCH, 2 * WHAT), mlp(WHAT, PATCH * PATCH)
        self.baseline_lstm, self.baseline_head = nn.LSTMCell(num_in, LSTM), mlp(LSTM, 1)

    def forward(self, image):
        """Infers and draws the objects of pictures [B, 50, 50]."""
        batch_size = len(image)
        flat = image.flatten(1)
        last = torch.zeros(batch_size, 1 + PLACE + WHAT)
        state = baseline_state = None
        present, canvas = torch.ones(batch_size), torch.zeros_like(image)
        kls, kls_of_presence, log_probs, reached, baselines = [], [], [], [], []
        for _ in range(STEPS):
            inputs = torch.cat([flat, last], dim=-1)
            state = self.lstm(inputs, state)
            logit, mean, std = (self.head(state[0]) + START).split([1, PLACE, PLACE], dim=-1)
            baseline_state = self.baseline_lstm(inputs.detach(), baseline_state)
            baselines.append(self.baseline_head(baseline_state[0])[:, 0])
            p = torch.sigmoid(logit[:, 0]).clamp(1e-6, 1 - 1e-6)
            drawn = torch.bernoulli(p.detach())
            log_probs.append(drawn * p.log() + (1 - drawn) * (1 - p).log())
            kl_of_presence = p * (p / PRESENCE_PRIOR).log()
            kl_of_presence += (1 - p) * ((1 - p) / (1 - PRESENCE_PRIOR)).log()
            kls_of_presence.append(present * kl_of_presence)
            reached.append(present)
            present = present * drawn
            std = F.softplus(std)
            place = mean + std * torch.randn_like(std)
            scale, x, y = place.unbind(-1)
            kl = normal_kl(mean, std, PRIOR_MEAN, PRIOR_STD)
            attended = transform(image, 1 / scale, -x / scale, -y / scale, PATCH)
            mean, std = self.encoder(attended.flatten(1)).chunk(2, dim=-1)
            std = F.softplus(std)
            what = mean + std * torch.randn_like(std)
            kls.append(present * (kl + normal_kl(mean, std, 0.0, 1.0)))
            patch = torch.sigmoid(self.decoder(what) - 2).view(-1, PATCH, PATCH)
            canvas = canvas + present[:, None, None] * transform(patch, scale, x, y, SIZE)
            last = torch.cat([present[:, None], place, what], dim=-1)
        log_likelihood = torch.distributions.Normal(canvas, PIXEL_STD).log_prob(image).sum([1, 2])
        kl, kl_of_presence = torch.stack(kls, dim=1), torch.stack(kls_of_presence, dim=1)
        elbo = log_likelihood - kl.sum(1) - kl_of_presence.sum(1)
        rest = (kl + kl_of_presence).flip(1).cumsum(1).flip(1) - kl_of_presence
        cost = (rest - log_likelihood[:, None]).detach()
        reached, baseline = torch.stack(reached, dim=1), torch.stack(baselines, dim=1)
        score = (reached * (cost - baseline.detach()) * torch.stack(log_probs, dim=1)).sum(1)
        error = (reached * (cost - baseline) ** 2).sum(1)
        return (score - elbo).mean(), error.mean()


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = Air()
    baseline = [p for name, p in model.named_parameters() if name.startswith("baseline")]
    rest = [p for name, p in model.named_parameters() if not name.startswith("baseline")]
    groups = [{"params": rest}, {"params": baseline, "lr": 1e-3}]
    optimizer = torch.optim.Adam(groups, lr=1e-4)
    images = torch.rand(args.batch_size, SIZE, SIZE)
    seconds, processor_seconds = [], []
    for _ in range(args.steps + 5):  # five to warm up
        began, processor = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        loss, error = model(images)
        (loss + error).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
        processor_seconds.append(time.process_time() - processor)
    wall, processor = (
        1e3 * sorted(values[5:])[args.steps // 2] for values in (seconds, processor_seconds)
    )
    print(
        f"torch {torch.__version__}: {wall:.1f} ms a step, {processor:.1f} ms of processors' time"
    )


if __name__ == "__main__":
    main()
