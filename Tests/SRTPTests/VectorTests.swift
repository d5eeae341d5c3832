// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SRTP

@Suite("Published vectors: RFC 3711 appendix B, RFC 7714 sections 16 and 17")
struct VectorTests {
  @Test("Session keys follow from the master key, RFC 3711 B.3")
  func keyDerivation() throws {
    let keys = SRTPKeys(
      masterKey: Secret(hex("E1F97A0D3E018BE0D64FA32C06DE4139")),
      masterSalt: Secret(hex("0EC675AD498AFEEBB6960B3AABE6")))
    let session = try SessionKeys(from: keys, profile: .aes128CMHMACSHA1_80, purpose: .rtp)
    #expect(session.key.unredacted == hex("C61E7A93744F39EE10734AFE3FF7A087"))
    #expect(session.salt.unredacted == hex("30CBBC08863D8C85D49DB34A9AE1"))
    #expect(session.authenticationKey.unredacted == hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"))
    let longKey = try SessionKeys.derive(keys, label: 1, byteCount: 94).unredacted
    #expect(
      longKey
        == hex(
          "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098"
            + "6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"))
  }

  @Test("The keystream of AES in counter mode, RFC 3711 B.2")
  func counterMode() throws {
    let session = SessionKeys(
      key: Secret(hex("2B7E151628AED2A6ABF7158809CF4F3C")), salt: Secret(hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")),
      authenticationKey: Secret([UInt8](repeating: 7, count: 20)))
    var protector = try SRTPProtector(profile: .aes128CMHMACSHA1_80, rtp: session, rtcp: session)
    let packet = try protect(
      &protector, header: hex("80600000 00000000 00000000"), payload: [UInt8](repeating: 0, count: 48),
      index: 0)
    #expect(
      Array(packet[12..<60])
        == hex(
          "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"
        ))
  }

  static let rtpHeader = hex("8040f17b 8041f8d3 5501a0b2")
  static let rtpPayload = Array("Gallia est omnis divisa in partes tres".utf8)
  static let salt = hex("517569642070726f2071756f")

  static func sessionKeys(_ profile: SRTPProtectionProfile) -> SessionKeys {
    SessionKeys(key: Secret((0..<profile.keyByteCount).map { UInt8($0) }), salt: Secret(salt))
  }

  @Test(
    "SRTP packets, RFC 7714 sections 16.1 and 16.2",
    arguments: [
      (
        SRTPProtectionProfile.aeadAES128GCM,
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
          + "899d7f27beb16a9152cf765ee4390cce"
      ),
      (
        .aeadAES256GCM,
        "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
          + "7aa3db36dfffd6b0f9bb7878d7a76c13"
      ),
    ])
  func rtp(_ profile: SRTPProtectionProfile, _ expected: String) throws {
    let session = Self.sessionKeys(profile)
    var protector = try SRTPProtector(profile: profile, rtp: session, rtcp: session)
    let packet = try protect(&protector, header: Self.rtpHeader, payload: Self.rtpPayload, index: 0xf17b)
    #expect(packet == Self.rtpHeader + hex(expected))
    var unprotector = try SRTPUnprotector(profile: profile, rtp: session, rtcp: session)
    let plaintext = try unprotect(&unprotector, packet)
    #expect(plaintext == Self.rtpHeader + Self.rtpPayload)
  }

  static let rtcp = hex(
    "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
  )

  @Test(
    "SRTCP packets, RFC 7714 sections 17.1 and 17.2",
    arguments: [
      (
        SRTPProtectionProfile.aeadAES128GCM,
        "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa458"
          + "96cf4d2fc5abf87245d9eade800005d4"
      ),
      (
        .aeadAES256GCM,
        "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c"
          + "4446839f57ff6f6cb26ac3be800005d4"
      ),
    ])
  func rtcp(_ profile: SRTPProtectionProfile, _ expected: String) throws {
    let session = Self.sessionKeys(profile)
    var protector = try SRTPProtector(profile: profile, rtp: session, rtcp: session, rtcpIndex: 0x5d4)
    let packet = try protectRTCP(&protector, Self.rtcp)
    #expect(packet == Self.rtcp.prefix(8) + hex(expected))
    var unprotector = try SRTPUnprotector(profile: profile, rtp: session, rtcp: session)
    let plaintext = try unprotectRTCP(&unprotector, packet)
    #expect(plaintext == Self.rtcp)
  }

  @Test("The packets that libsrtp's own tests expect, from master keys")
  func libsrtp() throws {
    let header = hex("800f1234decafbadcafebabe")
    let payload = [UInt8](repeating: 0xab, count: 16)
    let keys = SRTPKeys(
      masterKey: Secret(hex("e1f97a0d3e018be0d64fa32c06de4139")),
      masterSalt: Secret(hex("0ec675ad498afeebb6960b3aabe6")))
    var protector = try SRTPProtector(profile: .aes128CMHMACSHA1_80, keys: keys)
    let packet = try protect(&protector, header: header, payload: payload, index: 0x1234)
    #expect(packet == header + hex("4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"))

    let gcmKeys = SRTPKeys(
      masterKey: Secret((0..<16).map { UInt8($0) }), masterSalt: Secret((0..<12).map { 0xa0 + UInt8($0) }))
    var gcmProtector = try SRTPProtector(profile: .aeadAES128GCM, keys: gcmKeys)
    let gcmPacket = try protect(&gcmProtector, header: header, payload: payload, index: 0x1234)
    #expect(gcmPacket == header + hex("c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392"))
  }

  /// Made with libsrtp 2.5.0 from the key bytes 3, 10, 17, ..., with CSRCs and an extension in the header.
  @Test(
    "What libsrtp protects we unprotect, and the other way round",
    arguments: [
      (
        SRTPProtectionProfile.aeadAES256GCM,
        "92e0000500000001000000070000000800000009bede0001103000009b72bc9d853d9e16cd3e766cfbfa389a3d"
          + "09c5c10e3f3f393e50d6db76a07452667f1618b0d8af12653c0b24600f4d9022e71036e9e783cc",
        "81c90007000000071ee148a3a82d0ad64143de6b0f73b096b91edd09e03269643e46f0372dea244b732eaf5158"
          + "bff09380000001"
      ),
      (
        .aeadAES128GCM,
        "92e0000500000001000000070000000800000009bede00011030000057cd31d7172a2976bb91c3c6c9ac1aa69d"
          + "f4cee4fa9599893ce34db70395e485e2a555b8bdf8ea65726b2056eb3bda23325d03f55ef86f99",
        "81c9000700000007007bcc904c66f39a5540f82de015077099d1cfb0aa74b0ee48eb3018c4894157c82c5334d0"
          + "80e18280000001"
      ),
      (
        .aes128CMHMACSHA1_80,
        "92e0000500000001000000070000000800000009bede000110300000ca4feebfa4d49564764645b6b00fc7176a"
          + "92eca41eea33c19b5fd46f624947d2de6d1730cf70cc882f8e857e81894edfe2da",
        "81c90007000000071db235e61e0557ddf92fc0bfae37bf9392fc2e5a74e4a2ea80000001fea0e373b0ed701c8c"
          + "73"
      ),
    ])
  func interoperation(_ profile: SRTPProtectionProfile, _ rtp: String, _ rtcp: String) throws {
    let key = (0..<64).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
    let keys = SRTPKeys(
      masterKey: Secret(Array(key.prefix(profile.keyByteCount))),
      masterSalt: Secret(Array(key.dropFirst(profile.keyByteCount).prefix(profile.saltByteCount))))
    let header = hex("92e00005 00000001 00000007 00000008 00000009 bede0001 10300000")
    let payload = [UInt8](0..<40)
    var protector = try SRTPProtector(profile: profile, keys: keys)
    let packet = try protect(
      &protector, header: header, prefix: [0, 1], payload: Array(payload[2...]), index: 5)
    #expect(packet == hex(rtp))
    var unprotector = try SRTPUnprotector(profile: profile, keys: keys)
    let plaintext = try unprotect(&unprotector, hex(rtp))
    #expect(plaintext == header + payload)
    let compound = try unprotectRTCP(&unprotector, hex(rtcp))
    #expect(compound == hex("81c9000700000007") + [UInt8](8..<32))
  }

  @Test("The exporter's output is cut in client key, server key, client salt, server salt, RFC 5764 4.2")
  func split() throws {
    for profile in SRTPProtectionProfile.allCases {
      let material = (0..<profile.keyingMaterialByteCount).map { UInt8($0) }
      let client = try SRTPKeys.split(Secret(material), profile: profile, isClient: true)
      let server = try SRTPKeys.split(Secret(material), profile: profile, isClient: false)
      #expect(client.local.masterKey == server.remote.masterKey)
      #expect(client.remote.masterSalt == server.local.masterSalt)
      let (key, salt) = (profile.keyByteCount, profile.saltByteCount)
      #expect(client.local.masterKey.unredacted == Array(material[..<key]))
      #expect(client.remote.masterKey.unredacted == Array(material[key..<(2 * key)]))
      #expect(client.local.masterSalt.unredacted == Array(material[(2 * key)..<(2 * key + salt)]))
      #expect(client.remote.masterSalt.unredacted == Array(material[(2 * key + salt)...]))
      #expect(throws: SRTPError.invalidKeyLength) {
        _ = try SRTPKeys.split(Secret(Array(material.dropLast())), profile: profile, isClient: true)
      }
    }
  }
}
