"""The job's user has its keys, nobody else has them, and where there are none no file pretends so."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest


@pytest.mark.parametrize("name", ["credentials", "config"])
def test_the_files_are_private(host: Any, name: str) -> None:
    with host.sudo():
        folder, file = host.file("/home/spark/.aws"), host.file(f"/home/spark/.aws/{name}")
        assert (folder.user, folder.mode) == ("spark", 0o700)
        assert (file.user, file.group, file.mode) == ("spark", "spark", 0o600)


def test_the_keys_are_those_that_were_given(host: Any) -> None:
    with host.sudo():
        text = host.file("/home/spark/.aws/credentials").content_string
        assert "aws_access_key_id = AKIAMADEUPFORMOLECULE\n" in text
        assert "aws_secret_access_key = made-up-for<molecule&never-used\n" in text


def test_s3a_finds_the_same_keys(host: Any) -> None:
    with host.sudo():
        folder, file = host.file("/home/spark/.hadoop"), host.file("/home/spark/.hadoop/core-site.xml")
        assert (folder.user, folder.mode) == ("spark", 0o700)
        assert (file.user, file.group, file.mode) == ("spark", "spark", 0o600)
        found = {each.findtext("name"): each.findtext("value") for each in ElementTree.fromstring(file.content_string)}  # noqa: S314  our own
        assert found == {"fs.s3a.access.key": "AKIAMADEUPFORMOLECULE", "fs.s3a.secret.key": "made-up-for<molecule&never-used"}


def test_without_keys_s3a_has_none_either(host: Any) -> None:
    with host.sudo():
        assert "property" not in host.file("/home/admin/.hadoop/core-site.xml").content_string


def test_keys_that_nobody_tried_are_known_to_be_so(host: Any) -> None:
    with host.sudo():
        assert host.file("/home/spark/.aws/orchard-unproven").mode == 0o600


def test_the_region_and_the_endpoint_are_known(host: Any) -> None:
    with host.sudo():
        text = host.file("/home/spark/.aws/config").content_string
        assert "region = eu-central-1\n" in text and "endpoint_url = http://store:7070\n" in text


def test_without_keys_there_is_no_credentials_file(host: Any) -> None:
    with host.sudo():
        assert host.file("/home/admin/.aws/config").contains("region = us-east-1")
        assert not host.file("/home/admin/.aws/credentials").exists


def test_a_link_of_the_user_led_root_nowhere(host: Any) -> None:
    with host.sudo():
        file = host.file("/opt/of-root")
        assert (file.user, file.mode, file.content_string) == ("root", 0o600, "Root's own.\n")
        assert not host.file("/home/spark/.aws/config").is_symlink


def test_the_secret_is_in_no_log(host: Any) -> None:
    with host.sudo():
        assert host.run("journalctl --no-pager | grep '[m]ade-up-for<molecule'").rc == 1
