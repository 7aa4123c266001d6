"""What the filters of the role preflight make of a host's answers."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_loading import plugin

ROOT = Path(__file__).resolve().parents[2]
ANSWER = """Welcome to host!
orchard:sent=1000
orchard:time=1001
orchard:python=3.13.5
orchard:os=debian 13
orchard:os_name=Debian GNU/Linux 13 (trixie)
orchard:machine=x86_64
orchard:kernel=6.12.1
orchard:name=master
orchard:boot=6c7a
orchard:processor=avx2 avx512f
orchard:resolves=yes
orchard:systemd=yes
orchard:provisioned=no
orchard:sudo=yes
orchard:memory_kb=4096000
orchard:disk:/opt=/dev/sda1 7340032
orchard:disk:/var/lib=/dev/sda1 7340032
"""


preflight = plugin("filter/preflight")


def test_an_answer_is_read_through_a_login_banner() -> None:
    seen = preflight.preflight_seen({"stdout": ANSWER})
    assert seen["reachable"] and seen["sudo"] and seen["resolves"] and not seen["provisioned"]
    assert (seen["python"], seen["os"], seen["memory_mb"]) == ("3.13.5", "debian 13", 4000)
    assert seen["disks"]["/var/lib"] == {"device": "/dev/sda1", "free_mb": 7168}


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"unreachable": True, "msg": "Task failed: Connection refused"}, "Connection refused"),
        ({"rc": 1, "stdout": "This account is not available.", "stderr": ""}, "it answered nothing"),
        ({}, "it answered nothing"),
    ],
)
def test_a_silent_host_has_every_name_all_the_same(probe: dict[str, Any], words: str) -> None:
    seen = preflight.preflight_seen(probe)
    assert not seen["reachable"] and seen["error"] == words
    assert set(seen) == set(preflight.preflight_seen({"stdout": ANSWER}))


@pytest.mark.parametrize(
    ("answered", "now", "skew"),
    [(1001, 1003, 0), (940, 1002, -60), (1100, 1002, 98), (1000, 1500, 0), (0, 1002, 0)],
)
def test_only_a_sure_clock_error_counts(answered: int, now: int, skew: int) -> None:
    """A slow connection (answer 500 s late) is no clock error; the bounds are what the controller knows."""
    assert preflight.preflight_skew({"sent": 1000, "time": answered}, now) == skew


def test_folders_on_one_disk_need_their_sum() -> None:
    seen = preflight.preflight_seen({"stdout": ANSWER})
    assert preflight.preflight_short_disks(seen, {"/opt": 6000, "/var/lib": 1000}) == []
    short = preflight.preflight_short_disks(seen, {"/opt": 6000, "/var/lib": 2000})
    assert short == ["/opt and /var/lib: 7168 MB free, 8000 MB needed"]


def test_the_same_problem_on_two_hosts_is_said_once() -> None:
    rules = [
        {"id": "a", "holds": False, "reason": "A  is\n wrong.", "todo": "Mend it.", "source": ""},
        {"id": "b", "holds": True, "reason": "", "todo": "", "source": ""},
        {"id": "c", "holds": False, "reason": "C.", "todo": "D.", "source": "", "last": True},
        {"id": "d", "holds": False, "reason": "never", "todo": "", "source": ""},
    ]
    found = preflight.preflight_problems(rules)
    message = preflight.preflight_message({"one": found, "two": found, "three": []})
    lines = ["1. a (one, two): A is wrong.", "   What to do: Mend it.", "2. c (one, two): C.", "   What to do: D."]
    assert message.splitlines() == lines


def test_a_skipped_rule_is_shown_and_does_not_refuse() -> None:
    rules = [{"id": "a", "holds": False, "reason": "A.", "todo": "B.", "source": ""}]
    found = {"one": preflight.preflight_problems(rules, ["a"])}
    assert preflight.preflight_message(found) == ""
    assert preflight.preflight_message(found, "skipped").startswith("1. a (one)")


def test_the_probe_speaks_of_this_machine() -> None:
    probe = (ROOT / "roles/preflight/files/probe.sh").read_text()
    settings = "ORCHARD_SENT=5 ORCHARD_PYTHON=/no/python ORCHARD_ROOT=/no ORCHARD_FOLDERS='/tmp /no/such/folder'\n"
    done = subprocess.run(["/bin/sh", "-c", settings + probe], capture_output=True, text=True, check=False)
    seen = preflight.preflight_seen({"stdout": done.stdout})
    assert seen["reachable"] and seen["sent"] == 5 and abs(seen["time"] - time.time()) < 60
    assert seen["python"] == "" and seen["os"] and seen["machine"] and seen["name"]
    assert seen["memory_mb"] > 100 and set(seen["disks"]) == {"/tmp", "/no/such/folder"}


def answers(**changes: tuple[str, str]) -> dict[str, Any]:
    """Host → probe; each change replaces a word in the answer of the host of that name."""
    probes: dict[str, Any] = {"first": {"stdout": ANSWER}}
    for host, (old, new) in changes.items():
        probes[host] = {"stdout": ANSWER.replace("orchard:boot=6c7a", f"orchard:boot={host}").replace(old, new)}
    return {**probes, "gone": {"unreachable": True, "msg": "no route"}}


def test_two_names_for_one_machine_are_found_once() -> None:
    peers = {**answers(other=("", "")), "twin": {"stdout": ANSWER}}
    assert {host: preflight.preflight_twins(peers, host) for host in peers} == {
        "first": [],
        "other": [],
        "gone": [],
        "twin": ["first"],
    }


def test_another_system_or_processor_than_the_first_hosts_is_found() -> None:
    peers = answers(older=("(trixie)", "(bookworm)"), plain=("avx2 avx512f", "avx2"))
    systems = {host: preflight.preflight_others(peers, host, "os_name") for host in peers}
    assert systems == {"first": "", "older": "Debian GNU/Linux 13 (trixie)", "plain": "", "gone": ""}
    processors = {host: preflight.preflight_others(peers, host, "processor").strip() for host in peers}
    assert processors == {"first": "", "older": "", "plain": "avx2 avx512f", "gone": ""}


def test_a_warning_makes_no_host_wrong() -> None:
    problems = {"a": [{"level": "warn"}], "b": [{"level": "skipped"}, {"level": "refuse"}], "c": []}
    assert preflight.preflight_places(problems) == ["b"]
