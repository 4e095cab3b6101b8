"""The deep mixed model of Simulation I in PyTorch, as its users would write it: a module, a loader, a loop.

Run by `encoders.py` with a file of data; needs torch and numpy. The same decoder, encoder, prior of weights, bound,
rate and number of steps as the kit's, in torch's own float32.
"""

import json
import sys
import time

BEGIN = time.perf_counter(), time.process_time()

import numpy as np  # noqa: E402 - the clock starts before everything is imported

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("this half of the benchmark needs PyTorch: pip install torch")

EFFECTS = 3
RIDGE = 8.0
DRAWS = 200


class DeepMixedModel(nn.Module):
    """E y(t) = B(t)' (mean + b loadings + net(b)), b ~ N(0, I), and an encoder of full covariance."""

    def __init__(self, basis, y):
        super().__init__()
        rows, size = basis.shape
        self.register_buffer("basis", basis)
        self.register_buffer("centre", y.mean(0))
        self.register_buffer("spread", (y - y.mean(0)).std())
        self.mean = nn.Parameter(torch.zeros(size))
        self.loadings = nn.Parameter(0.3 * torch.randn(EFFECTS, size))
        self.net = nn.Sequential(nn.Linear(EFFECTS, 16), nn.Tanh(), nn.Linear(16, size))
        self.log_sigma = nn.Parameter(torch.zeros(()))
        outputs = 2 * EFFECTS + EFFECTS * (EFFECTS - 1) // 2
        self.encoder = nn.Sequential(
            nn.Linear(2 * rows, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
        )
        self.line = nn.Linear(rows, EFFECTS, bias=False)
        nn.init.zeros_(self.line.weight)
        for net in (self.net, self.encoder):
            nn.init.normal_(net[-1].weight, std=0.1 / net[-1].in_features ** 0.5)
            nn.init.zeros_(net[-1].bias)

    def encode(self, y):
        seen = torch.isfinite(y)
        z = torch.where(seen, (y - self.centre) / self.spread, torch.zeros_like(y))
        out = self.encoder(torch.cat([z, seen.to(y.dtype)], 1))
        mean = out[:, :EFFECTS] + self.line(z)
        lower = torch.diag_embed(torch.exp(out[:, EFFECTS : 2 * EFFECTS]))
        below = torch.tril_indices(EFFECTS, EFFECTS, -1)
        lower[:, below[0], below[1]] = out[:, 2 * EFFECTS :]
        return torch.distributions.MultivariateNormal(mean, scale_tril=lower)

    def bound(self, y, draws=1):
        q = self.encode(y)
        prior = torch.distributions.MultivariateNormal(torch.zeros(EFFECTS), torch.eye(EFFECTS))
        b = q.rsample((draws,))
        curve = (self.mean + b @ self.loadings + self.net(b)) @ self.basis.T
        law = torch.distributions.Normal(curve, torch.exp(self.log_sigma))
        log_p = torch.where(torch.isfinite(y), law.log_prob(torch.nan_to_num(y)), torch.zeros_like(y)).sum(-1)
        return log_p.mean(0) - torch.distributions.kl_divergence(q, prior)


def fitted(y, basis, steps, batch, rate, seed):
    """The bound per person of a trained model."""
    torch.manual_seed(seed)
    data = torch.tensor(y, dtype=torch.float32)
    model = DeepMixedModel(torch.tensor(basis, dtype=torch.float32), data)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=batch, shuffle=True)
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    done = 0
    while done < steps:
        for (part,) in loader:
            ridge = RIDGE * sum((weight**2).sum() for weight in model.net.parameters())
            loss = -(model.bound(part).mean() * len(data)) + ridge
            adam.zero_grad()
            loss.backward()
            adam.step()
            cosine.step()
            done += 1
            if done == steps:
                break
    with torch.no_grad():
        return float(model.bound(data, DRAWS).mean())


def since(begin):
    return [time.perf_counter() - begin[0], time.process_time() - begin[1]]


def main():
    path, steps, batch, rate = sys.argv[1:]
    data = np.load(path)
    options = (data["basis"], int(steps), int(batch), float(rate))
    first = fitted(data["first"], *options, seed=1)
    told = {"new process to result": since(BEGIN)}
    begin = time.perf_counter(), time.process_time()
    second = fitted(data["second"], *options, seed=2)
    told["a second fit of the same shape"] = since(begin)
    told["bound"] = [first, second]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
