# SPDX-License-Identifier: Apache-2.0
"""coturn, the TURN server that others wrote, on the Internet of the tests, with a certificate of their own authority."""

import datetime
import ipaddress
import socket
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from network import COTURN, COTURN6
from programs import wait_for

USER, PASSWORD, REALM = "camera", "a-password-for-coturn", "coturn.example"
# Not the usual ports, which the stand-in may have on all addresses.
PORT, TLS_PORT = 13478, 15349


def make_certificates(folder, addresses):
    """Writes ca.pem, server.pem and server.key into `folder`; the server's certificate names its addresses."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, key, issuer, issuer_key, is_authority, names):
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer_key, hashes.SHA256()))

    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("tests", authority_key, "tests", authority_key, True, [x509.DNSName("tests")])
    server = certificate(
        "coturn", server_key, "tests", authority_key, False,
        [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses])
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def bracketed(host):
    """An address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


class Coturn:
    """One run of coturn."""

    def __init__(self, folder, internet):
        self.authority = folder / "ca.pem"
        self.log_path = folder / "coturn.log"
        make_certificates(folder, [COTURN, COTURN6])
        configuration = folder / "turnserver.conf"
        configuration.write_text("\n".join([
            f"listening-ip={COTURN}", f"listening-ip={COTURN6}", f"relay-ip={COTURN}", f"relay-ip={COTURN6}",
            f"listening-port={PORT}", f"tls-listening-port={TLS_PORT}",
            "lt-cred-mech", f"user={USER}:{PASSWORD}", f"realm={REALM}", "fingerprint",
            f"cert={folder}/server.pem", f"pkey={folder}/server.key", f"userdb={folder}/turndb",
            f"pidfile={folder}/turnserver.pid", "no-cli", "no-multicast-peers", "log-file=stdout", "verbose", ""]))
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [*internet.launcher, "turnserver", "-c", configuration],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, cwd=folder)
        wait_for(lambda: all(self._answers(internet, port) for port in (PORT, TLS_PORT)), "coturn listens")

    def _answers(self, internet, port):
        if self.process.poll() is not None:
            raise AssertionError(f"coturn ended:\n{self.log_path.read_text(errors='replace')}")
        with internet.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            return probe.connect_ex((COTURN, port)) == 0

    @staticmethod
    def url(transport, host=COTURN):
        """A server's URL for `udp`, `tcp` or `tls`."""
        host = bracketed(host)
        if transport == "tls":
            return f"turns:{host}:{TLS_PORT}?transport=tcp"
        return f"turn:{host}:{PORT}?transport={transport}"

    @staticmethod
    def stun_url(host=COTURN):
        return f"stun:{bracketed(host)}:{PORT}"

    def allocations(self):
        """How many allocations it has made."""
        return self.log_path.read_text(errors="replace").count("ALLOCATE processed, success")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
