"""Label flip: honest arithmetic on wrong labels."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class LabelFlip(Attack):
    """The gradient of the worker's own batch with class c relabelled classes - 1 - c (Fang et al., USENIX Sec. 2020).

    The middle one of an odd number of classes stays. `classes=None` is the number of classes of the task, which the
    run tells.
    """

    source = "ours (the field's; Biggio et al. 2012, Fang et al. 2020)"

    classes: int | None = None
    _classes = None

    def informed(self, knowledge):
        return self.knowing(_classes=knowledge.classes)

    def poison(self, inputs, targets):
        classes = self.classes or self._classes
        if classes is None:
            raise GaaError("LabelFlip needs the number of classes: use it in run(...), or write LabelFlip(classes=10).")
        return inputs, classes - 1 - targets
