"""Filters of the role s3_probe: what a probe of the bucket has seen becomes a sentence: what is wrong, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Seen = Mapping[str, Any]
# A case (a key of s3_probe_sentences) and the words that its sentence needs beside those of _words.
Finding = tuple[str, dict[str, Any]]

RIGHTS = {
    "connect": "s3:ListBucket",
    "list": "s3:ListBucket",
    "write": "s3:PutObject",
    "read": "s3:GetObject",
    "read_in_task": "s3:GetObject",
    "read_others": "s3:GetObject",
    "delete": "s3:DeleteObject",
    "identity": "sts:GetCallerIdentity",
}
# Amazon refuses a signature whose time is off by more than 15 minutes.
MOST_SKEW_S = 900
IMDSV2 = "1.11.678"
# Hadoop's version from which on S3A is told the region.
REGION_KNOWN = [3, 3, 1]
FORBIDDEN, BAD_REQUEST, MOVED = 403, 400, 301
LINKAGE = re.compile(
    r"java\.lang\.(\w*(NoSuch(Method|Field)|NoClassDefFound|IllegalAccess|AbstractMethod|Verify|IncompatibleClassChange"
    r"|ExceptionInInitializer|UnsupportedClassVersion)Error|ClassNotFoundException)"
)
NO_KEYS = re.compile(
    r"NoCredentials|NoAuthWithAWS|NoAwsCredentials|CredentialInitialization|No AWS Credentials"
    r"|Unable to load (AWS )?credentials|Unable to locate credentials"
)
NETWORK = re.compile(
    r"refused|timed out|timeout|unreachable|No route|reset|NoHttpResponse|EndpointConnection|ConnectException|Connection closed",
    re.IGNORECASE,
)
TLS = re.compile(r"SSL|CertPath|PKIX|certificate", re.IGNORECASE)
CODES = {
    "InvalidAccessKeyId": "wrong_key",
    "InvalidClientTokenId": "wrong_key",
    "XAdminUserNotFound": "wrong_key",  # versitygw's word for it
    "SignatureDoesNotMatch": "wrong_secret",
    "ExpiredToken": "expired",
    "ExpiredTokenException": "expired",
    "InvalidToken": "expired",
    "RequestTimeTooSkewed": "clock",
    "AuthorizationHeaderMalformed": "region",
    "PermanentRedirect": "region",
    "IllegalLocationConstraintException": "region",
    "301": "region",
    "NoSuchBucket": "bucket",
}


def _texts(step: Seen) -> str:
    return " | ".join(f"{name}: {message}" for name, message in step.get("chain", []))


def _failed(steps: list[Seen]) -> list[Seen]:
    return [step for step in steps if not step["ok"]]


def _old(seen: Seen) -> bool:
    return str(seen["s3a"].get("hadoop", "")).startswith("2.")


def _skewed(seen: Seen) -> bool:
    return bool(abs(seen["network"].get("skew_s") or 0) > MOST_SKEW_S)


def _words(seen: Seen, step: Seen, who: str) -> dict[str, Any]:
    """Return what most sentences name."""
    skew = seen["network"].get("skew_s") or 0
    right = RIGHTS[step["action"]]
    return {
        "store": seen["boto3"]["endpoint"],
        "bucket": seen["bucket"],
        "key": seen["boto3"]["access_key"],
        "from": seen["boto3"]["from"],
        "region": seen["boto3"]["region"],
        "hadoop": seen["s3a"].get("hadoop", ""),
        "by_name": "",
        "who": who,
        "action": step["action"],
        "right": right,
        "place": seen["bucket"] if right == "s3:ListBucket" else f"{seen['bucket']}/probe/*",
        "off": f"{abs(skew)} seconds {'ahead of' if skew > 0 else 'behind'}" if _skewed(seen) else "too far from",
        "reason": _texts(step),
    }


def _network(seen: Seen, step: Seen, who: str, boto_works: bool) -> Finding | None:
    """Return what the network, its names or its certificates do to `who`, if that is it."""
    text, network = _texts(step), seen["network"]
    last = step["chain"][-1][1]
    if TLS.search(text):
        trust = (
            "Java's trust store (-Djavax.net.ssl.trustStore)"
            if boto_works
            else "the host's certificates and to Java's trust store"
        )
        return "tls", {"reason": network.get("tls") or last, "trust": trust}
    unknown = "UnknownHost" in text
    if not network["resolves"] and (who == "boto3" or unknown):
        return "dns", {"host": network["host"], "reason": network.get("dns") or "unknown host"}
    if unknown:
        how = "hadoop-aws 2.7 knows no path style; give the endpoint by its IP address, or let DNS know every name under it"
        how = how if _old(seen) else "set fs.s3a.path.style.access to true"
        return "virtual_host", {"asked": f"{seen['bucket']}.{network['host']}", "how": how}
    if NETWORK.search(text):
        return "unreachable", {"reason": network.get("network") or last}
    return None


def _boto(seen: Seen, step: Seen) -> Finding:
    """Say what is wrong by boto3, which gets a code for nearly everything."""
    code, status = str(step.get("code", "")), step.get("status", 0)
    if not seen["boto3"]["access_key"] or NO_KEYS.search(_texts(step)):
        return "no_keys", {}
    if network := _network(seen, step, "boto3", boto_works=False):
        return network
    case = CODES.get(code, "")
    if not case and code in ("404", "NotFound") and step["action"] in ("list", "write"):
        case = "bucket"
    if not case and status == FORBIDDEN:
        case = "clock" if _skewed(seen) else "right"
    return case or "unforeseen", {"who": f"boto3, {code}" if case == "right" else "boto3"}


def _version(jar: str) -> str:
    found = re.search(r"-(\d[\w.]*?)\.jar$", jar)
    return found[1] if found else "(none)"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _jars(seen: Seen, step: Seen) -> Finding:
    """Say which of the jars do not go together."""
    jars, hadoop = seen["s3a"]["jars"], seen["s3a"]["hadoop"]
    aws, sdk = _version(jars["hadoop_aws"]), jars["sdk_v2"] or jars["sdk_v1"]
    told = [f"{name.rsplit('.', 1)[-1]}: {message}" for name, message in step["chain"] if LINKAGE.match(name)]
    if not jars["hadoop_aws"]:
        what = f"Spark has Hadoop {hadoop} and no hadoop-aws, the jar in which S3A is"
    elif aws != hadoop:
        what = f"hadoop-aws is {aws}, but the Hadoop of this Spark is {hadoop}; they must be equal"
    elif not sdk:
        what = f"hadoop-aws {aws} is there without Amazon's SDK"
    else:
        what = f"hadoop-aws {aws} does not go with the SDK in {sdk}"
    return "jars", {"mismatch": what, "broken": told[-1] if told else _texts(step)}


def _keys_of_s3a(seen: Seen) -> Finding | None:
    """Return what is wrong with S3A's keys although boto3's work, by comparing the two."""
    s3a, boto = seen["s3a"], seen["boto3"]
    if boto["token"] and _old(seen):
        return "session_token", {}
    if not s3a["access_key"]:
        sdk = _version(s3a["jars"]["sdk_v1"])
        imds = f" Amazon's SDK {sdk} gets none from a role where the host requires IMDSv2, which is known since {IMDSV2}."
        return "no_keys_s3a", {"role": imds if [] < _numbers(sdk) < _numbers(IMDSV2) else ""}
    if boto["from"] != "shared-credentials-file" or (s3a["same_access_key"] and s3a["same_secret"]):
        return None
    return ("wrong_secret_s3a" if s3a["same_access_key"] else "wrong_key_s3a"), {}


def _s3a(seen: Seen, step: Seen, boto_works: bool) -> Finding:
    """Say what is wrong by S3A, whose 403 and 400 have no reason: boto3's answer to the same request tells more."""
    s3a, text, status = seen["s3a"], _texts(step), step.get("status", 0)
    # hadoop-aws 2.7 with Hadoop 3 ends in a NumberFormatException: it cannot read the defaults of the other.
    mixed = _version(s3a["jars"]["hadoop_aws"]) != s3a["hadoop"] and not status and "NumberFormatException" in text
    if mixed or LINKAGE.search(text) or "S3AFileSystem not found" in text:
        return _jars(seen, step)
    finding = _network(seen, step, "S3A", boto_works)
    # Without a signature Hadoop 2.7 asks as nobody, which is Forbidden.
    refused = status in (FORBIDDEN, BAD_REQUEST) or "AccessDenied" in text or NO_KEYS.search(text)
    region = CODES.get(step.get("code", "")) == "region"
    if not finding and refused and boto_works and not region:
        finding = _keys_of_s3a(seen)
        if not finding and _old(seen) and not s3a["v4_driver"] and step["action"] in ("connect", "list"):
            finding = "v2_signature", {}
        if not finding and _skewed(seen):
            finding = "clock", {}
    if not finding and boto_works and (status in (BAD_REQUEST, MOVED) or region):
        finding = "region", {"region": s3a["region"] or f"us-east-1, or that of its endpoint {s3a['endpoint'] or '(none)'}"}
        if _numbers(s3a["hadoop"]) < REGION_KNOWN:
            finding[1]["by_name"] = (
                f" Hadoop {s3a['hadoop']} goes by the name of the endpoint: a server of your own must be in us-east-1."
            )
    if not finding and ("UnknownStoreException" in text or re.search(r"NoSuchBucket|[Bb]ucket \S+ does not exist", text)):
        finding = "bucket", {}
    if not finding and (status == FORBIDDEN or "AccessDenied" in text):
        finding = "right", {}
    return finding or ("unforeseen", {})


def findings(seen: Seen) -> list[Finding]:
    """Return what is wrong, with all words that its sentence needs; nothing where all is well."""
    found: list[Finding] = []
    boto, s3a = _failed(seen["boto3"]["steps"]), _failed(seen["s3a"]["steps"])
    for step in boto:
        case, words = _boto(seen, step)
        # Each missing right is told; of anything else the first step says it all.
        if step is boto[0] or case == found[0][0] == "right":
            found.append((case, {**_words(seen, step, "boto3"), **words}))
    if s3a:
        case, words = _s3a(seen, s3a[0], boto_works=not boto)
        # S3A is refused for what boto3 has a word for: said once.
        if not boto or case in ("jars", "virtual_host"):
            found.append((case, {**_words(seen, s3a[0], "S3A"), **words}))
    if not found and seen["s3a"].get("hadoop") and _old(seen) and not seen["s3a"]["v4_executors"]:
        found.append(("v2_signature_executors", {}))
    return found


def _seen(answer: Mapping[str, Any]) -> Seen | None:
    """Read the JSON that the probe printed last."""
    for line in reversed(str(answer.get("stdout") or "").splitlines()):
        if line.startswith("{"):
            try:
                return dict(json.loads(line))
            except ValueError:
                continue
    return None


def s3_probe_verdict(answer: Mapping[str, Any], sentences: Mapping[str, Mapping[str, str]], host: str) -> dict[str, Any]:
    """Judge the registered result of the probe on `host`: {ok, cases, message}."""
    seen = _seen(answer)
    if seen is None:
        said = "\n".join(str(answer.get(name) or "") for name in ("stdout", "stderr", "msg")).splitlines()
        last = " | ".join([line for line in said if line.strip()][-6:])
        message = (
            f"The probe of the bucket could not run on {host}; its last lines: {last}. "
            "What to do: see to what they name (Java, Spark, Python of the generation), and run site.yml again."
        )
        return {"ok": False, "cases": ["no_answer"], "message": message}
    found = findings(seen)
    lines = [f"s3://{seen['bucket']} cannot be used from {host} as the job needs it."]
    for case, words in found:
        lines += [sentences[case]["why"].format_map(words), "   What to do: " + sentences[case]["todo"].format_map(words)]
    return {"ok": not found, "cases": [case for case, _ in found], "message": "\n".join(lines) if found else ""}


def s3_probe_story(answer: Mapping[str, Any], host: str) -> str:
    """Say in one line what worked."""
    seen = _seen(answer)
    if seen is None or not seen["s3a"].get("spark"):
        return f"{host}: the probe has not run."
    s3a = seen["s3a"]
    seconds = sum(step["seconds"] for step in seen["boto3"]["steps"] + seen["s3a"]["steps"])
    about = f"Spark {s3a['spark']}, Java {s3a['java']}, {s3a['jars']['hadoop_aws']}"
    return (
        f"{host}: list, write, read (also in a task, and what the other wrote) and delete work on s3://{seen['bucket']} "
        f"through boto3 and through S3A ({about}), {seconds:.0f} s."
    )


class FilterModule:
    """Makes the functions above known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"s3_probe_verdict": s3_probe_verdict, "s3_probe_story": s3_probe_story}
