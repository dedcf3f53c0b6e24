import gc
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarims.errors import UserError
from metarims.runs import checkpoints
from metarims.runs.files import clear_scratch


def make_state(seed=0):
    key = jax.random.key(seed)
    key_weights, key_kept = jax.random.split(key)
    weights = {"a": jax.random.normal(key_weights, (3, 4)), "b": jnp.array([np.nan, -np.inf, -0.0])}
    return {
        "weights": weights,
        "optimizer": optax.adam(1e-3).init(weights),
        "keys": jax.random.split(key_kept, 3),
        "codes": jnp.arange(256, dtype=jnp.uint8).reshape(4, 8, 8),
        "flags": jnp.array([True, False]),
        "count": jnp.int32(seed),
        "empty": jnp.zeros((0, 5)),
        "static": "name",
    }


def words(state):
    """Every leaf as bytes."""

    def one(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        data = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        return str(leaf.dtype), leaf.shape, np.asarray(data).tobytes()

    return jax.tree.map(one, state)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of the chunks 4 and 6."""
    for chunk in (2, 4, 6):
        checkpoints.save(tmp_path, chunk, make_state(chunk), {"chunk": chunk})
    return tmp_path


def test_every_bit_comes_back(folder):
    found = checkpoints.restore(folder, make_state())
    assert words(found.state) == words(make_state(6))
    assert found.notes == {"chunk": 6}
    assert found.problems == ()
    jax.random.split(found.state["keys"][0])


def test_a_program_is_compiled_once_for_what_comes_back_and_what_follows(tmp_path):
    program = jax.jit(lambda state: jax.tree.map(jnp.negative, state))
    state = {name: make_state()[name] for name in ("weights", "empty")}
    checkpoints.save(tmp_path, 1, state, {})
    program(program(checkpoints.restore(tmp_path, state).state))
    assert program._cache_size() == 1


def test_the_last_two_are_kept(folder):
    assert checkpoints.chunks(folder) == [4, 6]


def test_checkpoints_that_were_passed_over_do_not_push_out_new_ones(folder):
    """Their chunks come later, but training had to go back before them."""
    for chunk in (4, 6):
        (folder / f"{chunk:08d}" / checkpoints.MANIFEST).write_text("{")
    for chunk, kept in ((1, [1]), (2, [1, 2]), (3, [2, 3])):
        checkpoints.save(folder, chunk, make_state(chunk), {"chunk": chunk})
        assert checkpoints.chunks(folder) == kept
        assert checkpoints.restore(folder, make_state()).notes == {"chunk": chunk}


def test_saving_leaves_nothing_behind_in_memory(tmp_path):
    state = {str(number): jnp.ones(number + 1) for number in range(40)}

    def blocks(saves):
        for chunk in saves:
            checkpoints.save(tmp_path, chunk, state, {})
        gc.collect()
        return sys.getallocatedblocks()

    blocks(range(1, 6))
    assert (blocks(range(11, 21)) - blocks(range(6, 11))) / 10 < 10


def test_nothing_there(tmp_path):
    assert checkpoints.restore(tmp_path / "absent", make_state()) == (None, {}, ())


@pytest.mark.parametrize("name", [checkpoints.MANIFEST, checkpoints.STATE])
def test_each_file_is_covered_against_flipped_bits_and_truncation(folder, name):
    """Whichever way a file of the newest is damaged, the one before is restored, with a message."""
    path = folder / "00000006" / name
    data = path.read_bytes()
    for replacement in (data[: len(data) // 2], b"", None, *(flip(data, at) for at in range(0, len(data), 101))):
        path.unlink() if replacement is None else path.write_bytes(replacement)
        found = checkpoints.restore(folder, make_state())
        assert found.notes == {"chunk": 4}, replacement
        assert len(found.problems) == 1
        assert "00000006 is damaged" in found.problems[0]
        path.write_bytes(data)
    assert checkpoints.restore(folder, make_state()).notes == {"chunk": 6}


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_all_damaged(folder):
    for chunk in (4, 6):
        (folder / f"{chunk:08d}" / checkpoints.MANIFEST).write_text("{")
    found = checkpoints.restore(folder, make_state())
    assert found.state is None
    assert [f"{chunk:08d}" in problem for chunk, problem in zip((6, 4), found.problems, strict=True)] == [True, True]


def test_a_manifest_of_another_kind_is_damage(folder):
    path = folder / "00000006" / checkpoints.MANIFEST
    for text in ("[]", "3", '{"sha256": 1}', '{"sha256": "x", "manifest": {}}', "\xff", "[" * 100_000):
        path.write_bytes(text.encode("latin-1"))
        assert checkpoints.restore(folder, make_state()).notes == {"chunk": 4}


def test_a_manifest_of_another_version_is_passed_over(folder):
    (folder / "00000006" / checkpoints.MANIFEST).write_bytes(checkpoints.seal({"chunk": 6}))
    assert checkpoints.verify(folder / "00000006")[1] == "manifest.json is of another version"


def test_a_forged_manifest_is_passed_over_in_one_line(folder):
    path = folder / "00000006" / checkpoints.MANIFEST
    manifest = json.loads(path.read_text())["manifest"]
    name = "state/\n" + "x" * 10**5
    for forged in (
        manifest | {"leaves": []},
        manifest | {"files": "none"},
        manifest | {"notes": 3},
        manifest | {"files": {name: ""}},
    ):
        path.write_bytes(checkpoints.seal(forged))
        found = checkpoints.restore(folder, make_state())
        assert found.notes == {"chunk": 4}
        (problem,) = found.problems
        assert problem.isprintable()
        assert len(problem) < 3000


def test_a_manifest_cannot_name_files_outside(folder):
    path = folder / "00000006" / checkpoints.MANIFEST
    manifest = json.loads(path.read_text())["manifest"]
    manifest["files"]["../../secret"] = "0" * 64
    path.write_bytes(checkpoints.seal(manifest))
    assert checkpoints.verify(folder / "00000006")[1] == "../../secret is missing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flags": jnp.zeros(5, bool)}, r"flags is bool\[2\], and must be bool\[5\]"),
        ({"count": jnp.float32(0)}, r"count is int32\[\], and must be float32\[\]"),
        ({"more": jnp.zeros(2)}, r"more is absent, and must be float32\[2\]"),
        ({"flags": None}, r"flags is bool\[2\], and must be absent"),
        (
            {"keys": jax.random.split(jax.random.key(0), 4)},
            r"keys is uint32\[3, 2\], and must be uint32\[4, 2\]",
        ),
    ],
)
def test_a_state_of_another_version_is_refused(folder, change, message):
    with pytest.raises(UserError, match=message) as refused:
        checkpoints.restore(folder, make_state() | change)
    assert refused.value.field == "checkpoint"


def test_half_written_folders_are_cleared(folder):
    (folder / "00000008.tmp").mkdir()
    (folder / "00000008.tmp" / checkpoints.STATE).write_text("half")
    assert checkpoints.restore(folder, make_state()).notes == {"chunk": 6}
    clear_scratch(folder)
    assert not (folder / "00000008.tmp").exists()


def test_a_save_over_a_damaged_checkpoint_of_the_same_chunk(folder):
    (folder / "00000006" / checkpoints.MANIFEST).unlink()
    checkpoints.save(folder, 6, make_state(60), {"chunk": 6})
    assert words(checkpoints.restore(folder, make_state()).state) == words(make_state(60))
