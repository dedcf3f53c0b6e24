"""Which of our former words are left? ``make words`` prints each place, and fails unless all of them are allowed.

A name is looked for among the names of the sources, and in the code of pages; a phrase in comments, strings, pages and
``--help-all``.
"""

import contextlib
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

NAMES = {
    r"sight|hearing|heard|hears": "observation, mission_table, communication",
    r"[Dd]ice|roll_dice": "RandomStream, random bits",
    r"[Dd]eed": "ActionResult",
    r"World|VectorWorld|HostWorld|Worlds|new_world|make_worlds": "EnvState, VecEnv, HostVecEnv",
    r"reach|face|pick|bump|recall|stain": "reach_goal, go_to, pick_up, collision_ends, memory, keep_landmark",
    r"adopt|then|Fresh|supply|_?restock\w*|_?serve|lay": "embed, next source, reset state, refill, take",
    r"read_inputs|thoughts|think": "project_inputs, core_outputs, unroll_core",
    r"begins": "is_first",
    r"_?Cut|last_values?|final_values?": "truncation, bootstrap value",
    r"damp|feature_limit": "soft_rms_clip, feature_rms_limit",
    r"phases?|_?Passes|make_pass|cycles?_\w*|\w*_per_cycle": "rollout, iteration, chunk, epoch",
    r"begin_with|renew\w*|choose_seeds|_begin_anew": "load weights, reseed, select seeds",
    r"forms|beginning|watching|stopping": "schema, warm_start, callbacks, signals",
    r"settle|settled|idle_settings|shown|reason": "coerce, unused_settings, format_value, describe_error",
    r"[Mm]anner|forgetful|deaf|[Ss]peech": "Ablation, no_memory, no_mission, MissionFormat",
    r"at_episode_end|rate_horizon|rate_factors": "recurrent_state, learning-rate decay, lr_multipliers",
    r"(?<!-)kl|collapse|measure_information": "approx_kl, load_imbalance, mutual_information",
    r"starve_idle|idle|rests": "inactive",
    r"tell|tells|says|mend|sentence|sentences": "report, status, fix, message",
    r"narrowing|kept|taken_apart|switching_off": "backward_transfer, retention, ablation, deactivation",
}
"""Patterns of whole names, and what is said today."""

PHRASES = {
    r"--(like|in|forgetful|deaf|at-episode-end|feature-limit)(?=[\s`\"'=]|$)": "today's flags",
    r"\bdice\b|\brandom words?\b": "random bits",
    r"\bdeeds?\b": "action, result",
    r"\b(is|are|was|were|be) heard\b|\bheard of\b|\bhears\b|\bwhat (\w+ ){0,3}sees?\b": "message, observation",
    r"\bmodules? talks?\b|\btalk(s|ing)?\b": "communicate",
    r"\bthoughts?\b|\bthinks?\b": "core outputs",
    r"\bdamp(s|ed)?\b": "soft RMS clip",
    r"\bwho acts\b|\brests\b|\bidle\b": "active, inactive",
    r"\b(goes|go|going|went|gone) on\b": "resume, continue",
    r"\bcomes? apart\b|\bstays? so\b|\blearns? to the end\b": "diverges, stays stopped, solves",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\btells?\b|\btold\b": "report",
    r"\b(a|one|in a|our|the|with a|as a) sentences?\b|\bsentences\b": "error message, mission text",
    r"\bnarrowing\b|\btaken apart\b|\bswitch(ed|ing)? off\b": "backward transfer, ablation, deactivation",
    r"\b(quiet|loud) beginnings?\b": "small, unit initial scale",
    r"\battention shares?\b|\bshares? of attention\b": "attention weight",
    r"\bfeature limit\b": "feature RMS limit",
    r"\bmanners?\b|\bforgetful\b|\bdeaf\b": "ablation, without memory, without mission",
    r"\ba stranger'?s?\b|\bstrangers?\b": "untrusted",
    r"\bof one'?s own\b|\bnull models?\b": "custom, control",
    r"\bwhoever\b|\bnobody\b|\bsomebody\b": "name the actor",
    r"\bour (own )?worlds?\b|\bin both worlds\b|\bthe worlds?\b": "the JAX environments, the environment's state",
    r"\blevels? of (our|one'?s) own\b": "custom",
}
"""Patterns in prose, and what is said today."""

ALLOWED = {
    (r"src/metarims/upgrade\.py", ".*"): "reads what earlier versions wrote",
    (
        r"src/metarims/(evaluation|studies)/.*",
        "reach",
    ): "to reach a threshold is the usual term; the task rule was another",
    (r"src/metarims/(runs|learning)/.*", "kept"): "the participle of keep; the measure of studies is called retention",
    (r"src/metarims/(runs|views|studies)/.*", "shown|stopping"): "participles; the function and the file were others",
    (r"src/metarims/evaluation/modules\.py", "then"): "steps of an episode; the field of the reset buffer was another",
    (r"src/metarims/studies/.*", "sentences?"): "a claim is a sentence",
    (r"src/metarims/learning/trainer\.py", "pick"): "selects leaves; the task rule was another",
}
"""Files and texts in which a former word may stand, as patterns, and why."""


def main() -> int:
    """Print every former word with its place; the number of those that are not allowed decides."""
    left, files = 0, Counter()
    for place, line, text, today in found():
        allowed = next(
            (why for (f, t), why in ALLOWED.items() if re.fullmatch(f, place) and re.fullmatch(t, text)), None
        )
        if allowed is None:
            left += 1
            files[place] += 1
            print(f"{place}:{line}: {text!r} (today: {today})")
    print(f"{left} former words are left" + "".join(f"\n  {number:4} {place}" for place, number in files.most_common()))
    return min(left, 1)


def found() -> Iterator[tuple[str, int, str, str]]:
    """Every place: file or command, line, what stands there, and what is said today."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        yield from _in_source(path.relative_to(ROOT).as_posix(), path)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        place = path.relative_to(ROOT).as_posix()
        if "_build" not in place:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                yield from _search(PHRASES, place, number, line)
                for code in re.findall(r"`([^`]+)`", line):
                    yield from _search(NAMES, place, number, code, names=True)
    for command, text in _help():
        for number, line in enumerate(text.splitlines(), 1):
            yield from _search(PHRASES, command, number, line)


def _in_source(place: str, path: Path) -> Iterator[tuple[str, int, str, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME:
                yield from _search(NAMES, place, token.start[0], token.string, names=True)
            elif token.type in (tokenize.COMMENT, tokenize.STRING):
                for offset, line in enumerate(token.string.splitlines()):
                    yield from _search(PHRASES, place, token.start[0] + offset, line)


def _search(words: dict[str, str], place: str, number: int, text: str, *, names: bool = False):
    for pattern, today in words.items():
        if match := re.search(rf"\b({pattern})\b" if names else pattern, text):
            yield place, number, match[0], today


def _help() -> Iterator[tuple[str, str]]:
    from metarims import cli

    for words in ([], *([command] for command in cli.COMMANDS), *(["study", do] for do in ("list", "run", "report"))):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            cli.main([*words, "--help-all"])
        yield f"metarims {' '.join([*words, '--help-all'])}", text.getvalue()


if __name__ == "__main__":
    sys.exit(main())
