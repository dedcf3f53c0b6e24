"""The pages as files: well-formed, self-contained, and deaf to markup in their data."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from metarims.errors import UserError
from metarims.views import page
from metarims.views.agent_table import AgentSummary, print_agents
from metarims.views.episode_page import write_episode_page
from metarims.views.packing import pack_episode
from metarims.views.report import write_report

EVIL = "</script><img src=x onerror=\"window.hurt = 1\"><!-- go to 'the' & \u2028 ball"
VOID = {"meta", "input", "img", "source", "br", "path"}
LOADING = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction"}


class Reader(HTMLParser):
    """Follows the nesting of elements, and notes what could load something."""

    def __init__(self, text: str):
        super().__init__()
        self.stack, self.ids, self.loads, self.policy, self.json, self.styles = [], [], [], "", {}, ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.loads += [value for name, value in attrs if name in LOADING]
        assert not any(name.startswith("on") for name in values)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag not in VOID:
            self.stack.append((tag, values))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop()[0] == tag

    def handle_data(self, data):
        tag, values = self.stack[-1] if self.stack else ("", {})
        if tag == "style":
            self.styles += data
        if values.get("type") == "application/json":
            self.json[values["id"]] = json.loads(data)


def check(text: str) -> Reader:
    reader = Reader(text)
    assert len(set(reader.ids)) == len(reader.ids)
    assert "default-src 'none'" in reader.policy
    assert all(address.startswith("data:image/") for address in reader.loads)
    assert "://" not in text
    assert "url(" not in reader.styles
    assert "@import" not in reader.styles
    return reader


def test_the_episode_page_is_one_file(episodes, tmp_path):
    path = write_episode_page(tmp_path / "new" / "page.html", episodes, "Title", ["a", "b", "c", "d", "e"])
    data = check(path.read_text(encoding="utf-8")).json["viewer-data"]
    assert [episode["label"] for episode in data["episodes"]] == ["a", "b", "c", "d", "e"]
    assert [episode["modules"] for episode in data["episodes"]] == [5, 5, 5, 5, 0]
    assert len(data["tileNames"]) == 60
    assert sorted(path.parent.iterdir()) == [path]


def test_the_report_is_one_file_and_says_everything(report, tmp_path):
    text = write_report(tmp_path / "report.html", report).read_text(encoding="utf-8")
    reader = check(text)
    assert reader.loads, "the figures are inside"
    assert len(reader.json["viewer-data"]["episodes"]) == 5
    for said in ("What came out.", "123,456", "1,000,000", "31,234", "0.970", "0.940 – 0.990", "11.5", "0123abc"):
        assert said in text


def test_a_report_without_episodes_or_metrics_leaves_them_out(report, tmp_path):
    text = write_report(tmp_path / "report.html", replace(report, episodes=(), figures=(), agents=())).read_text(
        encoding="utf-8"
    )
    assert check(text).json == {}
    assert "<script" not in text
    assert "<picture" not in text


def test_markup_in_data_stays_text(play, report, tmp_path):
    episode = play("BabyAI-GoToLocal-v0", 3, mission=EVIL)
    viewer = check(write_episode_page(tmp_path / "a.html", [episode], EVIL, [EVIL]).read_text(encoding="utf-8"))
    assert viewer.json["viewer-data"]["episodes"][0]["mission"] == EVIL
    shown, named = [pack_episode(episode, EVIL)], {EVIL: EVIL}
    strange = [dict.fromkeys(("agent", "env", "backend", "policy", "seed", "temperature"), EVIL)]
    agents = [AgentSummary(EVIL, 1, 1, [report.agents[0].evaluations[0] | strange[0]])]
    evil = replace(report, title=EVIL, summary=[EVIL], agents=agents, episodes=shown, details=named, settings=named)
    text = write_report(tmp_path / "b.html", evil).read_text(encoding="utf-8")
    check(text)
    assert "<img src=x" not in text


def test_what_cannot_be_shown_is_refused(episodes, tmp_path):
    with pytest.raises(UserError, match="No episodes to show"):
        write_episode_page(tmp_path / "a.html", [])
    with pytest.raises(UserError, match="2 labels for 1 episodes"):
        write_episode_page(tmp_path / "a.html", episodes[:1], labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_page(tmp_path):
    path = page.write_text(tmp_path / "page.html", "old")
    with pytest.raises(UnicodeEncodeError):
        page.write_text(path, "half \ud800 a character")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_twenty_episodes_stay_below_five_megabytes(play, tmp_path):
    long = play("MiniGrid-DoorKey-8x8-v0", 1)
    assert len(long.actions) == 640
    assert write_episode_page(tmp_path / "page.html", [long] * 20).stat().st_size < 5e6


def test_the_table_has_a_column_for_every_setting_and_a_dash_where_an_agent_lacks_one(report, tmp_path):
    (agent,) = report.agents
    ablated = agent.evaluations[1] | {"no_mission": True, "success": 0.25, "success_low": 0.2, "success_high": 0.3}
    other = agent._replace(label="vanilla", evaluations=[*agent.evaluations, ablated], parameters=None)
    text = write_report(tmp_path / "a.html", replace(report, agents=[agent, other], episodes=())).read_text()
    check(text)
    assert text.count(">sampled, no mission</th>") == 1
    assert text.count("<strong>0.250</strong>") == 1
    assert text.count(">–</td>") == 2
    console = Console(file=io.StringIO(), width=80)
    print_agents([agent, other], console)
    lines = console.file.getvalue().splitlines()
    assert all("0.970 [.94, .99]" in line for line in lines if "greedy" in line)
    assert any("0.250 [.20, .30]" in line for line in lines)
