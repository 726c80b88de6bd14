"""Certificates say what Kubernetes reads from them, and are made once."""

from __future__ import annotations

import concurrent.futures
import ipaddress
import ssl
import stat
import threading

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gpufleet_sandbox import certs, kubeconfig


@pytest.fixture
def authority(tmp_path):
    return certs.Authority(tmp_path / "pki")


def read(pair):
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def read_subject(pair):
    subject = read(pair).subject
    user = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return user, [entry.value for entry in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


@pytest.mark.parametrize(
    ("issue", "user", "groups", "usage"),
    [
        pytest.param(
            lambda authority: authority.issue_client("admin", "admin", ["system:masters"]),
            "admin",
            ["system:masters"],
            ExtendedKeyUsageOID.CLIENT_AUTH,
            id="administrator",
        ),
        pytest.param(
            lambda authority: authority.issue_kubelet_client("n1"),
            "system:node:n1",
            ["system:nodes"],
            ExtendedKeyUsageOID.CLIENT_AUTH,
            id="kubelet as client",
        ),
        pytest.param(
            lambda authority: authority.issue_kubelet_serving("n1", "10.250.0.11"),
            "system:node:n1",
            ["system:nodes"],
            ExtendedKeyUsageOID.SERVER_AUTH,
            id="kubelet as server",
        ),
    ],
)
def test_pairs_carry_user_groups_and_usage(authority, issue, user, groups, usage):
    pair = issue(authority)

    assert read_subject(pair) == (user, groups)
    assert list(read(pair).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    read(pair).verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.read_bytes()))


def test_serving_pair_names_its_hosts(authority):
    pair = authority.issue_serving("api", "api", ["localhost", "127.0.0.1"])
    names = read(pair).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_pairs_are_made_once(authority, tmp_path):
    first = authority.issue_client("admin", "admin").certificate.read_bytes()

    assert certs.Authority(tmp_path / "pki").issue_client("admin", "admin").certificate.read_bytes() == first


def test_a_pair_asked_for_by_many_at_once_is_one_pair(tmp_path):
    """Mixed halves of two pairs would be a certificate without its key."""
    start = threading.Barrier(8)

    def issue(_):
        start.wait()
        return certs.Authority(tmp_path / "pki").issue_client("proxy", "proxy")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        pairs = set(pool.map(issue, range(8)))

    assert len(pairs) == 1
    (pair,) = pairs
    context = ssl.create_default_context()
    context.load_cert_chain(pair.certificate, pair.key)
    authority = certs.Authority(tmp_path / "pki")
    read(pair).verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.read_bytes()))


def test_half_written_pair_is_made_again(authority, tmp_path):
    (tmp_path / "pki" / "admin.key").write_text("half")

    pair = authority.issue_client("admin", "admin")

    ssl.create_default_context().load_cert_chain(pair.certificate, pair.key)


def test_keys_are_private(authority):
    pairs = [authority.issue_client("admin", "admin"), authority.issue_signing_key("tokens")]

    assert [stat.S_IMODE(pair.key.stat().st_mode) for pair in pairs] == [0o600, 0o600]


def test_kubeconfig_embeds_everything(authority, tmp_path):
    pair = authority.issue_client("admin", "admin")
    path = kubeconfig.write(tmp_path / "config", "https://127.0.0.1:6443", authority.certificate, pair)
    config = yaml.safe_load(path.read_text())

    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    assert config["current-context"] == config["contexts"][0]["name"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
