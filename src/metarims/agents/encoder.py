"""The encoder: features of the picture and of the mission.

The picture is 7x7 tiles of 8x8 pixels and the first convolution has kernel and stride 8, so its output at a cell is a
function of that cell's tile alone. Of the 60 tiles that exist it is computed once per call, and tile codes then look
it up; pictures (Farama) go through the same weights. Both give the same features.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarims.agents.elements import Elements
from metarims.agents.fast_gradients import project, with_fast_gradient
from metarims.agents.layers import init_fan_in, lookup, step_gru
from metarims.config import Network
from metarims.gridworld.tiles import EMPTY, TILE_ATLAS, UNSEEN, WALL
from metarims.gridworld.types import TILE, VIEW, Observation, Pixels

PATCH = TILE * TILE * 3


class EmbeddingTables(NamedTuple):
    """Features of every tile and of every mission that can occur, computed once per call."""

    tiles: Float[Array, "60 C"]
    film: Float[Array, "num_missions C2"] | None
    """Scale and shift of the tiles' features, if missions modulate them."""
    missions: Float[Array, "num_missions D"] | None
    """The mission's part of the features (of a set: its embedding), if missions are used."""
    salience: Float[Array, " 60"] | None = None
    """Of a set: what is added to the scores of a cell with this tile."""


def _whiten_tiles(epsilon: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Mean [192] and whitening matrix [192, 192] of the tiles' pixels in [0, 1].

    Tiles differ in few pixels; without this, all of them look alike to a fresh convolution.
    """
    pixels = TILE_ATLAS.reshape(-1, PATCH).astype(np.float64) / 255
    mean = pixels.mean(axis=0)
    _, singular, basis = np.linalg.svd(pixels - mean, full_matrices=False)
    scale = 1 / np.sqrt(singular**2 / len(pixels) + epsilon)
    return mean.astype(np.float32), (basis.T * scale @ basis).astype(np.float32)


TILE_MEAN, TILE_WHITENING = _whiten_tiles()
WHITE_ATLAS = (TILE_ATLAS.reshape(-1, PATCH) / 255 - TILE_MEAN).astype(np.float32) @ TILE_WHITENING
"""The pixels of every tile, whitened: rows [60, 192]."""

INITIAL_SALIENCE = -4.0
"""Of cells that hold nothing: unseen ones, empty ones and walls. At 0 a query begins with the mean over 49 cells, of
which few hold an object."""


def _fit_salience() -> tuple[np.ndarray, float]:
    """The kernel [192] of least norm on whitened pixels, and the bias, that come closest to the initial salience.

    Pixels of the 60 tiles span 52 dimensions, so it is not exact: empty cells get half, and objects up to 0.7.
    """
    wanted = np.zeros(len(TILE_ATLAS))
    wanted[[UNSEEN, EMPTY, WALL]] = INITIAL_SALIENCE
    kernel = np.linalg.pinv(WHITE_ATLAS.astype(np.float64), rcond=1e-3) @ (wanted - wanted.mean())
    return kernel.astype(np.float32), float(wanted.mean())


SALIENCE_KERNEL, SALIENCE_BIAS = _fit_salience()


def _modulate_backward(residuals, gradient):
    tiles, scale, output = residuals
    gradient = jax.lax.optimization_barrier(jnp.where(output > 0, gradient, 0))
    scale_bar = jnp.einsum("...tc,...tc->...c", gradient, tiles)
    return gradient * (1 + scale[..., None, :]), scale_bar, gradient.sum(-2)


@with_fast_gradient(_modulate_backward)
def modulate(
    tiles: Float[Array, "*B 49 C"], scale: Float[Array, "*B C"], shift: Float[Array, "*B C"]
) -> tuple[Float[Array, "*B 49 C"], Any]:
    """FiLM and its rectifier: relu(tiles * (1 + scale) + shift).

    The fast gradient lets XLA compute its masked half once; left alone, XLA's CPU compiler repeats the matrix product
    before it for every sum (the encoder's backward pass then takes twice as long). The scale's gradient is an einsum,
    because a sum over a product's middle axis takes ten times as long there.
    """
    output = jax.nn.relu(tiles * (1 + scale[..., None, :]) + shift[..., None, :])
    return output, (tiles, scale, output)


def soft_rms_clip(x: Float[Array, "*B D"], limit: float) -> Float[Array, "*B D"]:
    """x with its root mean square r made r / sqrt(1 + (r / limit)^2): small ones stay, large ones near the limit."""
    return x * jax.lax.rsqrt(1 + ((x / limit) ** 2).mean(-1, keepdims=True))


class MissionEncoder(eqx.Module):
    """A GRU over word embeddings."""

    words: Float[Array, "V W"]
    from_input: Float[Array, "W H3"]
    from_hidden: Float[Array, "H H3"]
    bias: Float[Array, " H3"]

    def __init__(self, num_words: int, word_dim: int, dim: int, *, key: PRNGKeyArray):
        key_words, key_input, key_hidden = jax.random.split(key, 3)
        self.words = jax.random.normal(key_words, (num_words + 1, word_dim))
        self.from_input = init_fan_in(key_input, (word_dim, 3 * dim))
        self.from_hidden = init_fan_in(key_hidden, (dim, 3 * dim))
        self.bias = jnp.zeros(3 * dim)

    def __call__(self, tokens: Integer[Array, "num_missions L"]) -> Float[Array, "num_missions H"]:
        """The GRU's state after the last word of each mission; token 0 is padding and changes nothing."""
        inputs = project(lookup(self.words, tokens), self.from_input) + self.bias
        hidden = jnp.zeros((tokens.shape[0], self.from_hidden.shape[0]))

        def step(hidden, word):
            x, token = word
            new = step_gru(x, hidden @ self.from_hidden, hidden)
            return jnp.where(token[:, None] > 0, new, hidden), None

        return jax.lax.scan(step, hidden, (jnp.swapaxes(inputs, 0, 1), tokens.T))[0]


class MissionWeights(NamedTuple):
    """The part of an encoder that reads missions."""

    gru: MissionEncoder
    film: Float[Array, "H F2C"] | None
    from_mission: Float[Array, "H D"] | None
    bias: Float[Array, " D"] | None


def read_missions(
    weights: MissionWeights, tokens: Integer[Array, "num_missions L"]
) -> tuple[Float[Array, "num_missions F2C"] | None, Float[Array, "num_missions D"]]:
    """What missions give to the tables: ``EmbeddingTables.film`` and ``EmbeddingTables.missions``."""
    missions = weights.gru(tokens)
    if weights.from_mission is None or weights.bias is None:
        return None, missions
    film = None if weights.film is None else missions @ weights.film
    return film, missions @ weights.from_mission + weights.bias


class Salience(eqx.Module):
    """How much a cell attracts attention whatever is asked: a linear map of its whitened pixels."""

    kernel: Float[Array, " 192"]
    bias: Float[Array, ""]

    def __init__(self):
        self.kernel, self.bias = jnp.asarray(SALIENCE_KERNEL), jnp.asarray(SALIENCE_BIAS)

    def of_tiles(self) -> Float[Array, " 60"]:
        """Of every tile."""
        return jnp.asarray(WHITE_ATLAS) @ self.kernel + self.bias

    def of_patches(self, patches: Integer[Array, "*B 192"]) -> Float[Array, "*B"]:
        """The same of pictures of tiles."""
        return (patches / 255 - TILE_MEAN) @ (TILE_WHITENING @ self.kernel) + self.bias


class Encoder(eqx.Module):
    """Picture and mission to features: convolution 8x8 stride 8, FiLM by the mission, then one dense layer.

    For a core that reads a set there are only the convolution and the mission's encoder. FiLM (Perez et al., 2018;
    BabyAI 1.1 uses it too) lets "red" in the mission raise what is red in the picture. A ``mission_dim`` of 0 leaves
    missions out.
    """

    tile_kernel: Float[Array, "192 C"]
    tile_bias: Float[Array, " C"]
    mission: MissionEncoder | None
    film: Float[Array, "H F2C"] | None
    """Scale and shift of every FiLM layer."""
    mix: Float[Array, "F1 C C"] | None
    """1x1 convolutions between FiLM layers, if there are several."""
    mix_bias: Float[Array, "F1 C"] | None
    from_tiles: Float[Array, "C49 D"] | None
    from_mission: Float[Array, "H D"] | None
    bias: Float[Array, " D"] | None
    salience: Salience | None
    """Of a set."""
    feature_rms_limit: float = eqx.field(static=True)
    """Limit of the features' root mean square (0: none). Without one features may grow until the core's gates saturate
    and learning stalls (``docs/log.md``)."""

    def __init__(self, num_words: int, network: Network, *, key: PRNGKeyArray):
        key_tiles, key_mission, key_film, key_image, key_add = jax.random.split(key, 5)
        image_dim, mission_dim, feature_dim = network.image_dim, network.mission_dim, network.feature_dim
        scale, film_layers = network.mission_init_scale, network.film_layers
        # Whitened pixels of 60 tiles span 59 dimensions, not 192: that is the fan-in.
        self.tile_kernel = init_fan_in(key_tiles, (PATCH, image_dim), scale=(PATCH / len(TILE_ATLAS)) ** 0.5)
        self.tile_bias = jnp.zeros(image_dim)
        has_mission, is_vector = mission_dim > 0, network.input == "vector"
        has_film = has_mission and is_vector and network.fusion == "film"
        words = (num_words, network.word_dim, mission_dim)
        self.mission = MissionEncoder(*words, key=key_mission) if has_mission else None
        film_dim, mixes = 2 * film_layers * image_dim, (film_layers - 1, image_dim)
        self.film = init_fan_in(key_film, (mission_dim, film_dim), scale) if has_film else None
        mixes_tiles = has_film and film_layers > 1
        key_mix = jax.random.fold_in(key_film, 1)
        self.mix = init_fan_in(key_mix, (*mixes, image_dim), 2**0.5) if mixes_tiles else None
        self.mix_bias = jnp.zeros(mixes) if mixes_tiles else None
        self.from_tiles = init_fan_in(key_image, (VIEW * VIEW * image_dim, feature_dim)) if is_vector else None
        added = has_mission and is_vector
        self.from_mission = init_fan_in(key_add, (mission_dim, feature_dim), scale) if added else None
        self.bias = jnp.zeros(feature_dim) if is_vector else None
        self.salience = None if is_vector else Salience()
        self.feature_rms_limit = network.feature_rms_limit

    @property
    def lists_elements(self) -> bool:
        """Whether its output is a set."""
        return self.from_tiles is None

    def tables(self, mission_tokens: Integer[Array, "num_missions L"]) -> EmbeddingTables:
        """Features of all tiles and of the missions given as words, to be looked up by ``__call__``."""
        tiles = project(jnp.asarray(WHITE_ATLAS), self.tile_kernel) + self.tile_bias
        salience = None if self.salience is None else self.salience.of_tiles()
        if self.mission is None:
            return EmbeddingTables(tiles, None, None, salience)
        return EmbeddingTables(tiles, *read_missions(self.mission_weights(), mission_tokens), salience)

    def mission_weights(self) -> MissionWeights:
        """The weights with which missions are read."""
        assert self.mission is not None
        return MissionWeights(self.mission, self.film, self.from_mission, self.bias)

    def _convolve(self, patches: Integer[Array, "*B 192"]) -> Float[Array, "*B C"]:
        """The first convolution on one tile's pixels; whitening is folded into the kernel."""
        return (patches / 255 - TILE_MEAN) @ (TILE_WHITENING @ self.tile_kernel) + self.tile_bias

    def __call__(self, tables: EmbeddingTables, observation: Observation | Pixels) -> Float[Array, "*B D"] | Elements:
        """Features of a batch of observations, of either kind; or the set of their elements."""
        if self.from_tiles is None or self.bias is None:
            assert self.salience is not None
            return self._list_elements(tables, self.salience, observation)
        if isinstance(observation, Pixels):
            tiles = self._convolve(cut_patches(observation.image))
        else:
            tiles = lookup(tables.tiles, observation.codes)
            tiles = tiles.reshape(*tiles.shape[:-3], VIEW * VIEW, -1)
        if tables.film is None:
            tiles = jax.nn.relu(tiles)
        else:
            tiles = self._modulate(tiles, lookup(tables.film, observation.mission))
        image = project(tiles.reshape(*tiles.shape[:-2], -1), self.from_tiles)
        mission = self.bias if tables.missions is None else lookup(tables.missions, observation.mission)
        features = jax.nn.relu(image + mission)
        return soft_rms_clip(features, self.feature_rms_limit) if self.feature_rms_limit else features

    def _modulate(self, tiles: Float[Array, "*B 49 C"], film: Float[Array, "*B F2C"]) -> Float[Array, "*B 49 C"]:
        """All FiLM layers."""
        mixes = () if self.mix is None or self.mix_bias is None else zip(self.mix, self.mix_bias, strict=True)
        scales = jnp.split(film, film.shape[-1] // tiles.shape[-1], axis=-1)
        tiles = modulate(tiles, *scales[:2])
        for index, (mix, bias) in enumerate(mixes, start=1):
            tiles = modulate(project(tiles, mix) + bias, *scales[2 * index : 2 * index + 2])
        return tiles

    def _list_elements(
        self, tables: EmbeddingTables, salience: Salience, observation: Observation | Pixels
    ) -> Elements:
        mission = None if tables.missions is None else lookup(tables.missions, observation.mission)
        if isinstance(observation, Pixels):
            patches = cut_patches(observation.image)
            return Elements(self._convolve(patches), mission, salience.of_patches(patches))
        assert tables.salience is not None
        cells = observation.codes.reshape(*observation.codes.shape[:-2], VIEW * VIEW)
        return Elements(cells, mission, lookup(tables.salience[:, None], cells)[..., 0])


def cut_patches(image: Integer[Array, "*B 56 56 3"]) -> Integer[Array, "*B 49 192"]:
    """The picture's tiles as rows of pixels, in the order of tile codes: [x, y], where pictures are [row, column]."""
    rows = image.reshape(*image.shape[:-3], VIEW, TILE, VIEW, TILE, 3)
    tiles = jnp.moveaxis(rows, -3, -5)  # y row x column -> x y row column
    return tiles.reshape(*image.shape[:-3], VIEW * VIEW, PATCH)
