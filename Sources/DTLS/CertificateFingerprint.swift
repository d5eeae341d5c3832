// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import SansIO

/// A hash of a certificate's DER form, as `a=fingerprint` carries it (RFC 8122 §5).
public struct CertificateFingerprint: Hashable, Sendable {
  /// A hash function by its name in RFC 8122 §5.
  public enum HashFunction: String, CaseIterable, Hashable, Sendable {
    /// Too weak to rely on; parsed so that it can be told from garbage.
    case sha1 = "sha-1"
    /// Not in use by WebRTC; parsed so that it can be told from garbage.
    case sha224 = "sha-224"
    /// What browsers send.
    case sha256 = "sha-256"
    /// Longer than most peers send.
    case sha384 = "sha-384"
    /// Longer than most peers send.
    case sha512 = "sha-512"

    /// How many bytes the digest has.
    public var digestByteCount: Int {
      switch self {
      case .sha1: 20
      case .sha224: 28
      case .sha256: 32
      case .sha384: 48
      case .sha512: 64
      }
    }

    /// Whether a match of this hash identifies a certificate; SHA-1 and SHA-224 do not (RFC 8122 §5.1).
    public var isStrong: Bool { digestByteCount >= 32 }

    /// The number of the function in COpenSSL.
    var code: CInt {
      switch self {
      case .sha1: CInt(CO_SHA1)
      case .sha224: CInt(CO_SHA224)
      case .sha256: CInt(CO_SHA256)
      case .sha384: CInt(CO_SHA384)
      case .sha512: CInt(CO_SHA512)
      }
    }
  }

  /// Which function made the digest.
  public let hashFunction: HashFunction
  /// The digest, of the function's length.
  public let digest: [UInt8]

  /// Makes a fingerprint, `nil` if the digest has not the function's length.
  public init?(hashFunction: HashFunction, digest: [UInt8]) {
    guard digest.count == hashFunction.digestByteCount else { return nil }
    self.hashFunction = hashFunction
    self.digest = digest
  }

  /// Parses the attribute's value, `sha-256 AB:CD:...`, in either case of letters.
  ///
  /// Throws ``ParseError/invalid(_:)`` for an unknown function and for a digest of another length.
  public init(parsing value: String) throws(ParseError) {
    guard value.utf8.count <= Self.attributeByteCountMax else { throw .invalid("fingerprint length") }
    let fields = value.split(separator: " ")
    guard fields.count == 2 else { throw .invalid("fingerprint fields") }
    guard let function = HashFunction(rawValue: fields[0].lowercased()) else {
      throw .invalid("fingerprint hash function")
    }
    let pairs = fields[1].split(separator: ":", omittingEmptySubsequences: false)
    guard pairs.count == function.digestByteCount else { throw .invalid("fingerprint digest length") }
    var digest: [UInt8] = []
    for pair in pairs {
      guard pair.utf8.count == 2, pair.utf8.allSatisfy({ $0 != 0x2b && $0 != 0x2d }),
        let byte = UInt8(pair, radix: 16)
      else { throw .invalid("fingerprint digit") }
      digest.append(byte)
    }
    hashFunction = function
    self.digest = digest
  }

  /// The longest value that is looked at: SHA-512 takes 199 characters.
  private static let attributeByteCountMax = 256

  /// The attribute's value, with upper-case digits as RFC 8122 wants them.
  public var attributeValue: String {
    let digits = digest.map { byte in
      let text = String(byte, radix: 16, uppercase: true)
      return byte < 16 ? "0" + text : text
    }
    return hashFunction.rawValue + " " + digits.joined(separator: ":")
  }

  /// Those fingerprints that the peer's certificate is checked against (RFC 8122 §5): of the strongest hash function
  /// among them; a match of any one suffices. Empty when there is no strong one.
  static func decisive(among fingerprints: [CertificateFingerprint]) -> [CertificateFingerprint] {
    let strong = fingerprints.filter(\.hashFunction.isStrong)
    guard let longest = strong.map(\.digest.count).max() else { return [] }
    return strong.filter { $0.digest.count == longest }
  }
}
