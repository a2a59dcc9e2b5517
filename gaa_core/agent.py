"""The agent: a policy that gives credits to workers, its memory of a segment, and its exact policy gradient.

It knows nothing of training runs: it sees features, and is told how a little more credit would have changed the
losses that followed. Source: the reconstruction of GAA (Pan et al., USENIX Security 2020); what is ours is marked.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

#: The scale p of the two features of a number (reconstruction).
FEATURE_SCALE = 10.0

#: What is added to magnitudes before their logarithm (reconstruction).
_OFFSET = 1e-6

#: Numbers in one product: of the least, e^-FEATURE_SCALE, it is still a normal number of float32.
_FACTORS = 8

#: Products are taken of at least so many numbers; of fewer they cost more calls than they save logarithms.
_MANY = 2**15


def gradient_features(gradients: Tensor, p: float = FEATURE_SCALE, block: int = 1 << 18) -> Tensor:
    """The two features of each submission averaged over its coordinates: [n, d] -> [n, 2].

    A coordinate v gives (log(|v| + 1e-6) / p, sign v) where |v| > e^-p, and (-1, e^p v) elsewhere. The policy is
    linear, so the mean over coordinates may be taken before it. Columns are taken in cache-sized blocks.
    """
    threshold = math.exp(-p)
    columns = max(1, block // max(1, len(gradients)))
    totals = torch.zeros(len(gradients), 2, dtype=torch.float64, device=gradients.device)
    for part in gradients.split(columns, dim=1):
        # threshold and clamp are one quick pass each where comparing and choosing takes three slow ones
        room = part.abs()  # fresh memory for each of these would take half the time
        functional.threshold_(room, threshold, threshold - _OFFSET)  # log(threshold) = -p where small
        logarithms = _sums_of_logarithms(room.add_(_OFFSET))
        totals += torch.stack([logarithms, torch.clamp(part, -threshold, threshold, out=room).sum(dim=1)], dim=1)
    scales = totals.new_tensor([p, threshold])
    return (totals / scales / gradients.shape[1]).to(gradients.dtype)


def _sums_of_logarithms(values: Tensor) -> Tensor:
    """The sums [n] of the logarithms of positive numbers [n, w], none of them below e^-FEATURE_SCALE.

    A logarithm takes as long as twenty products, so that it is taken of products; where one overflows, of each number.
    """
    if values.numel() >= _MANY:
        whole = values.shape[1] // _FACTORS * _FACTORS
        products = values[:, :whole].unflatten(1, (_FACTORS, -1)).prod(dim=1)  # [n, w / _FACTORS]
        sums = products.log_().sum(dim=1) + values[:, whole:].log().sum(dim=1)
        if sums.isfinite().all():
            return sums
    return values.log().sum(dim=1)


#: Adam's usual constants (Kingma and Ba, 2015). Written out here, since torch.optim imports a compiler for seconds.
ADAM_DECAYS, ADAM_EPSILON = (0.9, 0.999), 1e-8


class Policy(nn.Module):
    """softmax(W x + b): mean features x of 3n + 2 numbers to credits on the simplex of n workers."""

    def __init__(self, n: int, generator: torch.Generator):
        super().__init__()
        inputs = 3 * n + 2
        bound = inputs**-0.5  # the usual initial scale of a linear layer
        self.weight = nn.Parameter((torch.rand(n, inputs, generator=generator) * 2 - 1) * bound)
        self.bias = nn.Parameter((torch.rand(n, generator=generator) * 2 - 1) * bound)

    def forward(self, features: Tensor) -> Tensor:
        return torch.softmax(self.weight @ features + self.bias, dim=0)  # [3n+2] -> [n]


class Agent:
    """Credits by a learned policy; learns by truncated back-propagation through segments of T updates.

    Call `act` once a step. After T steps call `learn` with the slopes of the segment's loss; it updates the policy by
    Adam and starts a new segment.
    """

    def __init__(self, n: int, *, lr: float, clamp: float, generator: torch.Generator):
        self.n = n
        self.clamp = clamp
        self.policy = Policy(n, generator)
        self.lr, self.updates = lr, 0
        self.moments: list[tuple[Tensor, Tensor]] = []  # of the gradient of each parameter, from the first update on
        self.previous = torch.full((n,), 1 / n)  # alpha_0 is uniform
        self.segment: list[tuple[Tensor, Tensor]] = []  # what the policy saw and the credits, for each step so far

    @torch.no_grad()
    def act(self, features: Tensor, parameter_mean: Tensor, qv_loss: Tensor, present: Tensor) -> Tensor:
        """Credits [n] from submission features [n, 2]; who is not `present` (bool [n]) gets 0 and the others share it.

        The previous credits are an input, and the gradient flows through that path within a segment.
        """
        state = torch.stack([parameter_mean.to(qv_loss), qv_loss])
        dtype = self.policy.weight.dtype  # the policy's own, whatever the submissions' is
        state = torch.nan_to_num(
            state.to(dtype), nan=1e6, posinf=1e6, neginf=-1e6
        )  # a diverged model must not destroy the policy
        inputs = torch.cat([features.reshape(-1).to(dtype), state, self.previous])
        credits = self.policy(inputs)
        if not present.all():
            credits = credits * present
            credits = credits / credits.sum().clamp_min(torch.finfo(credits.dtype).tiny)
        self.previous = credits
        self.segment.append((inputs, credits))
        return credits

    def gradients(self, slopes: Tensor) -> list[Tensor]:
        """Of the segment's loss with respect to the policy's weight and bias, from slopes [T, n] as `learn` has them.

        From the last step to the first: with logits z the slopes of credits c are c * (g - c @ g), where g is what the
        credits did to the loss themselves and, being an input, through the credits of the next step.
        """
        inputs, credits = (
            torch.stack(each).to(slopes) for each in zip(*self.segment, strict=True)
        )  # [T, 3n+2], [T, n]
        onward, later = self.policy.weight.detach()[:, -self.n :].to(slopes).cpu().numpy(), 0.0
        logits = []
        with np.errstate(all="ignore"):  # `learn` provides for numbers that are not finite
            for own, given in zip(slopes.flip(0).cpu().numpy(), credits.flip(0).cpu().numpy(), strict=True):
                total = own + later
                logits.append(given * (total - given @ total))
                later = logits[-1] @ onward
        found = torch.from_numpy(np.stack(logits[::-1])).to(slopes)  # [T, n]
        return [found.T @ inputs, found.sum(dim=0)]

    @torch.no_grad()
    def learn(self, slopes: Tensor) -> None:
        """One policy update from slopes [T, n]: d(sum of the losses after s)/d credits_s for each step s."""
        parameters = list(self.policy.parameters())
        self.moments = self.moments or [(torch.zeros_like(each), torch.zeros_like(each)) for each in parameters]
        self.updates += 1
        first, second = (1 - decay**self.updates for decay in ADAM_DECAYS)
        for parameter, gradient, (mean, square) in zip(parameters, self.gradients(slopes), self.moments, strict=True):
            gradient = torch.nan_to_num(gradient).clamp_(-self.clamp, self.clamp).to(parameter)
            mean.lerp_(gradient, 1 - ADAM_DECAYS[0])
            square.mul_(ADAM_DECAYS[1]).addcmul_(gradient, gradient, value=1 - ADAM_DECAYS[1])
            scale = (square.sqrt() / second**0.5).add_(ADAM_EPSILON)
            parameter.addcdiv_(mean, scale, value=-self.lr / first)
        self.segment = []


def sigmoid(odds: np.ndarray) -> np.ndarray:
    """Probabilities from log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * odds))


class EvidencePolicy:
    """Trust from a few log-odds a worker: their weighted sum, with the same weights for every worker (ours).

    Equivariant under renumbering. The weights are learned from the reward by the policy gradient, which is that of the
    shares p_i / sum_j p_j but for a positive factor, and drift back to where they began as far as it says nothing.
    """

    def __init__(self, weights: dict[str, float], lr: float, return_rate: float = 0.01):
        self.names = list(weights)
        self.prior = np.array(list(weights.values()))
        self.weights = self.prior.copy()
        self.lr, self.return_rate = lr, return_rate
        self.taken: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def logits(self, odds: dict[str, np.ndarray]) -> np.ndarray:
        """The weighted sum [n] of log-odds [n] by name."""
        return self.weights @ np.stack([odds[name] for name in self.names])

    def trust(self, odds: dict[str, np.ndarray]) -> np.ndarray:
        """[n] in [0, 1]: exactly 0 and 1 where there is little doubt."""
        return ((sigmoid(self.logits(odds)) - 0.1) / 0.8).clip(0, 1)

    def remember(self, odds: dict[str, np.ndarray], credits: np.ndarray, finite: np.ndarray) -> None:
        """What the credits [k] of this step were given for, and which of the n workers they went to."""
        self.taken = (np.stack([odds[name] for name in self.names]), credits, finite)

    def learn(self, slopes: np.ndarray, worth: float = 1.0) -> None:
        """One step of the weights from slopes [n]: how much faster f_B would have fallen for a little more credit.

        `worth` in [0, 1] says how far the slopes can be believed.
        """
        if self.taken is None:
            return
        odds, credits, finite = self.taken
        advantage = slopes[finite] - credits @ slopes[finite]
        advantage = advantage / max(np.abs(slopes).max(), 1e-12)
        trust = sigmoid(self.weights @ odds)
        gradient = odds @ (trust * (1 - trust) * advantage)
        change = self.lr * worth * gradient + self.return_rate * (self.prior - self.weights)
        self.weights = (self.weights + change).clip(0.0, 2.0)
        self.taken = None
