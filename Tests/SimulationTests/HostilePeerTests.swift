// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// A peer that went through ICE and DTLS like any other, and then sends whatever it likes under its keys.
@Suite("An authenticated peer that means harm")
struct HostilePeerTests {
  private static let videoSSRC: UInt32 = 1111
  private static let rtxSSRC: UInt32 = 1112
  private static let audioSSRC: UInt32 = 2222

  /// A connected pair: the victim sends and receives video (0) and audio (1).
  private func connect(seed: UInt64, describesSources: Bool = true) throws -> HostilePeer {
    let peer = try HostilePeer(seed: seed) { core in
      _ = core.addTransceiver(.video, Call.video(.sendrecv))
      _ = core.addTransceiver(.audio, Call.audio(.sendrecv))
    }
    let isConnected = try peer.connect { answer in
      var kind = ""
      return answer.split(separator: "\r\n").map { line in
        if line.hasPrefix("m=") { kind = String(line) }
        guard line == "a=recvonly" else { return String(line) }
        guard describesSources else { return "a=sendrecv" }
        return kind.hasPrefix("m=video")
          ? "a=sendrecv\r\na=ssrc-group:FID 1111 1112\r\na=ssrc:1111 cname:h\r\na=ssrc:1112 cname:h"
          : "a=sendrecv\r\na=ssrc:2222 cname:h"
      }.joined(separator: "\r\n") + "\r\n"
    }
    try #require(isConnected)
    peer.run(atMost: .milliseconds(200))
    return peer
  }

  private let video = TransceiverID(rawValue: 0)
  private let audio = TransceiverID(rawValue: 1)

  private func codec(_ id: TransceiverID, of peer: HostilePeer) throws -> NegotiatedCodec {
    let media = peer.victim.core.negotiatedMedia(of: id)
    return try #require(media?.codecs.first)
  }

  private func midExtension(_ id: TransceiverID, of peer: HostilePeer) throws -> [UInt8] {
    let negotiated = peer.victim.core.negotiatedMedia(of: id)
    let media = try #require(negotiated)
    let number = try #require(media.headerExtensions.first { $0.uri == NegotiationOptions.midExtension }).id
    var bytes =
      [UInt8(truncatingIfNeeded: number) << 4 | UInt8(media.mid.utf8.count - 1)] + Array(media.mid.utf8)
    while bytes.count % 4 != 0 { bytes.append(0) }
    return bytes
  }

  private func drops(_ peer: HostilePeer) -> [String: UInt64] {
    peer.victim.core.statistics(at: peer.now).transport.drops
  }

  @Test("The hostile peer can behave: what it sends is heard")
  func canBehave() throws {
    let peer = try connect(seed: 90)
    let type = try codec(audio, of: peer).payloadType
    for index in 0..<20 {
      try peer.sendRTP(
        .init(ssrc: Self.audioSSRC, index: Int64(index), payloadType: type, payload: Call.opusPacket(index)))
    }
    #expect(peer.victim.frames.count == 20)
  }

  @Test("T18: ten thousand sources of nobody are dropped, and cost a bounded table")
  func boundsSources() throws {
    let peer = try connect(seed: 91)
    let type = try codec(audio, of: peer).payloadType
    for number in 0..<200 {
      try peer.sendRTP(
        .init(ssrc: Self.audioSSRC, index: Int64(number), payloadType: type, payload: Call.opusPacket(number))
      )
      for stranger in 0..<50 {
        let ssrc = 10_000 + UInt32(number * 50 + stranger)
        try peer.sendRTP(.init(ssrc: ssrc, index: 7, payloadType: type, payload: [1, 2, 3]))
      }
    }
    // 64 sources are kept track of, one of them ours; the others do not even get a replay window.
    let dropped = drops(peer)
    #expect(dropped["unknownStream", default: 0] == 63)
    #expect(dropped["srtp", default: 0] == 9937)
    #expect(peer.victim.frames.count == 200)
    let inbound = peer.victim.core.statistics(at: peer.now).inboundRTP
    #expect(inbound.count == 2)
  }

  @Test("T18: a peer that names a new source in each packet gets one stream, and is heard on the last")
  func followsSources() throws {
    let peer = try connect(seed: 92, describesSources: false)
    let type = try codec(audio, of: peer).payloadType
    let identification = try midExtension(audio, of: peer)
    var random = RandomSource(seed: 92)
    for number in 0..<60 {
      let index = Int64(random.next() % 60_000)
      var packet = HostilePeer.Packet(
        ssrc: 5000 + UInt32(number), index: index, payloadType: type, payload: Call.opusPacket(number))
      packet.extensions = identification
      try peer.sendRTP(packet)
    }
    let received = peer.victim.frames(of: audio)
    #expect(received.count == 60)
    let inbound = peer.victim.core.statistics(at: peer.now).inboundRTP
    #expect(inbound.map(\.ssrc) == [5059])
  }

  @Test(
    "T19: padding and payloads that contradict themselves are dropped or given up, never a trap",
    arguments: 93...96)
  func survivesMalformedPayloads(seed: Int) throws {
    let peer = try connect(seed: UInt64(seed))
    let (videoCodec, audioCodec) = (try codec(video, of: peer), try codec(audio, of: peer))
    var random = RandomSource(seed: UInt64(seed))
    let types = [videoCodec.payloadType, videoCodec.rtxPayloadType ?? 0, audioCodec.payloadType, 127]
    var next: [UInt32: Int64] = [:]
    for _ in 0..<3000 {
      let ssrc = [Self.videoSSRC, Self.rtxSSRC, Self.audioSSRC][Int(random.next() % 3)]
      let step = random.next() % 50 == 0 ? Int64(random.next() % 30_000) : Int64(random.next() % 4)
      let index = next[ssrc, default: 0] + 1 + step
      next[ssrc] = index
      var payload = random.bytes(Int(random.next() % 40))
      // NAL types of every kind, aggregation and fragmentation among them, and padding of every length.
      if !payload.isEmpty, random.next() % 2 == 0 {
        payload[0] = UInt8(truncatingIfNeeded: random.next() % 32) | 0x60
      }
      if !payload.isEmpty, random.next() % 4 == 0 {
        payload[payload.count - 1] = UInt8(truncatingIfNeeded: random.next() % 50)
      }
      var packet = HostilePeer.Packet(
        ssrc: ssrc, index: index, payloadType: types[Int(random.next() % 4)], payload: payload)
      packet.hasPadding = random.next() % 3 == 0
      packet.marker = random.next() % 3 == 0
      packet.timestamp = UInt32(truncatingIfNeeded: random.next())
      if random.next() % 4 == 0 { packet.extensions = random.bytes(4 * Int(random.next() % 5)) }
      try peer.sendRTP(packet)
      if random.next() % 20 == 0 { peer.run(atMost: .milliseconds(Int64(random.next() % 300))) }
    }
    peer.run(atMost: .seconds(2))
    #expect(peer.victim.connectionState == .connected)
    #expect(drops(peer)["malformedRTP", default: 0] > 0)
    for stream in peer.victim.core.statistics(at: peer.now).inboundRTP { #expect(stream.jitter.isFinite) }
  }

  @Test(
    "T20: compounds of random reports, counts and lengths trap nothing and cost little", arguments: 97...99)
  func survivesRandomRTCP(seed: Int) throws {
    let peer = try connect(seed: UInt64(seed))
    var random = RandomSource(seed: UInt64(seed))
    let ssrcs = peer.victim.core.statistics(at: peer.now).outboundRTP.map(\.ssrc) + [Self.videoSSRC]
    for number in 0..<2000 {
      var compound: [UInt8] = []
      while compound.count < 1000, compound.isEmpty || random.next() % 4 != 0 {
        let words = Int(random.next() % 20) + 1
        var packet = [0x80 | UInt8(random.next() % 32), UInt8(199 + random.next() % 10), 0, UInt8(words)]
        packet += random.bytes(4 * words)
        for offset in [4, 8, 12] where offset + 4 <= packet.count && random.next() % 2 == 0 {
          let ssrc = ssrcs[Int(random.next() % UInt64(ssrcs.count))]
          for byte in 0..<4 {
            packet[offset + byte] = UInt8(truncatingIfNeeded: ssrc >> UInt32(24 - 8 * byte))
          }
        }
        if random.next() % 30 == 0 { packet[3] = UInt8(truncatingIfNeeded: random.next()) }
        compound += packet
      }
      try peer.sendRTCP(compound)
      if number % 100 == 0 { peer.run(atMost: .milliseconds(100)) }
    }
    peer.run(atMost: .seconds(2))
    #expect(peer.victim.connectionState == .connected)
    #expect(drops(peer)["malformedRTCP", default: 0] > 0)
    for stream in peer.victim.core.statistics(at: peer.now).outboundRTP {
      #expect(stream.roundTripTime.map { $0.isFinite && $0 >= 0 } ?? true)
      #expect(stream.fractionLost.map { (0...1).contains($0) } ?? true)
    }
  }

  private func send(pictures count: Int, on peer: HostilePeer) throws {
    let packetizer = H264Packetizer(maximumPayloadByteCount: 1160)
    for index in 0..<count {
      let frame = try #require(
        packetizer.packetize(
          annexB: Call.accessUnit(index, byteCount: 6000), timestamp: UInt32(3600 * index),
          captureTime: peer.now))
      peer.victim.core.send(frame, on: video, at: peer.now)
      peer.run(atMost: .milliseconds(40))
    }
  }

  @Test(
    "T20: a NACK for all that was ever sent, a hundred times in a round trip, costs one copy of the history")
  func boundsRetransmission() throws {
    let peer = try connect(seed: 100)
    try send(pictures: 50, on: peer)
    let sent = try #require(peer.victim.core.statistics(at: peer.now).outboundRTP.first { $0.kind == .video })
    let all = (0..<64).map {
      GenericNACK.Entry(packet: SequenceNumber(rawValue: UInt16($0 * 17)), following: 0xffff)
    }
    for number in 0..<100 {
      // Windows over all 65,536 numbers in turn.
      let entries = all.map {
        GenericNACK.Entry(
          packet: SequenceNumber(rawValue: $0.packet.rawValue &+ UInt16(number % 60 * 1088)),
          following: $0.following)
      }
      let nack = GenericNACK(
        senderSSRC: SSRC(rawValue: 9), mediaSSRC: SSRC(rawValue: sent.ssrc), entries: entries)
      try peer.sendRTCP([UInt8](writing: nack.byteCount) { out in nack.write(into: &out) })
    }
    let after = try #require(
      peer.victim.core.statistics(at: peer.now).outboundRTP.first { $0.kind == .video })
    #expect(after.nackCount == 100)
    #expect(after.retransmittedPacketsSent <= sent.packetsSent)
    let rate = peer.receivedMediaByteCount
    peer.run(atMost: .seconds(1))
    // What still waits is paced.
    #expect(peer.receivedMediaByteCount - rate <= 25_000_000 / 8)
  }

  @Test("T20: a thousand key frame requests in two seconds become five at most")
  func boundsKeyFrameRequests() throws {
    let peer = try connect(seed: 101)
    try send(pictures: 5, on: peer)
    let ssrc = try #require(peer.victim.core.statistics(at: peer.now).outboundRTP.first { $0.kind == .video })
      .ssrc
    for number in 0..<1000 {
      let request = PictureLossIndication(senderSSRC: SSRC(rawValue: 9), mediaSSRC: SSRC(rawValue: ssrc))
      let refresh = FullIntraRequest(
        senderSSRC: SSRC(rawValue: 9),
        entries: [.init(ssrc: SSRC(rawValue: ssrc), sequenceNumber: UInt8(truncatingIfNeeded: number))])
      try peer.sendRTCP(
        [UInt8](writing: 100) { out in
          request.write(into: &out)
          refresh.write(into: &out)
        })
      peer.run(atMost: .milliseconds(2))
    }
    #expect((1...5).contains(peer.victim.keyFrameRequestCount), "\(peer.victim.keyFrameRequestCount)")
  }

  @Test("A gap of every size costs bounded requests, and the stream is heard after it")
  func boundsGaps() throws {
    let peer = try connect(seed: 102)
    let type = try codec(video, of: peer).payloadType
    var index: Int64 = 0
    for gap in [1, 255, 256, 257, 1023, 1024, 1025, 20_000, 32_000] as [Int64] {
      index += gap
      // Two in a row each: a receiver believes a jump only then (RFC 3550 §A.1).
      for _ in 0..<2 {
        index += 1
        try peer.sendRTP(
          .init(ssrc: Self.videoSSRC, index: index, payloadType: type, payload: [0x41, 0x9a, 1, 2]))
      }
      peer.run(atMost: .seconds(1))
    }
    let inbound = try #require(
      peer.victim.core.statistics(at: peer.now).inboundRTP.first { $0.kind == .video })
    #expect((9...18).contains(inbound.packetsReceived), "\(inbound.packetsReceived)")
    #expect(inbound.nackCount <= 9 * 8)
    #expect(inbound.pliCount <= 20)
  }
}
