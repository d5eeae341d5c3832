// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

@Suite("RTCP, RFC 3550 §6, RFC 4585, RFC 5104")
struct RTCPTests {
  static let ssrc = SSRC(rawValue: 0x1111_1111)
  static let other = SSRC(rawValue: 0x2222_2222)
  static let block = ReportBlock(
    ssrc: other, fractionLost: 64, cumulativeLost: -2, extendedHighestSequenceNumber: 0x0001_0005, jitter: 77,
    lastSenderReport: 0xb705_2000, delaySinceLastSenderReport: 0x0005_4000)
  static let senderReport = SenderReport(
    ssrc: ssrc, ntpTimestamp: NTPTimestamp(rawValue: 0x0102_0304_0506_0708), rtpTimestamp: 9, packetCount: 10,
    octetCount: 11, reportBlocks: [block])

  /// A compound with one packet of every kind that we write.
  static let compound = [UInt8](writing: 1500) { writer in
    senderReport.write(into: &writer)
    ReceiverReport(ssrc: ssrc, reportBlocks: [block, block]).write(into: &writer)
    SourceDescription(chunks: [.init(ssrc: ssrc, canonicalName: "abcd")]).write(into: &writer)
    GenericNACK(
      senderSSRC: ssrc, mediaSSRC: other, missing: [1, 3, 17, 18].map(SequenceNumber.init(rawValue:))
    )
    .write(into: &writer)
    PictureLossIndication(senderSSRC: ssrc, mediaSSRC: other).write(into: &writer)
    FullIntraRequest(senderSSRC: ssrc, entries: [.init(ssrc: other, sequenceNumber: 200)]).write(
      into: &writer)
    Goodbye(sources: [ssrc, other], reason: "done").write(into: &writer)
  }

  @Test("What we write, we parse")
  func roundTrip() throws {
    let packets = try rtcpPackets(Self.compound)
    #expect(
      packets == [
        .senderReport(Self.senderReport),
        .receiverReport(ReceiverReport(ssrc: Self.ssrc, reportBlocks: [Self.block, Self.block])),
        .sourceDescription(SourceDescription(chunks: [.init(ssrc: Self.ssrc, canonicalName: "abcd")])),
        .nack(
          GenericNACK(
            senderSSRC: Self.ssrc, mediaSSRC: Self.other,
            entries: [
              .init(packet: SequenceNumber(rawValue: 1), following: 0x8002),
              .init(packet: SequenceNumber(rawValue: 18), following: 0),
            ])),
        .pictureLossIndication(PictureLossIndication(senderSSRC: Self.ssrc, mediaSSRC: Self.other)),
        .fullIntraRequest(
          FullIntraRequest(senderSSRC: Self.ssrc, entries: [.init(ssrc: Self.other, sequenceNumber: 200)])),
        .goodbye(Goodbye(sources: [Self.ssrc, Self.other], reason: "done")),
      ])
  }

  @Test("A sender report has the bytes of RFC 3550 §6.4.1")
  func senderReportBytes() {
    let bytes = [UInt8](writing: 100) { Self.senderReport.write(into: &$0) }
    #expect(
      bytes
        == hex(
          """
          81c8000c 11111111 0102030405060708 00000009 0000000a 0000000b
          22222222 40fffffe 00010005 0000004d b7052000 00054000
          """))
    #expect(bytes.count == Self.senderReport.byteCount)
  }

  @Test("A compound is a report and the canonical name")
  func compounds() throws {
    let description = SourceDescription(chunks: [.init(ssrc: Self.ssrc, canonicalName: "camera")])
    let sent = [UInt8](writing: 200) { Self.senderReport.writeCompound(canonicalName: "camera", into: &$0) }
    #expect(try rtcpPackets(sent) == [.senderReport(Self.senderReport), .sourceDescription(description)])
    let report = ReceiverReport(ssrc: Self.ssrc, reportBlocks: [])
    let received = [UInt8](writing: 200) { report.writeCompound(canonicalName: "camera", into: &$0) }
    #expect(try rtcpPackets(received) == [.receiverReport(report), .sourceDescription(description)])
  }

  @Test("T4 Names and reasons of every length end in one to four zeros at a word", arguments: 0..<9)
  func zeroPadding(length: Int) throws {
    let text = String(repeating: "x", count: length)
    let description = SourceDescription(chunks: [
      .init(ssrc: Self.ssrc, canonicalName: text), .init(ssrc: Self.other, canonicalName: nil),
    ])
    let bytes = [UInt8](writing: 100) { description.write(into: &$0) }
    #expect(bytes.count == description.byteCount)
    #expect(bytes.count % 4 == 0)
    #expect(try rtcpPackets(bytes) == [.sourceDescription(description)])
    #expect(bytes[(10 + length)...].filter { $0 != 0 && $0 != 0x22 }.isEmpty)

    let goodbye = Goodbye(sources: [Self.ssrc], reason: text)
    let goodbyeBytes = [UInt8](writing: 100) { goodbye.write(into: &$0) }
    #expect(goodbyeBytes.count == goodbye.byteCount)
    #expect(goodbyeBytes.count % 4 == 0)
    #expect(goodbyeBytes[(9 + length)...].allSatisfy { $0 == 0 })
    #expect(try rtcpPackets(goodbyeBytes) == [.goodbye(goodbye)])
  }

  @Test(
    "Cumulative loss is a signed number of 24 bits", arguments: [-0x80_0000, -1, 0, 1, 0x7f_ffff] as [Int32])
  func cumulativeLoss(value: Int32) throws {
    var block = Self.block
    block.cumulativeLost = value
    let report = ReceiverReport(ssrc: Self.ssrc, reportBlocks: [block])
    let bytes = [UInt8](writing: 100) { report.write(into: &$0) }
    #expect(try rtcpPackets(bytes) == [.receiverReport(report)])
  }

  @Test("Unknown and malformed packets are reported and do not end the compound")
  func unknownInTheMiddle() throws {
    let application = hex("80cc0002 00000001 41424344")
    let extended = hex("80cf0001 00000001")
    let shortReport = hex("80c80000")
    let otherFeedback = hex("82ce0002 00000001 00000002")
    let transportWide = hex("8fcd0003 00000001 00000002 00000000")
    let indication = [UInt8](writing: 12) {
      PictureLossIndication(senderSSRC: Self.ssrc, mediaSSRC: Self.other).write(into: &$0)
    }
    let packets = try rtcpPackets(
      application + extended + shortReport + otherFeedback + transportWide + indication)
    #expect(
      packets == [
        .unknown(packetType: 204, format: 0), .unknown(packetType: 207, format: 0),
        .malformed(packetType: 200, .truncated), .unknown(packetType: 206, format: 2),
        .transportFeedback(body: 40..<52),
        .pictureLossIndication(PictureLossIndication(senderSSRC: Self.ssrc, mediaSSRC: Self.other)),
      ])
  }

  @Test("Padding is taken off the last packet only")
  func padding() throws {
    let padded = hex("a1ce0003 11111111 22222222 00000004")
    #expect(
      try rtcpPackets(padded) == [
        .pictureLossIndication(PictureLossIndication(senderSSRC: Self.ssrc, mediaSSRC: Self.other))
      ])
    #expect(throws: ParseError.invalid("RTCP padding")) { try rtcpPackets(padded + padded) }
    for length in [0, 3, 16, 255] as [UInt8] {
      var wrong = padded
      wrong[wrong.count - 1] = length
      #expect(throws: ParseError.invalid("RTCP padding")) { try rtcpPackets(wrong) }
    }
    #expect(throws: ParseError.invalid("RTCP padding")) { try rtcpPackets(hex("a0c90000")) }
  }

  @Test("REMB: mantissa times a power of two, clamped to 64 bits")
  func remb() throws {
    // 0x3e800 << 2 = 1,024,000 bit/s for one source.
    let bytes = hex("8fce0005 11111111 00000000 52454d42 01 0be800 22222222")
    guard case .remb(let estimate) = try rtcpPackets(bytes).first else {
      Issue.record("no REMB")
      return
    }
    #expect(estimate.bitrateBitsPerSecond == 1_024_000)
    #expect(estimate.sources == [Self.other])
    let huge = hex("8fce0004 11111111 00000000 52454d42 00 ffffff")
    guard case .remb(let unlimited) = try rtcpPackets(huge).first else {
      Issue.record("no REMB")
      return
    }
    #expect(unlimited.bitrateBitsPerSecond == .max)
    let overcounted = hex("8fce0004 11111111 00000000 52454d42 ff 0be800")
    #expect(try rtcpPackets(overcounted) == [.malformed(packetType: 206, .truncated)])
  }

  @Test("A NACK packs neighbours into one entry, over the wrap too")
  func nackPacking() {
    let numbers = [65_534, 65_535, 0, 14, 15, 100].map { SequenceNumber(rawValue: $0) }
    let nack = GenericNACK(senderSSRC: Self.ssrc, mediaSSRC: Self.other, missing: numbers + [numbers[5]])
    #expect(nack.entries.count == 3)
    #expect(nack.missing == numbers)
  }

  @Test("T20 Of 65,536 missing packets a NACK of ours names what fits in 250 entries")
  func nackIsBounded() {
    let numbers = (0...65_535).map { SequenceNumber(rawValue: UInt16($0)) }
    let nack = GenericNACK(senderSSRC: Self.ssrc, mediaSSRC: Self.other, missing: numbers)
    #expect(nack.entries.count == 250)
    #expect(nack.missing.count == 250 * 17)
    #expect(nack.byteCount <= 1024)
  }

  @Test("T20 The densest datagrams of 1,500 bytes parse to bounded lists; longer ones are refused")
  func bombs() throws {
    let empty = (0..<375).flatMap { _ in hex("80cb0000") }
    #expect(try rtcpPackets(empty).count == 375)
    let nack = hex("81cd0176 00000001 00000002") + [UInt8](repeating: 0xff, count: 1488)
    guard case .nack(let parsed) = try rtcpPackets(nack).first else {
      Issue.record("no NACK")
      return
    }
    #expect(parsed.missing.count == 372 * 17)
    #expect(throws: ParseError.invalid("RTCP length")) { try rtcpPackets(empty + hex("80cb0000")) }
  }

  @Test("Every prefix of a compound parses or throws")
  func prefixes() throws {
    var boundaries: Set<Int> = []
    for count in 0..<Self.compound.count {
      if (try? rtcpPackets(Array(Self.compound[..<count]))) != nil { boundaries.insert(count) }
    }
    #expect(boundaries.count == 6)
    #expect(throws: ParseError.truncated) { try rtcpPackets([]) }
  }

  @Test("T20 Flipped bits never trap")
  func bitFlips() {
    var random = RandomSource(seed: 20)
    for _ in 0..<4000 {
      _ = try? rtcpPackets(damaged(Self.compound, using: &random))
    }
  }

  @Test("RTCP is told from RTP by its second byte")
  func demultiplexing() {
    func isRTCP(_ bytes: [UInt8]) -> Bool { RTCP.isRTCP(bytes.rawSpan) }
    #expect(isRTCP([0x80, 200]))
    #expect(isRTCP([0x80, 192]))
    #expect(isRTCP([0x80, 223]))
    #expect(!isRTCP([0x80, 96]))
    #expect(!isRTCP([0x80, 224]))
    #expect(!isRTCP([0x80]))
  }
}
