"""An object store that fails now and then: the run retries or stops clearly, and resumes to the same bytes."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from engine import Counted, FirstLetter, hashes, words, write_lines

from curate import Pipeline
from curate.errors import StoppedError, UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Faulty(BaseHTTPRequestHandler):
    """Passes requests on to a server; every `every`-th GET is answered with an error or cut off."""

    target = 0
    every = 0
    count = 0
    broken = 0
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        cls = type(self)
        cls.count += 1
        if cls.every and cls.count % cls.every == 0:
            cls.broken += 1
            if cls.broken % 2:
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.close_connection = True
                self.connection.close()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=20)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = _pass_on

    def log_message(self, format: str, *values: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Faulty]]:
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    _, port = moto.get_host_and_port()
    handler = type("Handler", (Faulty,), {"target": port, "every": 0, "count": 0, "broken": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="corpus")
    s3fs.S3FileSystem.clear_instance_cache()
    yield handler
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()
    moto.stop()


def upload(folder: Path) -> None:
    import boto3

    client = boto3.client("s3")
    for file in sorted(folder.iterdir()):
        client.put_object(Bucket="corpus", Key=f"in/{file.name}", Body=file.read_bytes())


def test_a_store_that_fails_now_and_then_changes_nothing(tmp_path: Path, proxy: type[Faulty]) -> None:
    for file in range(3):
        write_lines(tmp_path / "in" / f"{file}.jsonl", [{"id": f"{file}-{n}", "text": words(n, 5)} for n in range(30)])
    upload(tmp_path / "in")
    pipeline = Pipeline(steps=[Counted(low=20), FirstLetter()])
    expected = hashes(pipeline.run("s3://corpus/in/*.jsonl", tmp_path / "whole", workers=1).root)
    proxy.every = 3
    said: list[str] = []
    for _ in range(40):
        try:
            done = pipeline.run("s3://corpus/in/*.jsonl", tmp_path / "out", workers=1)
            break
        except (StoppedError, UsageError) as error:
            said.append(str(error))
    assert proxy.broken > 3
    assert "secret" not in "".join(said)
    assert hashes(done.root) == expected
    assert done.counts["quarantined"] == 0
