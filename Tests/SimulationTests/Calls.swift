// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SansIO
import WebRTCCore
import WebRTCTesting

/// A call as the applications make it: the viewer offers to receive, the master answers and sends.
struct Call {
  let run: Simulation
  let viewerVideo: TransceiverID
  let viewerAudio: TransceiverID
  let masterVideo: TransceiverID
  let masterAudio: TransceiverID

  init(
    seed: UInt64, conditions: LinkConditions = LinkConditions(),
    configureViewer: (inout PeerConnectionCore.Configuration) -> Void = { _ in },
    configureMaster: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    self.init(
      try Simulation(
        seed: seed, conditions: conditions, configureOfferer: configureViewer,
        configureAnswerer: configureMaster))
  }

  /// Makes a call of two peers that have nothing to send or receive yet.
  init(_ run: Simulation) {
    self.run = run
    viewerVideo = run.offerer.core.addTransceiver(.video, Self.video(.recvonly))
    viewerAudio = run.offerer.core.addTransceiver(.audio, Self.audio(.recvonly))
    masterVideo = run.answerer.core.addTransceiver(.video, Self.video(.sendonly))
    masterAudio = run.answerer.core.addTransceiver(.audio, Self.audio(.sendonly))
  }

  var viewer: SimulatedPeer { run.offerer }
  var master: SimulatedPeer { run.answerer }

  static func video(_ direction: MediaDirection) -> TransceiverInit {
    TransceiverInit(
      direction: direction, codecs: [.h264ConstrainedBaseline], streamID: "camera", trackID: "video")
  }

  static func audio(_ direction: MediaDirection) -> TransceiverInit {
    TransceiverInit(direction: direction, codecs: [.opus], streamID: "camera", trackID: "audio")
  }

  /// Negotiates and runs until both sides are connected.
  func connect(within limit: TimeDelta = .seconds(10)) throws -> Bool {
    try run.negotiate()
    return run.run(atMost: limit) { $0.isConnected }
  }

  /// Schedules `count` pictures, 40 ms apart from now on, a key frame each 25, and two audio packets for each.
  func sendMedia(pictures count: Int, byteCount: Int = 6000) {
    let start = run.now
    let (videoID, audioID) = (masterVideo, masterAudio)
    for index in 0..<count {
      run.schedule(after: .milliseconds(Int64(40 * index))) { run in
        let frame = Self.picture(
          index, byteCount: byteCount, captureTime: start + .milliseconds(Int64(40 * index)))
        run.answerer.core.send(frame, on: videoID, at: run.now)
      }
      for half in 0..<2 {
        let number = 2 * index + half
        let time = TimeDelta.milliseconds(Int64(20 * number))
        run.schedule(after: time) { run in
          let packet = OpusPacketizer().packetize(
            packet: Self.opusPacket(number), timestamp: UInt32(960 * number), captureTime: start + time)
          run.answerer.core.send(packet, on: audioID, at: run.now)
        }
      }
    }
  }

  /// An access unit whose content tells its number: SPS, PPS and IDR each 25, a P slice otherwise.
  static func accessUnit(_ index: Int, byteCount: Int) -> [UInt8] {
    let isKeyFrame = index % 25 == 0
    let start: [UInt8] = [0, 0, 0, 1]
    var unit: [UInt8] = []
    if isKeyFrame {
      unit += start + [0x67, 0x42, 0xe0, 0x1f, 0xa6, 0x80, 0x50, 0x05, 0xba]
      unit += start + [0x68, 0xce, 0x3c, 0x80]
    }
    let size = isKeyFrame ? byteCount * 4 : byteCount
    unit += start + [isKeyFrame ? 0x65 : 0x41, 0x9a]
    // No byte is 0, so that no start code can arise. It repeats, and is copied: tests make thousands of these.
    let period = (0..<255).map { UInt8(truncatingIfNeeded: ($0 &* 31 &+ index) % 255 + 1) }
    for _ in 0..<(size / 255) { unit += period }
    unit += period.prefix(size % 255)
    return unit
  }

  static func opusPacket(_ number: Int) -> [UInt8] {
    [0xfc, UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]
      + [UInt8](repeating: 7, count: 157)
  }

  private static func picture(_ index: Int, byteCount: Int, captureTime: Instant) -> PacketizedFrame {
    let packetizer = H264Packetizer(maximumPayloadByteCount: 1160)
    guard
      let frame = packetizer.packetize(
        annexB: accessUnit(index, byteCount: byteCount), timestamp: UInt32(3600 * index),
        captureTime: captureTime)
    else { preconditionFailure("an access unit of ours is one") }
    return frame
  }
}

extension SimulatedPeer {
  func frames(of id: TransceiverID) -> [MediaFrame] {
    frames.filter { $0.transceiver == id }.map(\.frame)
  }
}
