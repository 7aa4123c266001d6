"""What playbooks/status.yml says: every host in two lines, what differs between hosts, what runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Callable

Answer = Mapping[str, Any]
GIGA = 1024


def gigabytes(megabytes: float) -> str:
    """Return MB as GB with one digit."""
    return f"{megabytes / GIGA:.1f}"


def _units(answer: Answer) -> str:
    names = {name.removeprefix("orchard-").removesuffix(".service"): state for name, state in answer["units"].items()}
    return ", ".join(f"{name} {state}" for name, state in names.items()) or "no daemons"


def _host(name: str, answer: Answer | None, worker: Mapping[str, Any], width: int, provision: str) -> list[str]:
    if not answer:
        return [f"  {name:<{width}}  does not answer, or is not provisioned: `{provision}` says which"]
    memory = answer["memory_mb"]
    used = (
        f"; executors have {worker['coresused']} of {worker['cores']} cores,"
        f" {gigabytes(worker['memoryused'])} of {gigabytes(worker['memory'])} GB"
        if worker
        else ""
    )
    free = ", ".join(f"{folder} {gigabytes(space)} GB" for folder, space in answer["free_mb"].items())
    return [
        f"  {name:<{width}}  generation {answer['generation'] or 'none'}; {_units(answer)}{used}",
        f"  {'':<{width}}  {answer['processors']} processors, load {answer['load']:.1f};"
        f" memory {gigabytes(memory['available'])} of {gigabytes(memory['total'])} GB free; disk free: {free}",
    ]


def _facts(answer: Answer) -> dict[str, str]:
    return {
        "system": answer["system"],
        "Python of the system": answer["python"],
        "processor": " ".join(answer["processor"]) or "plain",
        **answer["components"],
    }


def status_differences(answers: Mapping[str, Answer | None]) -> list[str]:
    """Return one phrase for each thing in which hosts differ: which host has what, the most frequent first.

    Then one for each daemon of the cluster that does not run from what its host would start now.
    """
    facts = {host: _facts(answer) for host, answer in answers.items() if answer and answer["generation"]}
    found = []
    for name in sorted({name for each in facts.values() for name in each}):
        values = Counter(each.get(name, "none") for each in facts.values())
        if len(values) > 1:
            told = (
                f"{value} on {', '.join(host for host in facts if facts[host].get(name, 'none') == value)}"
                for value, _ in values.most_common()
            )
            found.append(f"{name}: {'; '.join(told)}")
    late = (
        f"{unit.removesuffix('.service')} on {host} still runs from the generation {name}: site.yml restarts it"
        for host, answer in answers.items()
        if answer
        for unit, name in answer["serving"].items()
        if name != answer["generation"]
    )
    return [*found, *late]


def _run(run: Mapping[str, Any]) -> str:
    event = run["event"]
    kind = event.get("event")
    if kind == "done":
        return f"  {run['run_id']}  done: {event.get('rows')} rows, {event.get('rejected')} rejected"
    if not run["active"]:
        return f"  {run['run_id']}  not running; {event.get('what') or 'it ended without a word'}"
    rate = f", {event['rate']:.1f} images/s" if event.get("rate") else ""
    total = f" of {event['total']}" if event.get("total") else ""
    left = f", {event['eta_s']:.0f} s left" if event.get("eta_s") else ""
    return f"  {run['run_id']}  runs: {event.get('stage', 'starting')} {event.get('done', 0)}{total}{rate}{left}"


def status_answer(registered: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what status.py said, by the result of its task; None if it said nothing."""
    return dict(json.loads(registered["stdout"])) if registered.get("rc") == 0 else None


def status_story(answers: Mapping[str, Answer | None], provision: str) -> str:
    """Return the whole story.

    answers: host → what status.py said, None if it said nothing; provision: the command that runs site.yml on these hosts.
    """
    page: Mapping[str, Any] = next((answer["cluster"] for answer in answers.values() if answer and answer["cluster"]), {})
    # Workers that were lost stay on the page for a while, dead.
    workers = {worker["host"]: worker for worker in page.get("workers", []) if worker["state"] != "DEAD"}
    width = max(map(len, answers), default=0)
    lines = []
    if page:
        alive = sum(worker["state"] == "ALIVE" for worker in workers.values())
        lines.append(
            f"Cluster {page['url']}: {alive} workers alive, {page['coresused']} of {page['cores']} cores and"
            f" {gigabytes(page['memoryused'])} of {gigabytes(page['memory'])} GB in use"
        )
    lines.append("Hosts")
    for host, answer in answers.items():
        address = answer["worker_address"] if answer else ""
        lines += _host(host, answer, workers.get(address, {}), width, provision)
        if page and address and address not in workers:
            lines.append(
                f"  {'':<{width}}  THE MASTER DOES NOT COUNT IT: journalctl -u orchard-spark-worker there; site.yml puts it right"
            )
    differences = status_differences(answers)
    lines.append("Differences between hosts: " + ("none" if not differences else ""))
    lines += [f"  {difference}" for difference in differences]
    if page:
        told = [
            f"  {app['name']}  {app['cores']} cores, {app['duration'] // 1000} s, {app['state']}" for app in page["activeapps"]
        ]
        lines += ["Applications: " + ("none" if not told else ""), *told]
    found = [_run(run) for answer in answers.values() if answer for run in answer["runs"]]
    lines += ["Last runs: " + ("none" if not found else ""), *found]
    return "\n".join(line.rstrip() for line in lines)


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return name → function."""
        return {"status_answer": status_answer, "status_story": status_story, "status_differences": status_differences}
