"""Certificate authorities for one test, and what they give to servers and clients."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


class Authority:
    """An authority whose own certificate lies in ``directory``."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory, self._count = directory, 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = directory / f"{name}.crt"
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = (
            self._begun(self._name, self._key, -DAY, DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(own, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def server(self, address: str = "127.0.0.1") -> Pair:
        """A certificate of a server on ``address``."""
        names = [x509.IPAddress(ipaddress.ip_address(address))]
        return self.issue("server", names, [ExtendedKeyUsageOID.SERVER_AUTH])

    def client(self, *names: x509.GeneralName, common: str = "client", ends: datetime.timedelta = DAY) -> Pair:
        """A certificate of a client."""
        return self.issue(common, names, [ExtendedKeyUsageOID.CLIENT_AUTH], ends)

    def issue(
        self,
        common: str,
        names: Sequence[x509.GeneralName],
        purposes: Sequence[x509.ObjectIdentifier],
        ends: datetime.timedelta = DAY,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        begun = (
            self._begun(subject, key, min(-DAY, ends - DAY), ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(issuer, critical=False)
        )
        if names:
            begun = begun.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = begun.sign(self._key, hashes.SHA256())
        self._count += 1
        stem = self._directory / f"{self._name.rdns[0].rfc4514_string()[3:]}-{self._count}"
        pair = Pair(stem.with_suffix(".crt"), stem.with_suffix(".key"))
        pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _begun(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime.timedelta, ends: datetime.timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
