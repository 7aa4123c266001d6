"""Generations: the link moves last, earlier ones stay, what nothing needs goes; a kill at any step converges."""

from __future__ import annotations

import json
from pathlib import Path

import ansible.module_utils
import pytest

ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "plugins" / "module_utils"))

from ansible.module_utils import orchard_generations, orchard_tree  # noqa: E402

Files = dict[str, str]


class Host:
    """A host's /opt/orchard, and what a playbook does to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.generations = orchard_generations.Generations(root, 2)

    def components(self, version: str) -> Files:
        """Return the components of one version; they are made if they are missing."""
        folder = self.root / "spark" / version
        if not folder.exists():
            folder.mkdir(parents=True)
            orchard_tree.seal(folder, {})
        return {"spark": str(folder), "java": "/usr/lib"}

    def files(self, version: str) -> Files:
        """Return the configuration of one version."""
        return {"orchard.env": f"SPARK_HOME={self.root}/spark/{version}\n"}

    def provision(self, version: str) -> dict[str, object]:
        """Do what the role does, and return what it saw first."""
        wanted = self.components(version), self.files(version)
        seen: dict[str, object] = self.generations.look(version, *wanted, False)
        if seen["to_make"]:
            self.generations.make(version, *wanted)
        if seen["to_prove"] or seen["to_switch"]:
            self.generations.switch(version)
        self.generations.prune(self.generations.removable())
        return seen

    def tree(self) -> list[str]:
        """Return all that is there, by name."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host with nothing on it."""
    return Host(tmp_path)


def test_a_second_run_has_nothing_to_do(host: Host) -> None:
    assert host.provision("1")["to_make"]
    before = host.tree()
    seen = host.provision("1")
    assert not (seen["to_make"] or seen["to_prove"] or seen["to_switch"] or seen["removable"])
    assert host.tree() == before
    assert (host.root / "current" / "spark").resolve() == host.root / "spark" / "1"


def test_a_fresh_host_is_looked_at_without_an_error(host: Host) -> None:
    seen = host.generations.look("1", {"spark": "/x"}, {}, False)
    wanted = {"to_make": True, "to_prove": True, "to_switch": True, "drift": "", "bad": "", "removable": []}
    assert {name: seen[name] for name in wanted} == wanted
    assert seen["changes"] == ["spark: none → x"]
    assert host.tree() == []


def test_configuration_may_lie_in_folders_of_its_own(host: Host) -> None:
    plain = host.files
    host.files = lambda version: {**plain(version), "tool/own/settings.json": version}  # type: ignore[method-assign]
    host.provision("1")
    conf = host.root / "current" / "conf"
    assert (conf / "tool" / "own" / "settings.json").read_text() == "1"
    assert not host.provision("1")["to_make"]
    assert host.provision("2")["changes"] == ["spark: 1 → 2", "conf/orchard.env", "conf/tool/own/settings.json"]
    (conf / "tool" / "own" / "settings.json").unlink()
    assert host.provision("2")["drift"] == "conf/tool/own/settings.json is missing"
    assert (conf / "tool" / "own" / "settings.json").read_text() == "2"


def test_two_earlier_ones_stay_and_their_components_with_them(host: Host) -> None:
    for version in "12345":
        host.provision(version)
    assert sorted(path.name for path in (host.root / "spark").iterdir()) == ["3", "4", "5"]
    assert sorted(path.name for path in (host.root / "generations").iterdir()) == ["3", "4", "5", "state.json"]
    assert host.generations.kept() == ["3", "4", "5"]


def test_going_back_and_forth_keeps_the_order_of_service(host: Host) -> None:
    for version in "1232":
        host.provision(version)
    assert host.generations.record.state()["served"] == ["1", "3", "2"]
    assert host.generations.record.serving() == "2"


def test_a_generation_that_failed_its_job_is_tried_again_and_the_old_one_serves(host: Host) -> None:
    host.provision("1")
    host.generations.make("2", host.components("2"), host.files("2"))
    assert host.generations.record.serving() == "1"
    seen = host.generations.look("2", host.components("2"), host.files("2"), False)
    assert (seen["to_make"], seen["to_prove"], seen["to_switch"]) == (False, True, True)


def test_what_failed_is_removed_when_another_one_serves(host: Host) -> None:
    host.provision("1")
    host.generations.make("2", host.components("2"), host.files("2"))
    host.provision("3")
    assert not (host.root / "generations" / "2").exists()
    assert not (host.root / "spark" / "2").exists()


def test_a_kill_between_record_and_link_converges(host: Host) -> None:
    host.provision("1")
    host.generations.make("2", host.components("2"), host.files("2"))
    orchard_tree.seal(host.root / "generations" / "2", {})
    orchard_tree.write_whole(host.root / "generations" / "state.json", json.dumps({"served": ["1", "2"], "bad": {}}))
    (host.root / ".current.new").symlink_to("nowhere")
    seen = host.provision("2")
    assert (seen["to_make"], seen["to_prove"], seen["to_switch"]) == (False, False, True)
    assert host.generations.record.state()["served"] == ["1", "2"]
    assert not (host.root / ".current.new").is_symlink()


def test_leftovers_of_kills_are_found_and_removed(host: Host) -> None:
    host.provision("1")
    for left in ("spark/.9.new", "spark/.9.tmp", "spark/9", "generations/.9.new", "model/9"):
        (host.root / left).mkdir(parents=True)
    (host.root / "downloads").mkdir()
    (host.root / "downloads" / "half.tar.gz").write_text("half")
    assert len(host.generations.removable()) == 6
    host.provision("1")
    assert host.generations.removable() == []
    assert sorted(path.name for path in (host.root / "spark").iterdir()) == ["1"]
    assert not (host.root / "model").exists()


def test_an_edited_or_added_file_is_repaired(host: Host) -> None:
    host.provision("1")
    conf = host.root / "generations" / "1" / "conf"
    (conf / "orchard.env").write_text("SPARK_HOME=/elsewhere\n")
    (conf / "extra.conf").write_text("")
    seen = host.provision("1")
    assert seen["to_make"]
    assert seen["drift"] == "conf/extra.conf was added; conf/orchard.env was edited"
    assert (conf / "orchard.env").read_text() == host.files("1")["orchard.env"]
    assert not host.provision("1")["to_make"]


def test_a_link_removed_by_hand_is_set_again(host: Host) -> None:
    host.provision("1")
    (host.root / "current").unlink()
    seen = host.provision("1")
    assert (seen["to_make"], seen["to_switch"]) == (False, True)
    assert host.generations.record.serving() == "1"


def back(host: Host, reason: str = "slow") -> dict[str, object]:
    """Go back, if one can, and return what was known before."""
    seen: dict[str, object] = host.generations.earlier()
    if not seen["problem"]:
        host.generations.record.leave(str(seen["target"]), reason)
    return seen


def test_going_back_twice_goes_one_further_and_then_says_that_there_is_none(host: Host) -> None:
    for version in "1234":
        host.provision(version)
    assert back(host)["changes"] == ["spark: 4 → 3", "conf/orchard.env"]
    assert host.generations.record.serving() == "3"
    assert back(host, "slower")["target"] == "2"
    assert host.generations.record.serving() == "2"
    assert "no generation left that served before 2 and is not marked as bad" in str(back(host)["problem"])
    assert host.generations.record.serving() == "2"
    assert host.generations.record.state()["bad"] == {"4": "slow", "3": "slower"}


def test_what_was_left_is_named_with_its_reason_and_stays_until_something_new_serves(host: Host) -> None:
    for version in "123":
        host.provision(version)
    back(host)
    seen = host.generations.look("3", host.components("3"), host.files("3"), False)
    assert seen["bad"] == "slow"
    assert seen["removable"] == []
    assert not host.generations.look("2", host.components("2"), host.files("2"), False)["to_switch"]
    host.provision("5")
    assert sorted(path.name for path in (host.root / "spark").iterdir()) == ["1", "2", "5"]
    assert back(host)["target"] == "2"


def test_what_was_left_and_is_taken_after_all_is_not_bad_any_more(host: Host) -> None:
    for version in "12":
        host.provision(version)
    back(host)
    assert host.provision("2")["bad"] == "slow"
    seen = host.generations.look("2", host.components("2"), host.files("2"), False)
    assert not (seen["bad"] or seen["to_make"] or seen["to_prove"] or seen["to_switch"])
    assert back(host)["target"] == "1"


def test_a_rollback_that_was_killed_before_the_link_moved_goes_to_the_same_when_it_is_run_again(host: Host) -> None:
    for version in "123":
        host.provision(version)
    state = {"served": ["1", "2", "3"], "bad": {"3": "slow"}}
    orchard_tree.write_whole(host.root / "generations" / "state.json", json.dumps(state))
    assert host.generations.look("3", host.components("3"), host.files("3"), False)["bad"] == "slow"
    assert back(host)["target"] == "2"


def test_nobody_goes_back_to_what_is_not_whole(host: Host) -> None:
    for version in "12":
        host.provision(version)
    orchard_tree.remove(host.root / "spark" / "1")
    assert f"1, which served before, lacks {host.root}/spark/1" in str(back(host)["problem"])
    (host.root / "generations" / "1" / "conf" / "orchard.env").write_text("edited")
    assert "is not as it was made (conf/orchard.env was edited)" in str(back(host)["problem"])
    assert host.generations.record.serving() == "2"


def test_the_two_good_ones_before_stay_whatever_was_left(host: Host) -> None:
    for version in "123":
        host.provision(version)
    back(host)
    for version in "45":
        host.provision(version)
    assert host.generations.kept() == ["2", "4", "5"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"served": 3, "bad": {}}'])
def test_a_lost_record_is_made_again_from_the_generations_themselves(host: Host, damage: str) -> None:
    for version in "1234":
        host.provision(version)
    back(host, "slow")
    before = host.generations.record.state()
    record = host.root / "generations" / "state.json"
    if damage:
        record.write_text(damage)
    else:
        record.unlink()
    seen = host.provision("3")
    assert seen["drift"] == "state.json " + ("was edited" if damage else "is missing")
    assert host.generations.record.state()["bad"] == before["bad"]
    assert {"2", "3"} <= set(host.generations.kept())
    assert host.provision("3")["drift"] == ""


def test_the_link_is_repaired_whatever_stands_in_its_place(host: Host) -> None:
    host.provision("1")
    link = host.root / "current"
    for damage in (
        lambda: link.symlink_to("/elsewhere/generations/1"),
        lambda: link.symlink_to("/tmp"),
        lambda: (link / "own").mkdir(parents=True),
        lambda: link.write_text(""),
    ):
        orchard_tree.remove(link)
        damage()
        seen = host.provision("1")
        assert seen["drift"] in ("current leads elsewhere", "current is no link")
        assert Path(link.readlink()) == host.root / "generations" / "1"
        assert host.provision("1")["drift"] == ""


def test_modes_of_the_folders_and_the_record_are_put_right_without_a_new_proof(host: Host) -> None:
    host.provision("1")
    conf = host.root / "generations" / "1" / "conf"
    for path, mode in ((host.root, 0o700), (host.root / "spark", 0o777), (conf, 0o777), (conf / "orchard.env", 0o600)):
        right = path.stat().st_mode
        link = (host.root / "current").lstat()
        path.chmod(mode)
        seen = host.provision("1")
        assert "has another mode or owner" in str(seen["drift"]), path
        assert not seen["to_prove"]
        assert path.stat().st_mode == right
        assert (host.root / "current").lstat() == link, "nothing else is touched"
        assert host.provision("1")["drift"] == ""


def test_nothing_is_removed_before_anything_serves(host: Host) -> None:
    host.components("1")
    assert host.generations.removable() == []


def test_the_difference_names_components_and_files_that_change(host: Host) -> None:
    host.provision("1")
    shown = host.generations.difference(host.components("2"), host.files("2"))
    assert [each["after_header"] for each in shown] == ["components", "orchard.env"]
    assert "spark/1" in shown[0]["before"]
    assert "spark/2" in shown[0]["after"]
    assert host.generations.difference(host.components("1"), host.files("1")) == []
