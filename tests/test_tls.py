"""A service behind TLS, and who trusts it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import trustme
from sections import made
from serving_doubles import FakePipeline, served

from mlsys import tls
from mlsys.errors import UserError
from mlsys.serving.scheduler import Scheduler


class Files(NamedTuple):
    """A certificate and its key."""

    certificate: str
    key: str


@pytest.fixture
def files(tmp_path: Path) -> Files:
    issued = trustme.CA().issue_cert("elsewhere.example")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    return Files(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


async def test_it_speaks_https_alone_and_is_trusted_by_its_certificate(files: Files) -> None:
    options = made("server/batch", tls_cert=files.certificate, tls_key=files.key)
    service = Scheduler(options, [FakePipeline()], made("batching/hybrid"))
    async with served(service, options) as (url, _), aiohttp.ClientSession() as session:
        secure = url.replace("http://", "https://")
        async with session.get(f"{secure}/health", ssl=tls.own(files.certificate) or True) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{secure}/health")
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{url}/health")
        body = b"x" * (options.max_body_bytes + 1)
        async with session.post(
            f"{secure}/rag", data=body, ssl=tls.own(files.certificate) or True
        ) as response:
            assert response.status == 413


def test_the_versions_that_are_broken_are_not_spoken(files: Files) -> None:
    context = tls.own(files.certificate)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls.own(None) is None


def test_half_of_a_pair_or_another_pair_is_one_line(files: Files, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"server\.tls_cert needs server\.tls_key beside it"):
        made("server/batch", tls_cert=files.certificate)
    with pytest.raises(UserError, match=r"server\.tls_key needs server\.tls_cert beside it"):
        made("server/batch", tls_key=files.key)
    with pytest.raises(UserError, match=r"tls_cert=nowhere.* No such file or directory"):
        made("server/batch", tls_cert="nowhere", tls_key=files.key)
    other = trustme.CA().issue_cert("other.example")
    other.private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    with pytest.raises(UserError, match=r"server\.tls_key=.*other\.pem"):
        made("server/batch", tls_cert=files.certificate, tls_key=str(tmp_path / "other.pem"))
