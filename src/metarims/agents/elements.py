"""The input as a set: every cell of the view, and the mission, is an element that cores attend to.

The RIM paper defines the input so (Goyal et al., 2019, section 2.2). A cell is what is there and where: its key is the
sum of a row for its tile and a row for its place, and so is its value. All queries meet these 60 + 49 rows in one
product; a cell's score is then the sum of two numbers, and what is read is a weighted sum of rows. To the scores comes
the cell's salience, which is low at first where nothing is: attention begins at the objects.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarims.agents.fast_gradients import multiply, project
from metarims.agents.layers import init_fan_in, lookup
from metarims.gridworld.types import VIEW

NUM_CELLS = VIEW * VIEW

PLACE_KEY_SCALE = 0.3
"""Initial scale of the places' keys: queries first find a cell by what is there."""

TEMPERATURE = 0.125
"""Initial temperature, learnt per query, that divides the cosine of a query and a key."""

EPSILON = 1e-3
"""Added to mean squares before division by their root."""


class Elements(NamedTuple):
    """An observation as a set: the cells in the order [x, y], then the mission."""

    cells: Integer[Array, "*B 49"] | Float[Array, "*B 49 C"]
    """Tile codes; or, of pictures, the features of what each cell shows."""
    mission: Float[Array, "*B W"] | None
    """The mission's embedding, if agents read missions."""
    salience: Float[Array, "*B 49"]
    """What is added to the scores of each cell, whatever the query."""


class ElementSizes(NamedTuple):
    """What a core must know of its input if it is a set."""

    tile_dim: int
    mission_dim: int


class ElementInputs(NamedTuple):
    """What a step needs of the elements, projected as far as it can be without the state."""

    cells: Integer[Array, "*B 49"] | Float[Array, "*B 49 kv"]
    """Rows of the table of tiles; or, of pictures, their keys and values."""
    norm: Float[Array, "*B E"]
    """1 / length of each element's key."""
    salience: Float[Array, "*B 49"]
    """Added to the cells' scores."""
    mission: Float[Array, "*B kv"] | None
    """The mission's key and value."""
    queries: Float[Array, "*B Qk"] | None
    """The mission's part of the queries."""


class ElementReading(NamedTuple):
    """What queries read."""

    values: Float[Array, "B Q v"]
    """The mean of the elements' values by the softmax of their scores, with its root mean square made one: reads that
    are spread over many cells would be small."""
    attention: Float[Array, "B Q E"]
    """That softmax."""
    score: Float[Array, "B Q"]
    """The logarithm of the mean over elements of exp(score): the score of the set as if it were one element."""


class ElementTable(eqx.Module):
    """Keys and values of all elements, and what the mission adds to the queries. All queries share the keys."""

    tile: Float[Array, "C kv"]
    place: Float[Array, "49 kv"]
    mission: Float[Array, "W kv"] | None
    query: Float[Array, "W Qk"] | None
    log_temperature: Float[Array, " Q"]
    rows: Float[Array, "60 kv"] | None
    """Keys and values of the 60 tiles: no parameters, but what ``with_tiles`` adds for one call."""
    key_dim: int = eqx.field(static=True)

    def __init__(self, sizes: ElementSizes, num_queries: int, key_dim: int, value_dim: int, *, key: PRNGKeyArray):
        key_tile, key_place, key_mission, key_query = jax.random.split(key, 4)
        both, width = key_dim + value_dim, sizes.mission_dim
        self.tile = init_fan_in(key_tile, (sizes.tile_dim, both))
        self.place = jax.random.normal(key_place, (NUM_CELLS, both)).at[:, :key_dim].multiply(PLACE_KEY_SCALE)
        self.mission = init_fan_in(key_mission, (width, both)) if width else None
        self.query = init_fan_in(key_query, (width, num_queries * key_dim)) if width else None
        self.log_temperature = jnp.full(num_queries, math.log(TEMPERATURE))
        self.rows, self.key_dim = None, key_dim

    def with_tiles(self, tiles: Float[Array, "60 C"]) -> "ElementTable":
        """The same, for tiles of these features."""
        return eqx.tree_at(lambda table: table.rows, self, project(tiles, self.tile), is_leaf=lambda x: x is None)

    def project_elements(self, elements: Elements) -> ElementInputs:
        """What ``read`` needs of these elements."""
        cells, places = elements.cells, self.place[:, : self.key_dim]
        if self.rows is None or _are_features(cells):
            cells = project(cells, self.tile)
            norm = _inverse_length(cells[..., : self.key_dim] + places)
        else:
            lengths = _inverse_length(self.rows[:, None, : self.key_dim] + places)
            rows = cells.astype(jnp.int32) * NUM_CELLS + jnp.arange(NUM_CELLS)
            norm = lookup(lengths.reshape(-1, 1), rows)[..., 0]
        if elements.mission is None or self.mission is None or self.query is None:
            return ElementInputs(cells, norm, elements.salience, None, None)
        mission = project(elements.mission, self.mission)
        norm = jnp.concatenate([norm, _inverse_length(mission[..., : self.key_dim])[..., None]], axis=-1)
        return ElementInputs(cells, norm, elements.salience, mission, project(elements.mission, self.query))

    def read(self, queries: Float[Array, "B Q k"], inputs: ElementInputs) -> ElementReading:
        """Attend to the elements by each of the queries."""
        num_envs, num_queries, _ = queries.shape
        rows = None if _are_features(inputs.cells) else self.rows
        table = self.place if rows is None else jnp.concatenate([self.place, rows])
        keys, values = jnp.split(table, [self.key_dim], axis=-1)
        queries = queries * (_inverse_length(queries) * jnp.exp(-self.log_temperature))[..., None]
        products = multiply(queries.reshape(-1, self.key_dim), keys.T).reshape(num_envs, num_queries, -1)
        products = jnp.swapaxes(products, 1, 2)
        scores = products[:, :NUM_CELLS]
        if rows is not None:
            scores = scores + take_rows(products[:, NUM_CELLS:], inputs.cells)
        else:
            scores = scores + jnp.einsum("bqk,bek->beq", queries, inputs.cells[..., : self.key_dim])
        if inputs.mission is not None:
            of_mission = (queries * inputs.mission[:, None, : self.key_dim]).sum(-1)
            scores = jnp.concatenate([scores, of_mission[:, None]], axis=1)
        scores = (scores * inputs.norm[..., None]).at[:, :NUM_CELLS].add(inputs.salience[..., None])
        largest = jax.lax.stop_gradient(scores.max(1, keepdims=True))
        weights = jnp.exp(scores - largest)
        norm = weights.sum(1, keepdims=True)
        attention = weights / norm
        on_rows = on_cells = attention[:, :NUM_CELLS]
        if rows is not None:
            on_rows = jnp.concatenate([on_cells, add_rows(on_cells, inputs.cells, len(table) - NUM_CELLS)], axis=1)
        read = multiply(jnp.swapaxes(on_rows, 1, 2).reshape(-1, len(table)), values)
        read = read.reshape(num_envs, num_queries, -1)
        if rows is None:
            read = read + jnp.einsum("beq,bev->bqv", on_cells, inputs.cells[..., self.key_dim :])
        if inputs.mission is not None:
            read = read + attention[:, NUM_CELLS, :, None] * inputs.mission[:, None, self.key_dim :]
        read = read * jax.lax.rsqrt((read * read).mean(-1, keepdims=True) + EPSILON)
        score = (jnp.log(norm / scores.shape[1]) + largest)[:, 0]
        return ElementReading(read, jnp.swapaxes(attention, 1, 2), score)


def _are_features(cells: Array) -> bool:
    return jnp.issubdtype(cells.dtype, jnp.floating)


def _inverse_length(x: Float[Array, "*B k"]) -> Float[Array, "*B"]:
    return jax.lax.rsqrt((x * x).sum(-1) + EPSILON)


def _flat(rows: Integer[Array, "B n"], num_rows: int) -> Integer[Array, " Bn"]:
    """Numbers of rows in the tables of all environments, one under another."""
    return (rows.astype(jnp.int32) + num_rows * jnp.arange(rows.shape[0], dtype=jnp.int32)[:, None]).reshape(-1)


def take_rows(table: Float[Array, "B R Q"], rows: Integer[Array, "B n"]) -> Float[Array, "B n Q"]:
    """Rows of each environment's own table."""
    num_envs, num_rows, width = table.shape
    return lookup(table.reshape(-1, width), _flat(rows, num_rows)).reshape(num_envs, -1, width)


def add_rows(values: Float[Array, "B n Q"], rows: Integer[Array, "B n"], num_rows: int) -> Float[Array, "B R Q"]:
    """The transpose of ``take_rows``: the sums of the values that belong to equal rows."""
    num_envs, _, width = values.shape
    sums = jnp.zeros((num_envs * num_rows, width))
    sums = sums.at[_flat(rows, num_rows)].add(values.reshape(-1, width), mode="promise_in_bounds")
    return sums.reshape(num_envs, num_rows, width)
