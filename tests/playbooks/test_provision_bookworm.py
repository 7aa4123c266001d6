"""The same on Debian 12: another Python, and the Java that this release has."""

from __future__ import annotations

from lab_components import lay
from provisioning import NOTHING, a_site


def test_debian_12_is_provisioned_with_its_own_java_and_python() -> None:
    with a_site("provision-12", lab_release="bookworm") as site:
        dry = site.provision("--check", "--flush-cache")
        assert dry.status == 0, dry.output[-6000:]
        # Spark is the same on each Debian.
        lay(site.lab, "master", only="spark")
        first = site.provision("--flush-cache")
        assert first.status == 0, first.output[-6000:]
        assert site.provision().changed() == NOTHING
        assert site.shell("/opt/orchard/current/java/bin/java -version 2>&1 | grep -c 'version \"17'") == "1"
        assert site.shell("/opt/orchard/current/python_env/bin/python --version").startswith("Python 3.11")
