"""The cluster's certificates: one authority per sandbox, and the pairs that it signs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import ipaddress
import pathlib
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gpufleet_sandbox import locks

_VALIDITY = datetime.timedelta(days=365)
# Clocks of laptops jump; a certificate from the future would be refused.
_BACKDATE = datetime.timedelta(hours=1)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: pathlib.Path
    key: pathlib.Path


class Authority:
    """Signs certificates into one directory; what is there already is used again.

    Threads and processes may ask for the same pair at once: one makes it, all get it.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._pair = Pair(directory / "ca.crt", directory / "ca.key")
        with self._locked():
            if not self._pair.certificate.exists():
                self._create()
        self._key = _load_key(self._pair.key)
        self._certificate = x509.load_pem_x509_certificate(self._pair.certificate.read_bytes())

    @property
    def certificate(self) -> pathlib.Path:
        return self._pair.certificate

    def issue_client(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A pair that Kubernetes reads as `user` in `groups`."""
        return self._issue(name, build_subject(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def issue_serving(self, name: str, user: str, hosts: Iterable[str], groups: Sequence[str] = ()) -> Pair:
        """A pair for a server reached under any of `hosts`, names or IP addresses."""
        return self._issue(name, build_subject(user, groups), ExtendedKeyUsageOID.SERVER_AUTH, list(hosts))

    def issue_kubelet_client(self, node: str) -> Pair:
        return self.issue_client(f"kubelet-{node}", f"system:node:{node}", ["system:nodes"])

    def issue_kubelet_serving(self, node: str, address: str) -> Pair:
        hosts = [node, address, "127.0.0.1"]
        return self.issue_serving(f"kubelet-{node}-serving", f"system:node:{node}", hosts, ["system:nodes"])

    def issue_signing_key(self, name: str) -> Pair:
        """A key pair without a certificate, for service account tokens; `certificate` is the public key."""
        pair = Pair(self.directory / f"{name}.pub", self.directory / f"{name}.key")
        with self._locked():
            if not pair.certificate.exists():
                key = ec.generate_private_key(ec.SECP256R1())
                public = key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                _write(pair, public, key)
        return pair

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locks.hold(self.directory / ".lock")

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = build_subject("gpufleet-sandbox", ())
        builder = _builder(subject, subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        _write(self._pair, certificate.public_bytes(serialization.Encoding.PEM), key)

    def _issue(self, name: str, subject: x509.Name, usage: x509.ObjectIdentifier, hosts: list[str]) -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        with self._locked():
            if not pair.certificate.exists():
                self._sign(pair, subject, usage, hosts)
        return pair

    def _sign(self, pair: Pair, subject: x509.Name, usage: x509.ObjectIdentifier, hosts: list[str]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._certificate.subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([build_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        _write(pair, certificate.public_bytes(serialization.Encoding.PEM), key)


def build_subject(user: str, groups: Sequence[str]) -> x509.Name:
    """Kubernetes reads CN as the user and every O as a group."""
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def build_general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _VALIDITY)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(path: pathlib.Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an elliptic curve key")
    return key


def _write(pair: Pair, public: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    pair.key.parent.mkdir(parents=True, exist_ok=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The certificate comes last: its presence says that the pair is whole.
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(private)
    part = pair.certificate.with_suffix(".part")
    part.write_bytes(public)
    part.replace(pair.certificate)
