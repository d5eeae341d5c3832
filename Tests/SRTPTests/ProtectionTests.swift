// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SRTP

@Suite("SRTP and SRTCP between two ends, RFC 3711 and RFC 7714")
struct ProtectionTests {
  @Test(
    "A header with CSRCs and an extension stays in the clear, prefix and payload come back joined",
    arguments: SRTPProtectionProfile.allCases)
  func clearHeader(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    let header = hex("92e00001 00000010 00000007 00000008 00000009 bede0001 10300000")
    let payload = [UInt8](0..<100)
    let packet = try protect(
      &direction.protector, header: header, prefix: [0xaa, 0xbb], payload: payload, index: 1)
    #expect(packet.count == header.count + 102 + profile.rtpOverheadByteCount)
    #expect(Array(packet.prefix(header.count)) == header)
    #expect(
      !packet.contains(where: { $0 == 0xaa }) || Array(packet[header.count...].prefix(2)) != [0xaa, 0xbb])
    let plaintext = try direction.unprotect(packet)
    #expect(plaintext == header + [0xaa, 0xbb] + payload)
  }

  @Test("Payloads of every length up to 300 bytes come back", arguments: SRTPProtectionProfile.allCases)
  func lengths(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var random = RandomSource(seed: 3)
    for count in 0...300 {
      let payload = random.bytes(count)
      let packet = try direction.protect(Int64(count), payload: payload)
      let plaintext = try direction.unprotect(packet)
      #expect(Array(plaintext.dropFirst(12)) == payload)
    }
    let long = random.bytes(60_000)
    let packet = try direction.protect(1000, payload: long)
    let plaintext = try direction.unprotect(packet)
    #expect(Array(plaintext.dropFirst(12)) == long)
  }

  @Test(
    "Compound RTCP packets come back, each under an index of its own",
    arguments: SRTPProtectionProfile.allCases)
  func rtcp(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var seen: Set<[UInt8]> = []
    for blocks in 0..<31 {
      let compound = rtcpPacket(ssrc: 7, blocks: blocks) + rtcpPacket(ssrc: 8)
      let packet = try protectRTCP(&direction.protector, compound)
      #expect(packet.count == compound.count + profile.rtcpOverheadByteCount)
      let plaintext = try unprotectRTCP(&direction.unprotector, packet)
      #expect(plaintext == compound)
      seen.insert(packet)
    }
    #expect(seen.count == 31)
  }

  @Test(
    "T16 no packet with a flipped bit or a missing tail is delivered",
    arguments: SRTPProtectionProfile.allCases)
  func damage(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var failures = 0
    for index in 0..<20 as Range<Int64> {
      let packet = try direction.protect(index, payload: [UInt8](repeating: 5, count: 20))
      for bit in 0..<(packet.count * 8) {
        var damaged = packet
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(throws: SRTPError.self) { try unprotect(&direction.unprotector, damaged) }
        failures += 1
      }
      for count in 0..<packet.count {
        #expect(throws: SRTPError.self) { try unprotect(&direction.unprotector, Array(packet.prefix(count))) }
      }
      let streams = direction.unprotector.streamCounts
      #expect(streams.rtp == (index == 0 ? 0 : 1))
      _ = try direction.unprotect(packet)
    }
    #expect(failures > 5000)
  }

  @Test(
    "T16 T31 no RTCP packet with a flipped bit, a missing tail or a clear E bit is delivered",
    arguments: SRTPProtectionProfile.allCases)
  func rtcpDamage(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    let packet = try protectRTCP(&direction.protector, rtcpPacket(ssrc: 7, blocks: 1))
    for bit in 0..<(packet.count * 8) {
      var damaged = packet
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: SRTPError.self) { try unprotectRTCP(&direction.unprotector, damaged) }
    }
    for count in 0..<packet.count {
      #expect(throws: SRTPError.self) {
        try unprotectRTCP(&direction.unprotector, Array(packet.prefix(count)))
      }
    }
    var clear = packet
    let wordOffset = profile == .aes128CMHMACSHA1_80 ? packet.count - 14 : packet.count - 4
    clear[wordOffset] &= 0x7f
    #expect(throws: SRTPError.notEncrypted) { try unprotectRTCP(&direction.unprotector, clear) }
    let streams = direction.unprotector.streamCounts
    #expect(streams.rtcp == 0)
    _ = try unprotectRTCP(&direction.unprotector, packet)
  }

  @Test(
    "T31 random packets of every length are refused without a trap", arguments: SRTPProtectionProfile.allCases
  )
  func random(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var random = RandomSource(seed: 31)
    for round in 0..<3000 {
      var packet = random.bytes(round % 150)
      if !packet.isEmpty, round % 2 == 0 { packet[0] = 0x80 | packet[0] & 0x3f }
      #expect(throws: SRTPError.self) { try unprotect(&direction.unprotector, packet) }
      #expect(throws: SRTPError.self) { try unprotectRTCP(&direction.unprotector, packet) }
    }
  }

  @Test(
    "T31 headers that claim more than the packet holds are refused", arguments: SRTPProtectionProfile.allCases
  )
  func longHeaders(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var packet = try direction.protect(1, payload: [UInt8](repeating: 0, count: 8))
    packet[0] = 0x8f
    #expect(throws: SRTPError.truncated) { try unprotect(&direction.unprotector, packet) }
    packet[0] = 0x90
    packet.replaceSubrange(12..<16, with: [0xbe, 0xde, 0xff, 0xff])
    #expect(throws: SRTPError.truncated) { try unprotect(&direction.unprotector, packet) }
    packet.replaceSubrange(12..<16, with: [0xbe, 0xde, 0, 2])
    #expect(throws: SRTPError.truncated) { try unprotect(&direction.unprotector, packet) }
    packet[0] = 0x40
    #expect(throws: SRTPError.malformed) { try unprotect(&direction.unprotector, packet) }
  }

  @Test("Another key, another profile and another SSRC do not decrypt")
  func otherKeys() throws {
    for profile in SRTPProtectionProfile.allCases {
      var direction = try Direction(profile)
      var other = try Direction(profile, seed: 2)
      let packet = try direction.protect(1)
      #expect(throws: SRTPError.authenticationFailed) { try unprotect(&other.unprotector, packet) }
      let compound = try protectRTCP(&direction.protector, rtcpPacket(ssrc: 7))
      #expect(throws: SRTPError.authenticationFailed) { try unprotectRTCP(&other.unprotector, compound) }
    }
    let short = SRTPKeys(masterKey: Secret([1, 2, 3]), masterSalt: Secret([]))
    #expect(throws: SRTPError.invalidKeyLength) {
      _ = try SRTPProtector(profile: .aeadAES128GCM, keys: short)
    }
  }
}
