"""The stand-ins as their users meet them: site.yml, its roles, and people on the hosts that it set up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from standin_fixtures import ANACONDA, JAVA, SCALA, SPARK
from standin_support import FOLDER, MAKE, TOP, entries, make, run, start_make

pytest_plugins = ["standin_fixtures"]
pytestmark = pytest.mark.usefixtures("made")
_STACKS = yaml.safe_load((TOP / "group_vars/all/stacks.yml").read_text())["stacks"]
_JOB = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
squares = spark.sparkContext.parallelize(range(100), 2).map(lambda it: it * it).sum()
spark.range(10).write.parquet(sys.argv[1])
rows = spark.read.parquet(sys.argv[1]).groupBy().sum("id").first()[0]
hadoop = spark.sparkContext._jvm.org.apache.hadoop.util.VersionInfo.getVersion()
print("answer:", squares, rows, hadoop, "%d.%d" % sys.version_info[:2])
"""


def test_the_manifest_marks_each_file_and_knows_its_digests() -> None:
    found = entries()
    wanted = {_STACKS["spark-3.0"][part]["file"] for part in ("spark", "scala", "anaconda")}
    wanted.add(_STACKS["spark-3.0"]["java"]["archive"]["file"])
    assert wanted - found.keys() <= {ANACONDA}, "a file of the stack spark-3.0 has no stand-in"
    for name, entry in found.items():
        data = (FOLDER / name).read_bytes()
        assert entry["stand_in"] is True
        assert "stand-in" in entry["what"]
        assert entry["size"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["sha512"] == hashlib.sha512(data).hexdigest()


def test_the_sha512_of_spark_is_written_as_apache_wrote_it_then() -> None:
    text = (FOLDER / f"{SPARK}.sha512").read_text()
    name, _, digest = text.partition(":")
    assert name == SPARK
    assert len(digest.strip().splitlines()) > 1, "roles must be seen to cope with several lines"
    assert "".join(digest.split()).lower() == hashlib.sha512((FOLDER / SPARK).read_bytes()).hexdigest()


@pytest.mark.parametrize(("file", "stack"), [("overrides.yml", "spark-3.0"), ("overrides-hadoop3.2.yml", "spark-3.0-hadoop3.2")])
def test_the_overrides_send_a_stack_to_the_stand_ins(file: str, stack: str) -> None:
    overrides = yaml.safe_load((FOLDER / file).read_text())["stack_overrides"]
    assert ("spark" in overrides) == (stack == "spark-3.0")
    sources = {**overrides, "java": overrides["java"]["archive"]}
    for component, source in sources.items():
        of_stack = _STACKS[stack][component]
        assert source["url"] == f"file:///srv/standins/{of_stack.get('archive', of_stack)['file']}"
        if component != "spark":
            assert source["sha256"] == entries()[Path(source["url"]).name]["sha256"]


def test_java_is_java_8_and_trusts_what_browsers_trust(java: Path) -> None:
    assert re.search(r'version "1\.8\.0_\d+"', run(java / "bin/java", "-version").output)
    listed = run(java / "bin/keytool", "-list", "-keystore", java / "lib/security/cacerts", "-storepass", "changeit").output
    found = re.search(r"contains (\d+) entries", listed)
    assert found
    assert int(found.group(1)) > 100
    outside = [path for path in java.rglob("*") if path.is_symlink() and not path.resolve().is_relative_to(java)]
    assert outside == [], "links that lead out of the archive lead nowhere on a host"


def test_java_draws_and_reads_pictures_without_libraries_of_the_host(java: Path, tmp_path: Path) -> None:
    script = tmp_path / "picture.js"
    script.write_text("""
        var Image = Java.type("java.awt.image.BufferedImage"), io = Java.type("javax.imageio.ImageIO");
        var file = new java.io.File(arguments[0]);
        io.write(new Image(7, 5, Image.TYPE_INT_RGB), "jpg", file);
        print("width " + io.read(file).getWidth());
    """)
    picture = tmp_path / "picture.jpg"
    done = run(java / "bin/jjs", "-J-Djava.awt.headless=true", script, "--", picture)
    assert "width 7" in done.output
    assert picture.read_bytes().startswith(b"\xff\xd8")


def test_scala_answers_runs_and_compiles(java: Path, scala: Path, tmp_path: Path) -> None:
    environment = {"JAVA_HOME": str(java)}
    assert "version 2.12.10" in run(scala / "bin/scala", "-version", environment=environment).output
    assert run(scala / "bin/scala", "-e", "println(6 * 7)", environment=environment).output.strip() == "42"
    assert run(scala / "bin/scala", "-e", "sys.exit(3)", environment=environment).status == 3
    assert "got 21" in run(scala / "bin/scala", text='println(s"got ${20 + 1}")\n', environment=environment).output
    (tmp_path / "Hello.scala").write_text('object Hello extends App { println("hello " + args.mkString("|")) }\n')
    (tmp_path / "scala").symlink_to(scala / "bin/scala")
    told = run(tmp_path / "scala", tmp_path / "Hello.scala", "a b", "c", environment=environment)
    assert told.output.strip() == "hello a b|c"
    assert run(scala / "bin/scalac", "-d", tmp_path, tmp_path / "Hello.scala", environment=environment).status == 0
    environment = {"JAVACMD": str(java / "bin/java"), "JAVA_HOME": "/nowhere"}
    assert run(tmp_path / "scala", "-cp", tmp_path, "Hello", "x", environment=environment).output.strip() == "hello x"


def test_spark_has_the_jars_of_hadoop_2_7_and_none_of_3_2(spark: Path) -> None:
    wanted = {"LICENSE", "NOTICE", "RELEASE", "bin", "conf", "data", "examples", "jars", "licenses", "python", "sbin"}
    assert wanted <= {path.name for path in spark.iterdir()}
    jars = {path.name for path in (spark / "jars").iterdir()}
    assert {f"hadoop-{part}-2.7.4.jar" for part in ("common", "client", "hdfs", "auth", "annotations")} <= jars
    assert not [name for name in jars if name.startswith("hadoop-") and not name.endswith("-2.7.4.jar")]
    names = [re.sub(r"-\d.*", "", name) for name in jars - {"hive-shims-0.23-2.3.7.jar"} if "-tests" not in name]
    twice = {name for name in names if names.count(name) > 1}
    assert twice <= {"stax-api"}, "two versions of one library; Apache's own archive has only stax-api twice"


def test_spark_says_its_version_and_runs_a_job(spark: Path, java: Path, anaconda: Path, tmp_path: Path) -> None:
    environment = {"JAVA_HOME": str(java), "PYSPARK_PYTHON": str(anaconda / "bin/python"), "SPARK_LOCAL_IP": "127.0.0.1"}
    told = run(spark / "bin/spark-submit", "--version", environment=environment).output
    assert "version 3.0.3" in told
    assert "Using Scala version 2.12.10, OpenJDK 64-Bit Server VM, 1.8.0_" in told
    job = tmp_path / "job.py"
    job.write_text(_JOB)
    options = ["--master", "local[1]", "--conf", "spark.ui.enabled=false", "--driver-memory", "512m"]
    done = run(spark / "bin/spark-submit", *options, job, tmp_path / "table", environment=environment, folder=tmp_path)
    assert "answer: 328350 45 2.7.4 3.8" in done.output, done.output[-3000:]


def test_the_installer_brings_a_whole_python_from_its_own_prefix(anaconda: Path) -> None:
    wanted = "bz2, ctypes, curses, ensurepip, hashlib, lzma, multiprocessing, readline, sqlite3, ssl, uuid, venv, zlib"
    code = f"""
import {wanted}, json, sys
ssl.create_default_context(); sqlite3.connect(":memory:"); hashlib.sha3_256()
print(json.dumps([sys.prefix, [line.split()[-1] for line in open("/proc/self/maps") if ".so" in line]]))
"""
    done = run(anaconda / "bin/python3", "-c", code)
    assert done.status == 0, done.output
    prefix, libraries = json.loads(done.output)
    assert prefix == str(anaconda)
    everywhere = re.compile(r"/(ld-linux|libc|libm|libdl|libpthread|librt|libutil|libresolv)[-.]")
    others = {path for path in libraries if not path.startswith(str(anaconda)) and not everywhere.search(path)}
    assert others == set(), "a minimal host has not what this machine lent"
    assert {path.name.split("-")[0] for path in anaconda.glob("lib/python3.8/site-packages/*.dist-info")} == {"pip", "setuptools"}
    assert run(anaconda / "bin/conda", "info", "--base").output.strip() == str(anaconda)
    assert run(anaconda / "bin/conda", "install", "numpy").status == 2


def test_an_environment_of_that_python_serves_another_account(anaconda: Path) -> None:
    folder = anaconda.parent / "environment"
    assert run(anaconda / "bin/python", "-m", "venv", folder).status == 0
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    done = run(
        *as_nobody, folder / "bin/python", "-c", "import sys; print(sys.prefix, '%d.%d' % sys.version_info[:2])", folder=Path("/")
    )
    assert done.output.split() == [str(folder), "3.8"], done.output
    assert "pip" in run(folder / "bin/pip", "--version").output


def test_the_installer_refuses_an_existing_prefix_and_updates_one_when_told(anaconda: Path) -> None:
    done = run("bash", FOLDER / ANACONDA, "-b", "-p", anaconda)
    assert done.status == 1
    assert f"ERROR: File or directory already exists: '{anaconda}'" in done.output
    (anaconda / "lib/python3.8/ssl.py").unlink()
    assert run("bash", FOLDER / ANACONDA, "-b", "-u", "-p", anaconda).status == 0
    assert run(anaconda / "bin/python", "-c", "import ssl").status == 0


def test_a_truncated_installer_installs_nothing(anaconda: Path, tmp_path: Path) -> None:
    assert anaconda.is_dir()
    data = (FOLDER / ANACONDA).read_bytes()
    (tmp_path / "cut.sh").write_bytes(data[: len(data) // 2])
    done = run("bash", tmp_path / "cut.sh", "-b", "-p", tmp_path / "prefix")
    assert done.status == 1
    assert "mismatch" in done.output
    assert not (tmp_path / "prefix/bin").exists()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another folder for stand-ins, with the same downloads."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.downloads").symlink_to(FOLDER / ".downloads")
    return tmp_path / "other"


def test_a_second_call_makes_nothing(other: Path) -> None:
    assert "making" in make("--output", other, "--only", SCALA).output
    before = {path.name: path.stat().st_mtime_ns for path in other.iterdir() if path.name != ".lock"}
    assert "making" not in make("--output", other, "--only", SCALA).output
    assert {path.name: path.stat().st_mtime_ns for path in other.iterdir() if path.name != ".lock"} == before
    (other / SCALA).unlink()
    assert "making" in make("--output", other, "--only", SCALA).output


@pytest.mark.parametrize("name", [SCALA, JAVA])
def test_the_same_recipe_gives_the_same_bytes(name: str, other: Path) -> None:
    assert make("--output", other, "--only", name).status == 0
    assert entries(other)[name]["sha256"] == entries()[name]["sha256"]


def test_two_callers_wait_for_each_other(other: Path) -> None:
    callers = [start_make("--output", other, "--only", SCALA) for _ in range(2)]
    said = [caller.communicate()[0] for caller in callers]
    assert [caller.returncode for caller in callers] == [0, 0], said
    assert sum("making" in text for text in said) == 1


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6])
def test_after_a_kill_the_next_call_makes_it_whole(after: float, other: Path) -> None:
    caller = start_make("--output", other, "--only", SCALA)
    assert caller.stdout is not None
    assert "making" in caller.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        caller.wait(after)
    caller.kill()
    caller.communicate()
    assert make("--output", other, "--only", SCALA).status == 0
    assert (
        entries(other)[SCALA]["sha256"] == entries()[SCALA]["sha256"] == hashlib.sha256((other / SCALA).read_bytes()).hexdigest()
    )
    assert not list(other.glob(".making-*"))


def test_without_a_python_3_8_the_rest_is_made(other: Path) -> None:
    bare = {"HOME": str(other), "PYENV_ROOT": "", "PATH": "/usr/bin:/bin"}
    if shutil.which("python3.8", path=bare["PATH"]):
        pytest.skip("this machine has a Python 3.8 of its own")
    done = run(*MAKE, "--output", other, "--only", ANACONDA, "--only", SCALA, environment=bare)
    assert done.status == 0, done.output
    assert "not run: no Python 3.8" in done.output
    manifest = json.loads((other / "manifest.json").read_text())
    assert manifest["not_run"] == [{"name": ANACONDA, "why": "not run: no Python 3.8"}]
    assert set(yaml.safe_load((other / "overrides.yml").read_text())["stack_overrides"]) == {"scala"}


def test_another_address_is_written_where_hosts_look(other: Path) -> None:
    shutil.copyfile(FOLDER / SCALA, other / SCALA)
    shutil.copyfile(FOLDER / "manifest.json", other / "manifest.json")
    assert make("--output", other, "--only", SCALA, "--url", "http://mirror:8000/").status == 0
    overrides = yaml.safe_load((other / "overrides.yml").read_text())["stack_overrides"]
    assert overrides["scala"]["url"] == f"http://mirror:8000/{SCALA}"
