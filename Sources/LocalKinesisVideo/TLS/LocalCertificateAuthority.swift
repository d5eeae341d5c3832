// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import NIOSSL
public import SansIO
import SwiftASN1
import X509

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The stand-in's own certificate authority: whoever trusts its one certificate trusts all of its ports.
///
/// It is kept in a folder, or made anew for one run and forgotten. Certificates for ports are made at each start,
/// so that they name the addresses that the host has then.
public struct LocalCertificateAuthority: Sendable {
  /// How long an authority lives: ten years, since people import it by hand.
  static let authorityLifetime = 3650 * day
  /// How long a port's certificate lives: browsers refuse more than 398 days.
  static let serverLifetime = 397 * day
  /// Certificates begin a little earlier than they are made: clocks differ.
  static let clockSkew: TimeInterval = 3600
  private static let day: TimeInterval = 86_400
  /// Longest file that is read.
  private static let fileByteCountMax = 64 << 10

  private let key: P256.Signing.PrivateKey
  private let certificate: Certificate
  /// The certificate to trust, in PEM.
  public let certificatePEM: String

  // MARK: making and keeping

  /// Makes an authority that nothing remembers.
  public init() throws(LocalServerError) {
    do { try self.init(key: P256.Signing.PrivateKey(), at: Date()) } catch {
      throw .cannotCertify(reason: "\(error)")
    }
  }

  /// Reads the authority that a folder holds, or makes it there. Its key is the owner's alone to read.
  ///
  /// - Throws: What is wrong with the folder or with what it holds.
  public init(directory: String) throws(LocalServerError) {
    let path = Self.certificatePath(in: directory)
    let keyPath = directory + "/ca-key.pem"
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      if FileManager.default.fileExists(atPath: path) {
        try self.init(certificatePEM: Self.read(path), keyPEM: Self.read(keyPath))
        return
      }
      try self.init()
      try createFile(keyPath, key.pemRepresentation + "\n", mode: 0o600)
      try createFile(path, certificatePEM, mode: 0o644)
    } catch let error as LocalServerError {
      throw error
    } catch {
      throw .unreadableData(path: path)
    }
  }

  /// Where a folder holds the certificate to trust.
  public static func certificatePath(in directory: String) -> String { directory + "/ca.pem" }

  private init(key: P256.Signing.PrivateKey, at now: Date) throws {
    let name = try DistinguishedName {
      CommonName("kvs-webrtc local authority")
      OrganizationName("swift-kvs-webrtc")
    }
    let publicKey = Certificate.PublicKey(key.publicKey)
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
      notValidBefore: now - Self.clockSkew, notValidAfter: now + Self.authorityLifetime,
      issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: publicKey)
      },
      issuerPrivateKey: Certificate.PrivateKey(key))
    self.key = key
    self.certificate = certificate
    certificatePEM = try certificate.serializeAsPEM().pemString + "\n"
  }

  private init(certificatePEM: String, keyPEM: String) throws {
    key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
    certificate = try Certificate(pemEncoded: certificatePEM)
    self.certificatePEM = certificatePEM
    let isOurs = Certificate.PublicKey(key.publicKey) == certificate.publicKey
    guard isOurs, certificate.notValidAfter > Date() + Self.serverLifetime else {
      throw CocoaError(.fileReadCorruptFile)
    }
  }

  private static func read(_ path: String) throws -> String {
    let data = try Data(contentsOf: URL(filePath: path))
    guard data.count <= fileByteCountMax else { throw CocoaError(.fileReadTooLarge) }
    return String(decoding: data, as: UTF8.self)
  }

  // MARK: certificates for ports

  /// A certificate for this host and a new key, ready for a server's TLS.
  ///
  /// - Parameters:
  ///   - names: host names besides `localhost` and the host's own.
  ///   - addresses: addresses besides 127.0.0.1 and ::1.
  public func makeServerIdentity(
    names: [String] = [], addresses: [IPAddress] = []
  ) throws(LocalServerError) -> ServerIdentity {
    do {
      let serverKey = P256.Signing.PrivateKey()
      let leaf = try makeCertificate(
        for: serverKey.publicKey, names: Self.names(adding: names),
        addresses: Self.addresses(adding: addresses), at: Date())
      return ServerIdentity(
        certificatePEM: try leaf.serializeAsPEM().pemString + "\n",
        privateKeyPEM: Secret(serverKey.pemRepresentation))
    } catch {
      throw .cannotCertify(reason: "\(error)")
    }
  }

  private func makeCertificate(
    for serverKey: P256.Signing.PublicKey, names: [String], addresses: [IPAddress], at now: Date
  ) throws -> Certificate {
    let publicKey = Certificate.PublicKey(serverKey)
    let alternatives =
      names.map { GeneralName.dnsName($0) }
      + addresses.map { GeneralName.ipAddress(ASN1OctetString(contentBytes: $0.bytes[...])) }
    return try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
      notValidBefore: now - Self.clockSkew, notValidAfter: now + Self.serverLifetime,
      issuer: certificate.subject, subject: DistinguishedName { CommonName("kvs-webrtc local service") },
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames(alternatives)
        AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier)
      },
      issuerPrivateKey: Certificate.PrivateKey(key))
  }

  private static func names(adding names: [String]) -> [String] {
    var found = ["localhost"]
    var buffer = [CChar](repeating: 0, count: 256)
    if gethostname(&buffer, buffer.count - 1) == 0 {
      found.append(String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
    for name in names where !found.contains(name) { found.append(name) }
    return found.filter { !$0.isEmpty && $0.utf8.allSatisfy(ServiceNames.isNameByte) }
  }

  private static func addresses(adding addresses: [IPAddress]) -> [IPAddress] {
    var found = [IPAddress(ipv4: 0x7f00_0001), IPAddress(ipv6High: 0, low: 1)]
    for address in addresses where !found.contains(address) { found.append(address) }
    return found
  }

  /// A server's certificate and key.
  public struct ServerIdentity: Sendable {
    /// The certificate, in PEM.
    public let certificatePEM: String
    /// Its key, in PEM.
    let privateKeyPEM: Secret<String>

    /// What a server's TLS is made with; TLS 1.2 at least.
    func makeContext() throws(LocalServerError) -> NIOSSLContext {
      do {
        let certificates = try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(privateKeyPEM.unredacted.utf8), format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
          certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        return try NIOSSLContext(configuration: configuration)
      } catch {
        throw .cannotCertify(reason: "\(error)")
      }
    }
  }
}

extension IPAddress {
  /// The bytes of the address in network order: 4 or 16.
  fileprivate var bytes: [UInt8] {
    let words = family == .ipv4 ? [low << 32] : [high, low]
    let all = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
    }
    return Array(all.prefix(family == .ipv4 ? 4 : 16))
  }
}

/// Makes a file that has its rights from the start: nobody reads a key in between.
private func createFile(_ path: String, _ text: String, mode: mode_t) throws {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
  guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
  defer { close(descriptor) }
  let bytes = Array(text.utf8)
  guard write(descriptor, bytes, bytes.count) == bytes.count else { throw CocoaError(.fileWriteUnknown) }
}
