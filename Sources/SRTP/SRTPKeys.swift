// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import SansIO

/// A master key and salt of one direction.
public struct SRTPKeys: Sendable {
  /// As long as the profile's `keyByteCount`.
  public let masterKey: Secret<[UInt8]>
  /// As long as the profile's `saltByteCount`.
  public let masterSalt: Secret<[UInt8]>

  /// Puts a key and its salt together.
  public init(masterKey: Secret<[UInt8]>, masterSalt: Secret<[UInt8]>) {
    self.masterKey = masterKey
    self.masterSalt = masterSalt
  }

  /// Cuts what the DTLS exporter gave in client key, server key, client salt, server salt (RFC 5764 §4.2).
  ///
  /// Throws ``SRTPError/invalidKeyLength`` if the material is not as long as the profile asks for.
  public static func split(
    _ keyingMaterial: Secret<[UInt8]>, profile: SRTPProtectionProfile, isClient: Bool
  ) throws(SRTPError) -> (local: SRTPKeys, remote: SRTPKeys) {
    let material = keyingMaterial.unredacted
    let (key, salt) = (profile.keyByteCount, profile.saltByteCount)
    guard material.count == profile.keyingMaterialByteCount else { throw .invalidKeyLength }
    let client = SRTPKeys(
      masterKey: Secret(Array(material[..<key])),
      masterSalt: Secret(Array(material[(2 * key)..<(2 * key + salt)])))
    let server = SRTPKeys(
      masterKey: Secret(Array(material[key..<(2 * key)])),
      masterSalt: Secret(Array(material[(2 * key + salt)...])))
    return isClient ? (client, server) : (server, client)
  }
}

/// The keys that packets are protected with, derived from the master key (RFC 3711 §4.3).
struct SessionKeys: Sendable {
  let key: Secret<[UInt8]>
  let salt: Secret<[UInt8]>
  /// Empty for the AEAD profiles.
  let authenticationKey: Secret<[UInt8]>

  /// The first of three labels in a row: encryption key, authentication key, salt (RFC 3711 §4.3.2).
  enum Purpose: UInt8 {
    case rtp = 0
    case rtcp = 3
  }

  init(key: Secret<[UInt8]>, salt: Secret<[UInt8]>, authenticationKey: Secret<[UInt8]> = Secret([])) {
    self.key = key
    self.salt = salt
    self.authenticationKey = authenticationKey
  }

  /// Derives the keys for one purpose; the key derivation rate is 0, as DTLS-SRTP has it.
  init(from keys: SRTPKeys, profile: SRTPProtectionProfile, purpose: Purpose) throws(SRTPError) {
    guard keys.masterKey.unredacted.count == profile.keyByteCount,
      keys.masterSalt.unredacted.count == profile.saltByteCount
    else { throw .invalidKeyLength }
    func derive(_ label: UInt8, _ byteCount: Int) throws(SRTPError) -> Secret<[UInt8]> {
      try SessionKeys.derive(keys, label: purpose.rawValue + label, byteCount: byteCount)
    }
    key = try derive(0, profile.keyByteCount)
    authenticationKey = try derive(1, profile == .aes128CMHMACSHA1_80 ? 20 : 0)
    salt = try derive(2, profile.saltByteCount)
  }

  /// The pseudo-random function of RFC 3711 §4.3.3, AES in counter mode; a salt of 96 bits is filled up with zeros on
  /// the right (RFC 7714 §11).
  static func derive(_ keys: SRTPKeys, label: UInt8, byteCount: Int) throws(SRTPError) -> Secret<[UInt8]> {
    guard byteCount > 0 else { return Secret([]) }
    let salt = keys.masterSalt.unredacted
    var counter = salt + [UInt8](repeating: 0, count: 16 - salt.count)
    counter[7] ^= label
    guard let cipher = co_ctr_new(keys.masterKey.unredacted, keys.masterKey.unredacted.count) else {
      throw .cryptoFailed
    }
    defer { co_ctr_free(cipher) }
    let zeros = [UInt8](repeating: 0, count: byteCount)
    var stream = zeros
    guard co_ctr_apply(cipher, counter, zeros, byteCount, nil, 0, &stream) == 1 else { throw .cryptoFailed }
    return Secret(stream)
  }
}
