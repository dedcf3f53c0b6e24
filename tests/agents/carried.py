"""The two public RIM cells said by our core: their weights carried over, as ``reference/README.md`` explains.

Every map is linear in their weights and differentiable, so that our gradients can be pulled back to theirs.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from metarims.agents.rims import RIMCore
from metarims.core_settings import RIMSettings

Weights = dict[str, Array]

ALWAYS = 100.0
"""A gate's pre-activation whose sigmoid is 1 to the last bit; minus it, 0."""


def make_core(input_dim: int, *sizes: int, parts: Weights, mask_inactive_inputs: bool = False, **sizes_by_name: Any):
    """A core of these weights, by path; all others are zero."""
    settings = RIMSettings(*sizes, **sizes_by_name, communication_norm=False)
    make = partial(RIMCore, input_dim, settings, mask_inactive_inputs=mask_inactive_inputs)
    core = jax.eval_shape(lambda key: make(key=key), jax.random.key(0))
    core = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), core)
    for path, value in parts.items():
        *folders, name = path.split(".")

        def find(tree, folders=folders, name=name):
            for folder in folders:
                tree = getattr(tree, folder)
            return getattr(tree, name)

        assert find(core).shape == value.shape, (path, find(core).shape, value.shape)
        core = eqx.tree_at(find, core, value)
    return core


def pad(matrix: Array, *widths: int) -> Array:
    """Zeros added at the end of the last axes, up to these widths."""
    last = matrix.shape[matrix.ndim - len(widths) :]
    missing = [(0, wide - now) for wide, now in zip(widths, last, strict=True)]
    return jnp.pad(matrix, [(0, 0)] * (matrix.ndim - len(widths)) + missing)


def pad_heads(matrix: Array, heads: int, width: int, *, query: bool = False) -> Array:
    """Every head's columns padded with zeros to ``width``; a query grows by what the wider head is divided by."""
    parts = matrix.reshape(*matrix.shape[:-1], heads, -1)
    scale = (width / parts.shape[-1]) ** 0.5 if query else 1.0
    return scale * pad(parts, width).reshape(*matrix.shape[:-1], heads * width)


def carry_dido1998(weights: Weights, cell: str, num_active: int, heads: int, talk_heads: int) -> RIMCore:
    """``RIMCell`` of dido1998; its features are followed by a constant one.

    Scores are averaged over heads before the softmax: that is one head over all columns. The key's bias shifts the
    input's score and the null slot's alike and so matters to the choice alone; the value's bias is read from both.
    Three heads of ours say that: one reads the input, one, whose query is turned round, attends to the input as
    much as the first does to the null slot and reads the bias, and one reads nothing but ranks by the biased score.
    """
    num_modules, width, _ = weights["query.w"].shape
    query, key = weights["query.w"] * heads**-0.5, weights["key.weight"].T
    value = weights["value.weight"].reshape(heads, -1, key.shape[0]).mean(0).T
    bias = weights["value.bias"].reshape(heads, 1, -1).mean(0)
    row = jnp.zeros((1, key.shape[1]))
    keys = [jnp.concatenate([key, last]) for last in (row, row, weights["key.bias"][None])]
    values = [jnp.concatenate(rows) for rows in ((value, bias), (0 * value, bias), (0 * value, 0 * bias))]
    talk_width = max(width, weights["query_.w"].shape[-1] // talk_heads)
    output = weights["comm_attention_output.w"].reshape(num_modules, talk_heads, width, width)
    from_input = order_gates(weights["rnn.i2h.w" if cell == "lstm" else "rnn.x2h.w"], cell)
    return make_core(
        key.shape[0] + 1,
        num_modules,
        num_active,
        width,
        cell=cell,
        input_heads=3,
        key_dim=key.shape[1],
        value_dim=value.shape[1],
        communication_heads=talk_heads,
        communication_dim=talk_heads * talk_width,
        mask_inactive_inputs=True,
        parts={
            "attention.input.query": jnp.concatenate([query, -query, query], axis=-1),
            "attention.input.key": jnp.concatenate(keys, axis=-1),
            "attention.input.value": jnp.concatenate(values, axis=-1),
            "modules.from_input": jnp.stack([from_input] * 3, axis=1),
            "modules.from_hidden": order_gates(weights["rnn.h2h.w"], cell),
            "attention.communication.query": pad_heads(weights["query_.w"], talk_heads, talk_width, query=True),
            "attention.communication.key": pad_heads(weights["key_.w"], talk_heads, talk_width),
            "attention.communication.value": pad_heads(weights["value_.w"], talk_heads, talk_width),
            "attention.communication.output": pad(output, talk_width, width).reshape(num_modules, -1, width),
        },
    )


def order_gates(matrix: Array, cell: str) -> Array:
    """dido1998's LSTM has its gates in the order input, forget, output, candidate."""
    if cell == "gru":
        return matrix
    enter, forget, output, candidate = jnp.split(matrix, 4, axis=-1)
    return jnp.concatenate([enter, forget, candidate, output], axis=-1)


def carry_anirudh9119(weights: Weights, cell: str, num_active: int) -> RIMCore:
    """``BlocksCore`` of anirudh9119; every module has one more unit, which is always one (see ``add_unit``).

    Through that unit pass the biases that our core lacks: a GRU's on the recurrent side of its gates, and those of
    the communication's output and gate, which all modules share.
    """
    query = weights["inp_att.GLN_qs.w"]
    num_modules, width, _ = query.shape
    value = weights["inp_att.GLN_vs.w"][1]  # of two slots the first is the null slot, whose input is zero
    side = f"block_lstm.{cell}."
    gates = 4 if cell == "lstm" else 3
    bias_x, bias_h = (weights[side + name].reshape(gates, num_modules, width) for name in ("bias_ih", "bias_hh"))
    from_input = blocks(weights[side + "weight_ih"], num_modules, gates)
    from_hidden = pad(blocks(weights[side + "weight_hh"], num_modules, gates), width + 1, gates, width + 1)
    if cell == "gru":
        from_hidden = from_hidden.at[:, -1].set(jnp.swapaxes(pad(bias_h, width + 1), 0, 1))
        bias = pad(bias_x, width + 1).at[1, :, -1].set(ALWAYS)  # the update gate keeps
    else:
        bias = pad(bias_x + bias_h, width + 1).at[:, :, -1].set(jnp.array([-ALWAYS, ALWAYS, 0, ALWAYS])[:, None])
    flat = lambda matrix: matrix.reshape(*matrix.shape[:-2], -1)  # noqa: E731
    heads, talk_dim = 4, 16
    talk = {
        ours: pad(pad_heads(weights[f"mha.{theirs}.w"], heads, talk_dim + 1, query=ours == "query"), width + 1, 68)
        for ours, theirs in (("query", "GLN_qs"), ("key", "GLN_ks"), ("value", "GLN_vs"))
    }
    return make_core(
        weights["inp_att.GLN_ks.w"].shape[1],
        num_modules,
        num_active,
        width + 1,
        cell=cell,
        key_dim=query.shape[-1],
        value_dim=value.shape[-1],
        communication_heads=heads,
        communication_dim=heads * (talk_dim + 1),
        communication_gate=True,
        parts={
            "attention.input.query": pad(query, width + 1, query.shape[-1]),
            "attention.input.key": weights["inp_att.GLN_ks.w"][1],
            "attention.input.value": value,
            "modules.from_input": flat(pad(from_input, gates, width + 1))[:, None],
            "modules.from_hidden": flat(from_hidden),
            "modules.bias": flat(jnp.swapaxes(bias, 0, 1)),
            "attention.communication.query": talk["query"],
            "attention.communication.key": talk["key"],
            "attention.communication.value": talk["value"].at[:, -1, talk_dim].set(1.0),
            "attention.communication.output": say(weights, "mha.fc", num_modules, heads),
            "attention.communication.gate": say(weights, "mha.gate_fc", num_modules, heads),
        },
    )


def blocks(matrix: Array, num_modules: int, gates: int) -> Array:
    """The diagonal blocks [modules, inputs, gates, outputs] of a dense recurrent weight [gates x outputs, inputs]."""
    rows, columns = matrix.shape
    split = matrix.reshape(gates, num_modules, rows // gates // num_modules, num_modules, columns // num_modules)
    return jnp.einsum("gmomi->migo", split)


def say(weights: Weights, name: str, num_modules: int, heads: int) -> Array:
    """A linear layer with bias on what is heard; the bias is the row of the first head's last column, always one."""
    matrix = weights[f"{name}.weight"]
    width = matrix.shape[0]
    rows = pad(matrix.T.reshape(heads, -1, width), matrix.shape[1] // heads + 1, width + 1)
    rows = rows.at[0, -1, :width].set(weights[f"{name}.bias"])
    return jnp.stack([rows.reshape(-1, width + 1)] * num_modules)


def add_unit(state: Array, value: float) -> Array:
    """A state [B, M, H] with the unit that is always ``value``."""
    return jnp.concatenate([state, jnp.full((*state.shape[:-1], 1), value)], axis=-1)
