// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SRTP

@Suite("Replay protection, roll-over and limits, RFC 3711 sections 3.3 and 9.2")
struct ReplayTests {
  @Test(
    "T17 every packet is delivered once, in any order within the window", arguments: [1, 2, 3] as [UInt64])
  func once(_ seed: UInt64) throws {
    var direction = try Direction(.aeadAES128GCM)
    var random = RandomSource(seed: seed)
    // Start shortly before a roll-over, so that shuffling goes across it.
    var packets: [[UInt8]] = []
    for index in 65_000..<67_000 as Range<Int64> { packets.append(try direction.protect(index - 35_000)) }
    for index in 67_000..<69_000 as Range<Int64> { packets.append(try direction.protect(index - 35_000)) }
    for start in stride(from: 0, to: packets.count, by: 500) {
      packets[start..<(start + 500)].shuffle(using: &random)
    }
    var delivered = 0
    for packet in packets {
      _ = try direction.unprotect(packet)
      delivered += 1
      #expect(throws: SRTPError.replayed) { try unprotect(&direction.unprotector, packet) }
    }
    #expect(delivered == 4000)
    for packet in packets {
      #expect(throws: SRTPError.self) { try unprotect(&direction.unprotector, packet) }
    }
  }

  @Test("T17 the window's edge: 1,023 back is accepted once, 1,024 back never")
  func edge() throws {
    var direction = try Direction(.aeadAES128GCM)
    let packets = try (0..<1026).map { (index) throws(SRTPError) in try direction.protect(Int64(index)) }
    _ = try direction.unprotect(packets[1025])
    #expect(throws: SRTPError.tooOld) { try unprotect(&direction.unprotector, packets[0]) }
    #expect(throws: SRTPError.tooOld) { try unprotect(&direction.unprotector, packets[1]) }
    _ = try direction.unprotect(packets[2])
    #expect(throws: SRTPError.replayed) { try unprotect(&direction.unprotector, packets[2]) }
  }

  @Test(
    "T17 the roll-over counter follows across three wraps, with losses and stragglers",
    arguments: SRTPProtectionProfile.allCases)
  func rollOver(_ profile: SRTPProtectionProfile) throws {
    var direction = try Direction(profile)
    var straggler: [UInt8]?
    var index: Int64 = 0
    while index < 4 * 65_536 {
      let packet = try direction.protect(index)
      if index % 7 == 3 {
        straggler = packet
      } else {
        _ = try direction.unprotect(packet)
        if let late = straggler.take() { _ = try direction.unprotect(late) }
      }
      index += index % 65_536 > 65_500 || index % 65_536 < 30 ? 1 : 97
    }
  }

  @Test("T18 a packet of the next period does not move the counter unless it is authentic")
  func forgedRollOver() throws {
    var direction = try Direction(.aeadAES128GCM)
    let first = try direction.protect(65_530)
    // A stream may begin anywhere in its first period.
    _ = try direction.unprotect(first)
    for sequence in 0..<2000 as Range<UInt16> {
      let forged = rtpHeader(sequence: sequence, ssrc: 7) + [UInt8](repeating: 0, count: 40)
      #expect(throws: SRTPError.authenticationFailed) { try unprotect(&direction.unprotector, forged) }
    }
    let next = try direction.protect(65_531)
    _ = try direction.unprotect(next)
    let wrapped = try direction.protect(65_536)
    _ = try direction.unprotect(wrapped)
  }

  @Test("T17 RTCP: each index once, reordered within the window")
  func rtcp() throws {
    var direction = try Direction(.aeadAES256GCM)
    var packets: [[UInt8]] = []
    for _ in 0..<2000 { packets.append(try protectRTCP(&direction.protector, rtcpPacket(ssrc: 9))) }
    for place in stride(from: 0, to: 1000, by: 2) {
      _ = try unprotectRTCP(&direction.unprotector, packets[place + 1])
      _ = try unprotectRTCP(&direction.unprotector, packets[place])
      #expect(throws: SRTPError.replayed) { try unprotectRTCP(&direction.unprotector, packets[place]) }
    }
    _ = try unprotectRTCP(&direction.unprotector, packets[1999])
    #expect(throws: SRTPError.tooOld) { try unprotectRTCP(&direction.unprotector, packets[0]) }
  }

  @Test("T18 a flood of SSRCs makes no stream, and authentic ones only up to the limit")
  func ssrcFlood() throws {
    var direction = try Direction(.aeadAES128GCM)
    for ssrc in 0..<20_000 as Range<UInt32> {
      let forged = rtpHeader(sequence: 1, ssrc: ssrc) + [UInt8](repeating: 0, count: 30)
      #expect(throws: SRTPError.authenticationFailed) { try unprotect(&direction.unprotector, forged) }
    }
    var streams = direction.unprotector.streamCounts
    #expect(streams == (0, 0))
    var packets: [[UInt8]] = []
    for ssrc in 0..<UInt32(SRTPLimits.streamsMax) { packets.append(try direction.protect(1, ssrc: ssrc)) }
    #expect(throws: SRTPError.tooManyStreams) {
      try protect(&direction.protector, header: rtpHeader(sequence: 1, ssrc: 1000), payload: [], index: 1)
    }
    for packet in packets { _ = try direction.unprotect(packet) }
    streams = direction.unprotector.streamCounts
    #expect(streams == (SRTPLimits.streamsMax, 0))
    let oneMore = rtpHeader(sequence: 1, ssrc: 1000) + [UInt8](repeating: 0, count: 30)
    #expect(throws: SRTPError.tooManyStreams) { try unprotect(&direction.unprotector, oneMore) }
    let again = try direction.protect(2, ssrc: 5)
    _ = try direction.unprotect(again)
  }

  @Test("T42 no index is used twice under a key, whatever the sequence numbers do")
  func nonces() throws {
    var direction = try Direction(.aeadAES128GCM)
    _ = try direction.protect(100)
    for index in [100, 99, 0] as [Int64] {
      let header = rtpHeader(sequence: UInt16(index), ssrc: 7)
      #expect(throws: SRTPError.indexReused) {
        try protect(&direction.protector, header: header, payload: [], index: index)
      }
    }
    _ = try direction.protect(101)
    _ = try direction.protect(100, ssrc: 8)
    #expect(throws: SRTPError.malformed) {
      try protect(&direction.protector, header: rtpHeader(sequence: 5, ssrc: 7), payload: [], index: 200)
    }
    #expect(throws: SRTPError.malformed) {
      try protect(&direction.protector, header: rtpHeader(sequence: 0xffff, ssrc: 7), payload: [], index: -1)
    }
    #expect(throws: SRTPError.malformed) {
      try protect(
        &direction.protector, header: [0x80, 96, 0, 200, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0], payload: [],
        index: 200)
    }
  }

  @Test("A key ends with its last index, RFC 3711 section 9.2")
  func lifetime() throws {
    let keys = VectorTests.sessionKeys(.aeadAES128GCM)
    var protector = try SRTPProtector(
      profile: .aeadAES128GCM, rtp: keys, rtcp: keys, rtcpIndex: SRTPProtector.rtcpIndexEnd - 1)
    _ = try protectRTCP(&protector, rtcpPacket(ssrc: 1))
    #expect(throws: SRTPError.keyLifetimeExceeded) { try protectRTCP(&protector, rtcpPacket(ssrc: 1)) }
    _ = try protect(
      &protector, header: rtpHeader(sequence: 0xffff, ssrc: 1), payload: [], index: (1 << 48) - 1)
    #expect(throws: SRTPError.keyLifetimeExceeded) {
      try protect(&protector, header: rtpHeader(sequence: 0, ssrc: 1), payload: [], index: 1 << 48)
    }
  }

  @Test("The index estimate is the nearest one, RFC 3711 appendix A")
  func estimate() {
    #expect(SRTPUnprotector.estimateIndex(5, highest: nil) == 5)
    #expect(SRTPUnprotector.estimateIndex(0, highest: 65_535) == 65_536)
    #expect(SRTPUnprotector.estimateIndex(65_535, highest: 65_536) == 65_535)
    #expect(SRTPUnprotector.estimateIndex(65_535, highest: 3) == -1)
    #expect(SRTPUnprotector.estimateIndex(32_767, highest: 0) == 32_767)
    #expect(SRTPUnprotector.estimateIndex(10, highest: 3 << 16 | 0xfff0) == 4 << 16 | 10)
  }
}
