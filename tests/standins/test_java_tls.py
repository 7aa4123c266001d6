"""The stand-in for Java speaks TLS: with a server it may trust, and not with one it may not."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from pathlib import Path

import pytest
from standin_support import run

pytest_plugins = ["standin_fixtures"]
_ASK = """
var stream = new java.net.URL(arguments[0]).openStream();
print(new java.util.Scanner(stream).useDelimiter("\\\\A").next());
"""


def _answer(listener: ssl.SSLSocket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except ssl.SSLError:
            continue  # a client that does not trust us
        except OSError:
            return
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntrusted")


@pytest.mark.parametrize("key", ["rsa:2048", "ec"])
def test_java_speaks_tls(java: Path, tmp_path: Path, key: str) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    kind = ["-newkey", key, *(["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [])]
    files: list[str | Path] = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"]
    assert run("openssl", "req", "-x509", "-nodes", *kind, *names, *files).status == 0
    trusted = tmp_path / "cacerts"
    shutil.copyfile(java / "lib/security/cacerts", trusted)
    keystore: list[str | Path] = ["-keystore", trusted, "-storepass", "changeit", "-noprompt"]
    assert run(java / "bin/keytool", "-importcert", *keystore, "-alias", "it", "-file", tmp_path / "certificate.pem").status == 0
    (tmp_path / "ask.js").write_text(_ASK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as plain, context.wrap_socket(plain, server_side=True) as listener:
        threading.Thread(target=_answer, args=(listener,), daemon=True).start()
        address = f"https://localhost:{listener.getsockname()[1]}/"
        options: list[str | Path] = ["-J-Djava.net.preferIPv4Stack=true", tmp_path / "ask.js", "--", address]
        assert "trusted" in run(java / "bin/jjs", f"-J-Djavax.net.ssl.trustStore={trusted}", *options).output
        assert "PKIX path building failed" in run(java / "bin/jjs", *options).output
