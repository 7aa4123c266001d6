"""Try the bucket as the job's user would: list, write, read, delete, through boto3 and S3A, each reading what the other wrote.

It only looks and tells; plugins/filter/s3_probe.py judges. Standard input is this program, so its settings come as one argument,
JSON without any secret: bucket, master, s3a (whether Spark is asked), unproven (a note that is there until all was well).
The last line of the output is JSON. Runs on Python 3.8 and newer.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import re
import socket
import ssl
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List
from urllib.parse import urlsplit

Steps = List[Dict[str, Any]]

TIMEOUT_S = 10
# One try each, or Hadoop goes on for minutes before it says what is wrong.
IMPATIENT = {
    "fs.s3a.attempts.maximum": "1",
    "fs.s3a.retry.limit": "1",
    "fs.s3a.retry.interval": "100ms",
    "fs.s3a.connection.establish.timeout": "5000",
    "fs.s3a.connection.timeout": "15000",
    "fs.s3a.impl.disable.cache": "true",
}
V4 = "com.amazonaws.services.s3.enableV4"
LONGEST = 600
CLASSES = {
    "hadoop_aws": "org/apache/hadoop/fs/s3a/S3AFileSystem.class",
    "hadoop_common": "org/apache/hadoop/fs/FileSystem.class",
    "sdk_v1": "com/amazonaws/AmazonClientException.class",
    "sdk_v2": "software/amazon/awssdk/core/SdkClient.class",
}


def short(text: object) -> str:
    """Return the text on one line, cut."""
    return " ".join(str(text).split())[:LONGEST]


class Keys:
    """The two objects of this probe, and what is in them."""

    def __init__(self) -> None:
        self.prefix = f"probe/{uuid.uuid4().hex}/"
        self.mine = {name: (f"{self.prefix}{name}", f"{name} {uuid.uuid4().hex}") for name in ("boto3", "s3a")}


def attempt(steps: Steps, action: str, call: Callable[[], Any], explain: Callable[[Exception], dict[str, Any]]) -> Any:
    """Note how `call` went as the step `action`; return its result, None after an error."""
    begun = time.monotonic()
    try:
        result = call()
    except Exception as error:  # whatever it is, it is to be told
        steps.append({"action": action, "ok": False, "seconds": round(time.monotonic() - begun, 1), **explain(error)})
        return None
    steps.append({"action": action, "ok": True, "seconds": round(time.monotonic() - begun, 1)})
    return result


def differs(expected: str, found: str) -> None:
    """Raise when what was read is not what was written."""
    if expected != found:
        raise ValueError(f"read {found[:40]!r}, although {expected[:40]!r} was written")


def explain_boto(error: Exception) -> dict[str, Any]:
    """Name the error, its code and its HTTP status."""
    response = getattr(error, "response", {}) or {}
    chain: list[list[str]] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < 6:  # noqa: PLR2004
        chain.append([type(cause).__name__, short(cause)])
        cause = getattr(cause, "kwargs", {}).get("error") or cause.__cause__ or cause.__context__
        cause = cause if isinstance(cause, BaseException) else None
    code = str((response.get("Error") or {}).get("Code") or "")
    return {"chain": chain, "code": code, "status": (response.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)}


def connect_boto() -> tuple[Any, Any, dict[str, Any], Any]:
    """Return the session, its client of S3, what is known of the endpoint and the keys, and the keys themselves."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    session = boto3.Session()
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S)
    client = session.client("s3", config=config)
    found = session.get_credentials()
    known = {
        "endpoint": client.meta.endpoint_url,
        "region": client.meta.region_name,
        "access_key": found.access_key if found else "",
        "from": found.method if found else "",
        "token": bool(found and found.token),
    }
    return session, client, known, found


def ask_boto(client: Any, bucket: str, keys: Keys, steps: Steps, action: str) -> bool:
    """List, write, read back or delete; say whether that went well."""
    key, text = keys.mine["boto3"]

    def read() -> None:
        differs(text, client.get_object(Bucket=bucket, Key=key)["Body"].read().decode())

    calls: dict[str, Callable[[], Any]] = {
        "list": lambda: client.list_objects_v2(Bucket=bucket, Prefix=keys.prefix, MaxKeys=10),
        "write": lambda: client.put_object(Bucket=bucket, Key=key, Body=text.encode()),
        "read": read,
        "delete": lambda: client.delete_object(Bucket=bucket, Key=key),
    }
    attempt(steps, action, calls[action], explain_boto)
    return bool(steps[-1]["ok"])


def clean(client: Any, bucket: str, keys: Keys) -> None:
    """Remove whatever either of them left, and the empty markers of folders that S3A makes."""
    for prefix in (keys.prefix, "probe/"):
        with contextlib.suppress(Exception):
            for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=100).get("Contents", []):
                if item["Key"].startswith(keys.prefix) or item["Key"] == "probe/":
                    client.delete_object(Bucket=bucket, Key=item["Key"])


def look_at_endpoint(url: str) -> dict[str, Any]:
    """Say whether the name resolves, whether TLS trusts the certificate, and by how much our clock is ahead."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found: dict[str, Any] = {"host": host, "resolves": True, "tls": "", "skew_s": None}
    try:
        socket.getaddrinfo(host, port)
    except socket.gaierror as error:
        return {**found, "resolves": False, "dns": short(error)}
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        if date:
            found["skew_s"] = round(time.time() - email.utils.parsedate_to_datetime(date).timestamp())
    except ssl.SSLError as error:
        found["tls"] = short(error)
    except (OSError, http.client.HTTPException) as error:
        found["network"] = short(error)
    finally:
        connection.close()
    return found


def explain_java(error: Exception) -> dict[str, Any]:
    """Follow the causes of a Java exception: class and message of each, and the first code and HTTP status."""
    cause = getattr(error, "java_exception", None)
    if cause is None:
        return {"chain": [[type(error).__name__, short(error)]], "code": "", "status": 0}
    chain: list[list[str]] = []
    code, status = "", 0
    while cause is not None and len(chain) < 10:  # noqa: PLR2004
        name = cause.getClass().getName()
        chain.append([name, short(cause.getMessage() or "")])
        if name.startswith("com.amazonaws.") and name.rsplit(".", 1)[-1] in ("AmazonS3Exception", "AmazonServiceException"):
            code, status = code or str(cause.getErrorCode() or ""), status or int(cause.getStatusCode())
        if name.startswith("software.amazon.awssdk.") and ".model." in name:
            details = cause.awsErrorDetails()
            code = code or str((details.errorCode() if details is not None else "") or "")
            status = status or int(cause.statusCode())
        cause = cause.getCause()
    if not status:
        told = re.search(r"Status Code: (\d{3})", " ".join(message for _, message in chain))
        status = int(told[1]) if told else 0
    return {"chain": chain, "code": code, "status": status}


class Spark:
    """Spark's Java with the generation's own settings; a context, which takes most of the time, only when a task is run."""

    def __init__(self, master: str) -> None:
        home = Path(os.environ["SPARK_HOME"])
        sys.path[:0] = [str(home / "python"), *map(str, (home / "python" / "lib").glob("py4j-*.zip"))]
        from pyspark import SparkConf, SparkContext  # noqa: PLC0415

        settings = SparkConf().setAppName("orchard-s3-probe").setMaster(master).set("spark.ui.enabled", "false")
        settings.setAll([(f"spark.hadoop.{name}", value) for name, value in IMPATIENT.items()])
        SparkContext._ensure_initialized(conf=settings)
        self.jvm, self.context = SparkContext._jvm, lambda: SparkContext.getOrCreate(settings)
        self.conf = self.jvm.org.apache.spark.SparkConf(True)
        self.hadoop = self.jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(self.conf)


def about_s3a(spark: Spark, found: Any) -> dict[str, Any]:
    """Versions, jars and settings of S3A; of keys only whether they are the same as boto3's."""
    jvm, hadoop = spark.jvm, spark.hadoop
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    jars = {}
    for name, path in CLASSES.items():
        place = loader.getResource(path)
        jars[name] = place.toString().split("!")[0].rsplit("/", 1)[-1] if place is not None else ""
    key, secret = hadoop.get("fs.s3a.access.key") or "", hadoop.get("fs.s3a.secret.key") or ""
    return {
        "spark": jvm.org.apache.spark.package.SPARK_VERSION(),
        "java": jvm.java.lang.System.getProperty("java.version"),
        "hadoop": jvm.org.apache.hadoop.util.VersionInfo.getVersion(),
        "jars": jars,
        "endpoint": hadoop.get("fs.s3a.endpoint") or "",
        "region": hadoop.get("fs.s3a.endpoint.region") or "",
        "path_style": hadoop.get("fs.s3a.path.style.access") == "true",
        "access_key": key,
        "same_access_key": bool(found) and key == found.access_key,
        "same_secret": bool(found) and secret == found.secret_key,
        "v4_driver": jvm.java.lang.System.getProperty(V4) not in (None, "false"),
        "v4_executors": f"-D{V4}" in spark.conf.get("spark.executor.extraJavaOptions", ""),
    }


def ask_s3a(spark: Spark, bucket: str, keys: Keys, steps: Steps) -> None:
    """Connect, list, write, read back; where that went well also in a task, and what boto3 wrote; delete."""
    jvm, root, (key, text) = spark.jvm, f"s3a://{bucket}/", keys.mine["s3a"]

    def path(name: str) -> Any:
        return jvm.org.apache.hadoop.fs.Path(root + name)

    def write() -> None:
        stream = files.create(path(key), True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def read() -> None:
        stream = files.open(path(key))
        try:
            differs(text, jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def read_in_task(name: str) -> None:
        their_key, their_text = keys.mine[name]
        differs(their_text, "".join(spark.context().textFile(root + their_key, 1).collect()))

    uri = jvm.java.net.URI(root)
    files = attempt(steps, "connect", lambda: jvm.org.apache.hadoop.fs.FileSystem.newInstance(uri, spark.hadoop), explain_java)
    if files is None:
        return
    attempt(steps, "list", lambda: len(files.listStatus(path(""))), explain_java)
    attempt(steps, "write", write, explain_java)
    if steps[-1]["ok"]:
        attempt(steps, "read", read, explain_java)
    if all(step["ok"] for step in steps):
        attempt(steps, "read_in_task", lambda: read_in_task("s3a"), explain_java)
        attempt(steps, "read_others", lambda: read_in_task("boto3"), explain_java)
    attempt(steps, "delete", lambda: files.delete(path(key), False), explain_java)


def ask(settings: dict[str, Any]) -> dict[str, Any]:
    """Ask boto3, and S3A when boto3 is refused nothing; return all that was seen."""
    bucket, keys = settings["bucket"], Keys()
    session, client, about, found = connect_boto()
    seen = {"bucket": bucket, "boto3": about, "s3a": {"steps": []}, "network": look_at_endpoint(about["endpoint"])}
    steps: Steps = about.setdefault("steps", [])
    if not bucket:
        attempt(steps, "identity", session.client("sts").get_caller_identity, explain_boto)
        return seen
    listed = ask_boto(client, bucket, keys, steps, "list")
    # A missing right says nothing of the others; everything else would only be met again.
    if settings["s3a"] and (listed or steps[0]["code"] == "AccessDenied"):
        written = ask_boto(client, bucket, keys, steps, "write")
        if written and ask_boto(client, bucket, keys, steps, "read") and listed:
            spark = Spark(settings["master"])
            seen["s3a"].update(about_s3a(spark, found))
            ask_s3a(spark, bucket, keys, seen["s3a"]["steps"])
        ask_boto(client, bucket, keys, steps, "delete")
        clean(client, bucket, keys)
    return seen


def main() -> None:
    """Print what was seen, and leave a note of whether it was well."""
    settings = json.loads(sys.argv[1])
    seen = ask(settings)
    well = all(step["ok"] for step in seen["boto3"]["steps"] + seen["s3a"]["steps"])
    if settings["unproven"]:
        note = Path.home() / settings["unproven"]
        with contextlib.suppress(OSError):
            note.unlink() if well else note.touch(mode=0o600)
    print(json.dumps(seen))
    sys.stdout.flush()
    os._exit(0)  # a client that hangs in a thread of Java's holds nobody up


if __name__ == "__main__":
    main()
