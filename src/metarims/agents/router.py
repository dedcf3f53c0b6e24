"""Which modules are active at a step: those that attend most to the input, or others, as controls."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from metarims.agents.attention import choose_top_k
from metarims.core_settings import RouterKind
from metarims.errors import invalid


@dataclass(frozen=True)
class Router:
    """Selects the active modules by their scores, which say how much each attends to the input."""

    num_modules: int
    num_active: int
    num_candidates: int
    """The candidates are so many modules with the highest scores; the active ones are drawn at random from them."""
    fixed: bool = False
    """The first modules are active, whatever the scores."""

    @property
    def draws(self) -> bool:
        """Whether it draws at random, and so needs random bits."""
        return self.num_candidates > self.num_active

    def with_active(self, num_active: int, *, drawn: bool) -> "Router":
        """The router with fewer active modules: of those that would be active the ones with the highest scores, or
        some that are drawn anew at each step. Where modules are drawn already, the former is a ``UserError``."""
        if self.draws and not drawn:
            raise invalid("drawn", drawn, "this core draws its active modules at random, fewer are so too; set it True")
        return replace(self, num_active=num_active, num_candidates=self.num_candidates if drawn else num_active)

    def with_kind(self, kind: RouterKind) -> "Router":
        """The router that selects in another way; ``UserError`` where that changes nothing."""
        changed = make_router(self.num_modules, self.num_active, kind)
        if self.num_active == self.num_modules or changed == self:
            every = self.num_active == self.num_modules
            why = "all modules of this agent are active" if every else "this agent selects its modules so"
            raise invalid("router", kind, f"{why} in any case; leave it out")
        return changed

    def select(
        self, scores: Float[Array, "M B"], random_bits: UInt32[Array, "B 2"] | None
    ) -> tuple[Bool[Array, "M B"], UInt32[Array, "B 2"] | None]:
        """The active modules, and the random bits of the next step."""
        if self.num_active == self.num_modules:
            return jnp.ones(scores.shape, bool), random_bits
        if self.fixed:
            scores = jnp.zeros_like(scores)  # Of equal ones the first win.
        if random_bits is None:
            return choose_top_k(scores, self.num_active), random_bits
        draws, random_bits = draw_uniform(random_bits, self.num_modules)
        if self.num_candidates < self.num_modules:
            draws = jnp.where(choose_top_k(scores, self.num_candidates), draws, -1.0)
        return choose_top_k(draws, self.num_active), random_bits


def make_router(num_modules: int, num_active: int, kind: RouterKind) -> Router:
    """The router of a kind (``RIMSettings.router``)."""
    num_active = num_modules if kind == "all" else num_active
    return Router(num_modules, num_active, num_modules if kind == "random" else num_active, kind == "fixed")


def draw_uniform(
    random_bits: UInt32[Array, "B 2"], num_modules: int
) -> tuple[Float[Array, "M B"], UInt32[Array, "B 2"]]:
    """A uniform number for every module of every environment, and the random bits of the next step."""

    def draw(bits):
        key, key_draw = jax.random.split(jax.random.wrap_key_data(bits))
        return jax.random.uniform(key_draw, (num_modules,)), jax.random.key_data(key)

    return jax.vmap(draw, out_axes=(-1, 0))(random_bits)
