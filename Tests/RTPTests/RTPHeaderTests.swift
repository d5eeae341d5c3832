// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

@Suite("RTP header, RFC 3550 §5.1")
struct RTPHeaderTests {
  static let plain = hex("80 e0 1234 00015f90 cafebabe 0102 03")
  /// Two contributing sources, a one-byte extension (mid "0" as number 4, three bytes as number 5), two bytes of
  /// padding.
  static let full = hex(
    "b2 60 ffff 00000001 11223344  aaaaaaaa bbbbbbbb  bede 0002 4030 5201 0203 0000  0a0b0c 0002")

  @Test("A plain header is parsed and written alike")
  func plain() throws {
    let parsed = try ParsedPacket(Self.plain)
    #expect(parsed.header.marker)
    #expect(parsed.header.payloadType == 96)
    #expect(parsed.header.sequenceNumber.rawValue == 0x1234)
    #expect(parsed.header.timestamp == 90_000)
    #expect(parsed.header.ssrc == SSRC(rawValue: 0xcafe_babe))
    #expect(parsed.payload == [1, 2, 3])
    let written = [UInt8](writing: 64) { parsed.header.write(into: &$0) }
    #expect(written == Array(Self.plain[..<12]))
    #expect(parsed.header.byteCount() == 12)
  }

  @Test("Contributing sources, extension and padding are taken off")
  func full() throws {
    let parsed = try ParsedPacket(Self.full)
    #expect(parsed.payload == [10, 11, 12])
    #expect(!parsed.header.marker)
    #expect(parsed.header.contributingSourceCount == 2)
    let sources = parsed.header.contributingSources(in: Self.full.rawSpan)
    #expect(sources.map(\.rawValue) == [0xaaaa_aaaa, 0xbbbb_bbbb])
    let mid = parsed.header.extensionText(id: 4, in: Self.full.rawSpan)
    #expect(mid == "0")
    let value = parsed.header.extensionElement(id: 5, in: Self.full.rawSpan)
    #expect(value.map { Array(Self.full[$0]) } == [1, 2, 3])
    let absent = parsed.header.extensionElement(id: 6, in: Self.full.rawSpan)
    #expect(absent == nil)
  }

  @Test("Another version than 2 is refused", arguments: [0x00, 0x40, 0xc0] as [UInt8])
  func version(bits: UInt8) {
    var packet = Self.plain
    packet[0] = bits
    #expect(throws: ParseError.invalid("RTP version")) { try ParsedPacket(packet) }
  }

  @Test("Every prefix of a packet parses or throws, and never traps")
  func prefixes() {
    for fixture in [Self.plain, Self.full] {
      for count in 0..<fixture.count {
        let prefix = Array(fixture[..<count])
        let parsed = try? ParsedPacket(prefix)
        if count < 12 { #expect(parsed == nil) }
      }
    }
  }

  @Test("T19 A padding length of 0 or beyond the payload is refused")
  func paddingLength() throws {
    for (last, isAccepted) in [(0, false), (1, true), (3, true), (4, false), (255, false)] {
      var packet = Self.plain
      packet[0] = 0xa0
      packet[packet.count - 1] = UInt8(last)
      let parsed = try? ParsedPacket(packet)
      #expect((parsed != nil) == isAccepted, "padding of \(last)")
      if isAccepted { #expect(parsed?.payload.count == 3 - last) }
    }
  }

  @Test("T19 A packet of padding alone has an empty payload; padding into the header is refused")
  func paddingOnly() throws {
    let header = hex("a0 60 0001 00000001 00000001")
    #expect(try ParsedPacket(header + [0, 0, 0, 4]).payload.isEmpty)
    #expect(throws: ParseError.self) { try ParsedPacket(header + [0, 0, 0, 5]) }
    // No payload: the byte before is the SSRC's last, which must not be taken for a padding length.
    #expect(throws: ParseError.self) { try ParsedPacket(header) }
  }

  @Test("T19 Contributing sources and an extension longer than the rest are refused")
  func lengthsBeyondTheEnd() {
    var packet = Self.plain
    packet[0] = 0x8f
    #expect(throws: ParseError.truncated) { try ParsedPacket(packet) }
    let withExtension = hex("90 60 0001 00000001 00000001 bede 0002 00000000")
    #expect(throws: ParseError.truncated) { try ParsedPacket(withExtension) }
    #expect(throws: ParseError.truncated) { try ParsedPacket(hex("90 60 0001 00000001 00000001 bede ffff")) }
  }

  @Test("T19 Flipped bits never trap, and what is parsed lies in the packet")
  func bitFlips() {
    var random = RandomSource(seed: 19)
    for _ in 0..<4000 {
      let packet = damaged(Self.full, using: &random)
      guard let (header, payload) = try? RTPHeader.parse(packet.rawSpan) else { continue }
      #expect(payload.lowerBound >= 12 && payload.upperBound <= packet.count)
      for id in 0...255 as ClosedRange<UInt8> {
        guard let element = header.extensionElement(id: id, in: packet.rawSpan) else { continue }
        #expect(element.upperBound <= header.extensionRange.upperBound)
      }
      _ = header.contributingSources(in: packet.rawSpan)
    }
  }
}

@Suite("RTP header extensions, RFC 8285")
struct RTPHeaderExtensionTests {
  /// Serialises a packet with these elements and returns what is found for a number.
  private func value(of id: UInt8, in elements: [RTPHeaderExtensions.Element]) throws -> [UInt8]? {
    let packet = packet(with: RTPHeaderExtensions(elements))
    let header = try RTPHeader.parse(packet.rawSpan).header
    return header.extensionElement(id: id, in: packet.rawSpan).map { Array(packet[$0]) }
  }

  private func packet(with extensions: RTPHeaderExtensions) -> [UInt8] {
    let header = RTPHeader(
      marker: false, payloadType: 111, sequenceNumber: SequenceNumber(rawValue: 7), timestamp: 1,
      ssrc: SSRC(rawValue: 2))
    return [UInt8](writing: 512) { header.write(with: extensions, into: &$0) }
  }

  /// All elements of a block, by our iterator.
  private func elements(profile: UInt16, _ block: [UInt8]) -> [UInt8: [UInt8]] {
    var iterator = RTPHeaderExtensionElements(profile: profile, range: 0..<block.count, packet: block.rawSpan)
    var found: [UInt8: [UInt8]] = [:]
    while let element = iterator.next() { found[element.id] = Array(block[element.value]) }
    return found
  }

  @Test("The example of §4.2: one-byte form with padding between the elements")
  func oneByteExample() {
    // RFC 8285 §4.2: elements with L=0, L=1, two bytes of padding, L=3.
    let block = hex("10 aa 21 bbcc 00 00 33 ddddddee")
    #expect(
      elements(profile: 0xbede, block) == [1: [0xaa], 2: [0xbb, 0xcc], 3: [0xdd, 0xdd, 0xdd, 0xee]])
  }

  @Test("The example of §4.3: two-byte form with an empty element")
  func twoByteExample() {
    // RFC 8285 §4.3: elements with L=0, L=1, a byte of padding, L=4.
    let block = hex("01 00 02 01 bb 00 03 04 dddddddd")
    let expected: [UInt8: [UInt8]] = [1: [], 2: [0xbb], 3: [0xdd, 0xdd, 0xdd, 0xdd]]
    #expect(elements(profile: 0x1000, block) == expected)
    #expect(elements(profile: 0x100f, block) == expected)
  }

  @Test("Number 15 ends a one-byte extension; an unknown profile has no elements")
  func reserved() {
    #expect(elements(profile: 0xbede, hex("10 aa f0 bb 20 cc 00 00")) == [1: [0xaa]])
    #expect(elements(profile: 0x1234, hex("10 aa 20 cc")).isEmpty)
  }

  @Test("T19 An element that runs past the extension is not handed out")
  func overrun() {
    #expect(elements(profile: 0xbede, hex("10 aa 2f bb")) == [1: [0xaa]])
    #expect(elements(profile: 0x1000, hex("01 01 aa 02 ff 00 00 00")) == [1: [0xaa]])
    #expect(elements(profile: 0x1000, hex("01 01 aa 02")) == [1: [0xaa]])
  }

  @Test("T4 Elements are written in the shorter form that fits, padded with zeros")
  func writing() throws {
    let mid = RTPHeaderExtensions([.init(id: 4, text: "0")])
    #expect(mid.bytes == hex("bede 0001 40 30 00 00"))
    let long = RTPHeaderExtensions([.init(id: 4, text: "0"), .init(id: 20, text: "abc")])
    #expect(long.bytes == hex("1000 0002 04 01 30 14 03 616263"))
    #expect(try value(of: 20, in: [.init(id: 20, value: [1, 2])]) == [1, 2])
    #expect(try value(of: 3, in: [.init(id: 3, value: [UInt8](repeating: 9, count: 17))])?.count == 17)
    #expect(try value(of: 3, in: [.init(id: 3, value: [])]) == [])
    #expect(packet(with: .none).count == 12)
    #expect(packet(with: .none)[0] == 0x80)
    #expect(packet(with: mid)[0] == 0x90)
    #expect(RTPHeaderExtensions([]) == .none)
  }
}

@Suite("RTP timestamps and clocks, RFC 3550 §5.1 and §6.4.1")
struct ClockTests {
  @Test("Distances go the shorter way round")
  func distance() {
    #expect(RTPTimestamp.distance(5, after: 0xffff_fffb) == 10)
    #expect(RTPTimestamp.distance(0xffff_fffb, after: 5) == -10)
  }

  @Test("Units and time convert exactly for whole seconds, towards the past otherwise")
  func units() {
    for rate in [8000, 48_000, 90_000] as [UInt32] {
      for seconds in [-3, 0, 1, 86_400, 3_000_000_000] as [Int64] {
        let units = RTPTimestamp.units(in: .seconds(seconds), clockRateHertz: rate)
        #expect(units == seconds * Int64(rate))
        #expect(RTPTimestamp.time(of: units, clockRateHertz: rate) == .seconds(seconds))
      }
    }
    #expect(RTPTimestamp.units(in: TimeDelta(nanoseconds: -1), clockRateHertz: 90_000) == -1)
    #expect(RTPTimestamp.units(in: .milliseconds(40), clockRateHertz: 90_000) == 3600)
    #expect(RTPTimestamp.units(in: .milliseconds(20), clockRateHertz: 48_000) == 960)
  }

  @Test("The NTP format counts from 1900, and converts back to the same nanosecond")
  func ntp() {
    #expect(NTPTimestamp(unixNanoseconds: 0).rawValue == 0x83aa_7e80_0000_0000)
    #expect(NTPTimestamp(unixNanoseconds: 500_000_000).rawValue == 0x83aa_7e80_8000_0000)
    #expect(NTPTimestamp(rawValue: 0x1234_5678_9abc_def0).compact == 0x5678_9abc)
    var random = RandomSource(seed: 1)
    for _ in 0..<1000 {
      let time = Int64.random(in: 0...4_000_000_000_000_000_000, using: &random)
      #expect(NTPTimestamp(unixNanoseconds: time).unixNanoseconds == time)
    }
    let atWrap: Int64 = (0x1_0000_0000 - 2_208_988_800) * 1_000_000_000
    #expect(NTPTimestamp(unixNanoseconds: atWrap).rawValue == 0)
    #expect(NTPTimestamp(rawValue: 0).unixNanoseconds == atWrap)
  }

  @Test("The example of RFC 3550 figure 2 gives a round trip of 6.125 s")
  func roundTrip() {
    // Figure 2: A = 0xb710:8000, DLSR = 0x0005:4000, LSR = 0xb705:2000.
    let now = NTPTimestamp(rawValue: 0xb710_8000 << 16)
    let time = RTCPRoundTrip.time(lastSenderReport: 0xb705_2000, delay: 0x0005_4000, arrival: now)
    #expect(time == .milliseconds(6125))
    #expect(RTCPRoundTrip.compactUnits(.milliseconds(5250)) == 0x0005_4000)
  }

  @Test("A round trip from no report, or an impossible one, is none")
  func impossibleRoundTrip() {
    let now = NTPTimestamp(rawValue: 0xb710_8000 << 16)
    #expect(RTCPRoundTrip.time(lastSenderReport: 0, delay: 0, arrival: now) == nil)
    #expect(RTCPRoundTrip.time(lastSenderReport: 1, delay: 0, arrival: now) == nil)
    #expect(RTCPRoundTrip.time(lastSenderReport: 0xb710_8000, delay: 0xffff_ffff, arrival: now) != nil)
    #expect(RTCPRoundTrip.time(lastSenderReport: 0xb710_8000, delay: 0x100, arrival: now) == .zero)
    #expect(RTCPRoundTrip.time(lastSenderReport: 0xb710_8000, delay: 0x7000_0000, arrival: now) == nil)
    #expect(RTCPRoundTrip.compactUnits(.seconds(-1)) == 0)
    #expect(RTCPRoundTrip.compactUnits(.seconds(1_000_000)) == 65_535 << 16)
  }

  @Test("A sender report's two clocks agree after days", arguments: [48_000, 90_000] as [UInt32])
  func senderReportClock(rate: UInt32) {
    let start = Instant(nanoseconds: 123_456_789)
    var clock = SenderReportClock(
      clockRateHertz: rate, timestamp: 0xffff_ff00, at: start,
      unixNanosecondsAtZero: 1_700_000_000_000_000_000)
    #expect(clock.timestamp(at: start) == 0xffff_ff00)
    let later = start + .seconds(500_000)
    let units = UInt32(truncatingIfNeeded: 500_000 * Int64(rate))
    #expect(clock.timestamp(at: later) == 0xffff_ff00 &+ units)
    #expect(clock.timestamp(at: start - .seconds(1)) == 0xffff_ff00 &- rate)
    #expect(clock.instant(of: 0xffff_ff00 &+ 3 &* rate) == start + .seconds(3))
    #expect(clock.instant(of: 0xffff_ff00 &- rate) == start - .seconds(1))
    #expect(clock.ntpTimestamp(at: later).unixNanoseconds == 1_700_500_000_123_456_789)
    clock.setAnchor(timestamp: 77, at: later)
    #expect(clock.timestamp(at: later + .seconds(2)) == 77 + 2 * rate)
  }
}
