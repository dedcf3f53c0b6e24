"""Pictures and tile codes give the same features, and the mission is read as a sentence."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarims.agents.encoder import (
    PATCH,
    TILE_MEAN,
    TILE_WHITENING,
    Encoder,
    cut_patches,
    modulate,
)
from metarims.agents.fast_gradients import fast_gradients
from metarims.agents.layers import lookup
from metarims.config import Network
from metarims.gridworld import VOCABULARY, make
from metarims.gridworld import observation as obs
from metarims.gridworld.bridge import state_from_farama
from metarims.gridworld.farama import FaramaBatch
from metarims.gridworld.tiles import TILE_ATLAS
from metarims.gridworld.types import Observation, Pixels

pytestmark = pytest.mark.usefixtures("quick_module")

LEVEL = make("BabyAI-GoToLocal-v0")
TOKENS = jnp.asarray(LEVEL.mission_tokens)
NUM_WORDS = len(VOCABULARY)


def make_encoder(fusion="film", num_words=NUM_WORDS, feature_rms_limit=1.0, mission_dim=6):
    """A small encoder with random weights of the size of fresh ones, and random biases."""
    sizes = {"image_dim": 5, "word_dim": 4, "mission_dim": mission_dim, "feature_dim": 9, "film_layers": 2}
    network = Network(**sizes, fusion=fusion, feature_rms_limit=feature_rms_limit)
    encoder = jax.eval_shape(lambda key: Encoder(num_words, network, key=key), jax.random.key(0))
    draw = np.random.default_rng(0)

    def fill(leaf):
        scale = min(leaf.shape[0], len(TILE_ATLAS)) ** -0.5 if leaf.ndim == 2 else 0.3
        return jnp.asarray(draw.normal(0, scale, leaf.shape), jnp.float32)

    return jax.tree.map(fill, encoder)


@pytest.fixture(scope="module")
def encode():
    """Features of observations of either kind, given the words of the missions."""
    run = jax.jit(lambda encoder, tokens, observation: encoder(encoder.tables(tokens), observation))
    return lambda observation, tokens=TOKENS, fusion="film", feature_rms_limit=1.0: np.asarray(
        run(make_encoder(fusion, feature_rms_limit=feature_rms_limit), jnp.asarray(tokens), observation)
    )


@pytest.fixture(scope="module")
def views():
    """Random views in which each tile can occur: cells show 0..40, the agent's own cell 41..59."""
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 41, (400, 7, 7)).astype(np.uint8)
    codes[:, 3, 6] = draw.integers(41, 60, 400)
    mission = draw.integers(0, len(LEVEL.missions), 400).astype(np.int16)
    assert set(codes.flatten()) == set(range(60))
    return Observation(jnp.asarray(codes), jnp.zeros(400, jnp.int8), jnp.asarray(mission))


def test_small_features_stay_and_large_ones_keep_their_direction_below_the_limit(encode, views):
    raw = encode(views, feature_rms_limit=0.0)
    size = np.sqrt((raw**2).mean(-1))
    assert (size > 0.1).mean() > 0.9
    for limit, expected in ((1000.0, size), (0.01, np.where(size > 0.1, 0.01, np.nan))):
        features = encode(views, feature_rms_limit=limit)
        damped = np.sqrt((features**2).mean(-1))
        near = ~np.isnan(expected)
        np.testing.assert_allclose(damped[near], expected[near], rtol=5e-3)
        np.testing.assert_allclose(features / damped[:, None], raw / size[:, None], atol=1e-4)
        assert (damped < limit).all()


@pytest.mark.parametrize("fusion", ["film", "concat"])
def test_pictures_and_codes_give_the_same_features(encode, views, fusion):
    from_codes = encode(views, fusion=fusion, feature_rms_limit=0.0)
    from_pixels = encode(Pixels(obs.render(views.codes), views.mission), fusion=fusion, feature_rms_limit=0.0)
    np.testing.assert_allclose(from_pixels, from_codes, atol=1e-5)
    assert (from_codes > 0).mean() > 0.2, "features that are all zero agree too easily"
    assert len(np.unique(from_codes, axis=0)) == 400


def test_real_farama_frames_give_the_features_of_our_codes(encode):
    """Pixels drawn by minigrid itself, codes from the bridge; rooms, doors, keys, and objects in hand."""
    frames, codes, mission_tokens = [], [], []
    draw = np.random.default_rng(0)
    for env_id in ("BabyAI-GoToLocal-v0", "MiniGrid-DoorKey-6x6-v0"):
        batch, observe = FaramaBatch(env_id, 3), jax.jit(partial(obs.observe_codes, make(env_id).rules))
        pixels, _ = batch.reset([1, 2, 3])
        for _ in range(25):
            frames.append(pixels.image.copy())
            codes.append(np.stack([observe(state_from_farama(env)) for env in batch.envs]))
            mission_tokens.append(batch.mission_tokens.copy())
            pixels = batch.step(draw.integers(0, 6, 3)).pixels
    frames, codes, tokens = (np.concatenate(parts) for parts in (frames, codes, mission_tokens))
    count = len(frames)
    assert len(np.unique(codes)) > 15
    rows = jnp.arange(count, dtype=jnp.int16)
    from_pixels = encode(Pixels(jnp.asarray(frames), rows), tokens)
    from_codes = encode(Observation(jnp.asarray(codes), jnp.zeros(count, jnp.int8), rows), tokens)
    np.testing.assert_allclose(from_pixels, from_codes, atol=1e-5)


def test_the_first_layer_is_a_convolution_of_whitened_pixels(views):
    """Each cell's 8x8x3 pixels, row by row, times the kernel, laid out [x, y] as codes are."""
    encoder = make_encoder()
    image = np.asarray(obs.render(views.codes[:2]))
    patches = np.asarray(cut_patches(jnp.asarray(image)))
    tiles = np.asarray(encoder.tables(TOKENS).tiles)
    for x, y in ((0, 0), (2, 5), (6, 1)):
        patch = image[1, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].reshape(-1)
        np.testing.assert_array_equal(patches[1, 7 * x + y], patch)
        whitened = (np.float64(patch) / 255 - TILE_MEAN) @ np.float64(TILE_WHITENING)
        expected = whitened @ np.float64(encoder.tile_kernel) + np.float64(encoder.tile_bias)
        np.testing.assert_allclose(tiles[int(views.codes[1, x, y])], expected, atol=1e-4)


def test_whitened_tiles_are_told_apart_equally_well():
    """The distances of all pairs of tiles; unwhitened, the largest is 16 times the smallest."""

    def distances(tiles):
        apart = np.linalg.norm(tiles[:, None] - tiles[None], axis=-1)
        return apart[np.triu_indices(len(tiles), 1)]

    pixels = TILE_ATLAS.reshape(-1, PATCH) / 255
    before, after = distances(pixels), distances((pixels - TILE_MEAN) @ TILE_WHITENING)
    assert after.max() / after.min() < 5 < 15 < before.max() / before.min()


def test_lookup_has_the_gradient_of_indexing():
    draw = np.random.default_rng(0)
    table = jnp.asarray(draw.normal(size=(6, 3)), jnp.float32)
    rows = jnp.asarray(draw.integers(0, 5, (4, 7)))  # row 5 never occurs, others often
    weight = jnp.asarray(draw.normal(size=(4, 7, 3)), jnp.float32)
    with fast_gradients():
        ours = jax.jit(jax.value_and_grad(lambda table: (weight * jnp.sin(lookup(table, rows))).sum()))(table)
    plain = jax.jit(jax.value_and_grad(lambda table: (weight * jnp.sin(table[rows])).sum()))(table)
    for found, expected in zip(ours, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (ours[1][5] == 0).all()


@pytest.fixture(scope="module")
def read_mission():
    """What the mission encoder makes of lists of tokens, padded to one length."""
    run = jax.jit(lambda encoder, tokens: encoder(tokens))
    encoder = make_encoder(num_words=9).mission

    def read(sentences, length):
        tokens = np.zeros((len(sentences), length), np.int32)
        for row, sentence in enumerate(sentences):
            tokens[row, : len(sentence)] = sentence
        return np.asarray(run(encoder, tokens))

    return encoder, read


def test_padding_changes_nothing(read_mission):
    encoder, read = read_mission
    sentences = [[1, 2, 3], [4], [5, 6, 7]]
    np.testing.assert_allclose(read(sentences, 3), read(sentences, 6), atol=1e-6)
    together = jax.jit(lambda e, tokens: jax.grad(lambda e: e(tokens).sum())(e))(encoder, jnp.array([[4, 1], [2, 0]]))
    assert (together.words[0] == 0).all(), "nothing is learnt of padding"
    assert (together.words[2] != 0).any()


def test_the_order_of_words_matters(read_mission):
    _, read = read_mission
    there, back, other = read([[1, 2, 3], [3, 2, 1], [1, 2, 4]], 3)
    assert np.abs(there - back).max() > 1e-2
    assert np.abs(there - other).max() > 1e-2


def test_the_mission_encoder_is_a_gru(read_mission):
    """Cho et al., 2014, in numpy; gates in the order reset, update, candidate."""
    encoder, read = read_mission
    encoder = jax.tree.map(np.float64, encoder)
    hidden = np.zeros(6)
    for word in (3, 1, 4):
        r_x, z_x, n_x = np.split(encoder.words[word] @ encoder.from_input + encoder.bias, 3)
        r_h, z_h, n_h = np.split(hidden @ encoder.from_hidden, 3)
        update = 1 / (1 + np.exp(-(z_x + z_h)))
        hidden = update * hidden + (1 - update) * np.tanh(n_x + n_h / (1 + np.exp(-(r_x + r_h))))
    np.testing.assert_allclose(read([[3, 1, 4]], 3)[0], hidden, atol=1e-5)


@pytest.mark.parametrize("fusion", ["film", "concat"])
def test_the_same_view_means_another_thing_under_another_mission(encode, views, fusion):
    red = views._replace(mission=jnp.full(400, LEVEL.missions.index("go to the red ball"), jnp.int16))
    blue = views._replace(mission=jnp.full(400, LEVEL.missions.index("go to the blue ball"), jnp.int16))
    assert (np.abs(encode(red, fusion=fusion) - encode(blue, fusion=fusion)).max(axis=-1) > 1e-3).mean() > 0.9


def test_the_mission_modulates_the_picture_only_by_film():
    """Appended, a mission shifts the dense layer's input alike for all pictures; by FiLM it does not."""
    assert make_encoder("concat").film is None
    film = make_encoder().tables(TOKENS[:2]).film
    assert film.shape == (2, 20)  # Scale and shift of five channels in two layers.
    assert (film[0] != film[1]).any()
    assert make_encoder("concat").tables(TOKENS[:2]).film is None


def test_the_written_gradient_of_film_is_the_one_of_its_formula():
    draw = np.random.default_rng(1)
    tiles, scale, shift, weights = (
        jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in [(2, 3, 49, 5), (2, 3, 5), (2, 3, 5), (49, 5)]
    )

    def formula(tiles, scale, shift):
        return jnp.maximum(tiles * (1 + scale[..., None, :]) + shift[..., None, :], 0)

    def gradient(f):
        return jax.grad(lambda args: (f(*args) ** 2 * weights).sum())((tiles, scale, shift))

    with fast_gradients():
        fast = gradient(modulate)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), fast, gradient(formula))


@pytest.mark.parametrize("fusion", ["film", "concat"])
def test_without_a_width_for_missions_none_is_read(views, fusion):
    """Pictures still are, and as codes say; no parameter of the mission is left."""
    encoder = make_encoder(fusion, mission_dim=0)
    names = {field.name for field in dataclasses.fields(encoder) if getattr(encoder, field.name) is not None}
    assert names == {"tile_kernel", "tile_bias", "from_tiles", "bias", "feature_rms_limit"}
    run = jax.jit(lambda encoder, observation: encoder(encoder.tables(TOKENS), observation))
    features = np.asarray(run(encoder, views))
    other = views._replace(mission=(views.mission + 1) % len(LEVEL.missions))
    np.testing.assert_array_equal(run(encoder, other), features)
    np.testing.assert_allclose(run(encoder, Pixels(obs.render(views.codes), other.mission)), features, atol=1e-5)
    assert len(np.unique(features, axis=0)) == 400
