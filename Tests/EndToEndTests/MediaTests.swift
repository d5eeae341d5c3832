// SPDX-License-Identifier: Apache-2.0

import KVSApplications
import KinesisVideo
import LocalKinesisVideo
import MediaFiles
import RTP
import SDP
import SansIO
import Testing
import WebRTC
import WebRTCCore

/// Which picture of the sample clip a received one is.
private let pictureNumbers: [[UInt8]: Int] = Dictionary(
  uniqueKeysWithValues: SampleClip.video.frames.enumerated().map { ($1.bytes, $0) })
private let pictureCount = SampleClip.video.frames.count

@Suite("A viewer sees and hears a master through the local service", .timeLimit(.minutes(5)))
struct MediaTests {
  @Test("Pictures and sound arrive whole, in order and in time, beginning with a key frame")
  func mediaFlows() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let viewer = try await TestViewer("eye", on: stage)
        let receiver = try await viewer.connect()
        async let sound = receiver.frames(150, of: receiver.audio)
        let pictures = try await receiver.frames(75, of: receiver.video)
        expectSampleClip(pictures)
        expectEvenSound(try await sound)
        expectSaneStatistics(try await receiver.connection.statistics())
        await receiver.connection.close()
        expectDurations(try await stage.departure(of: "eye"))
      }
    }
  }

  private func expectSampleClip(_ pictures: [MediaFrame]) {
    #expect(pictures.first?.isKeyFrame == true)
    #expect(pictures.allSatisfy { $0.lostPacketCount == 0 })
    let numbers = pictures.map { pictureNumbers[$0.bytes] ?? -1 }
    #expect(!numbers.contains(-1), "each picture is one of the clip")
    let ticks = zip(pictures, pictures.dropFirst()).map { Int32(bitPattern: $1.timestamp &- $0.timestamp) }
    for (index, (number, next)) in zip(numbers, numbers.dropFirst()).enumerated() {
      // A master that was held up for half a second goes on in step with the clock, from the next key frame.
      let step = (next - number + pictureCount) % pictureCount
      let isLeap = pictures[index + 1].isKeyFrame && ticks[index] == Int32(3600 * step)
      #expect(step == 1 || isLeap, "picture \(number) is followed by \(next)")
    }
    // The running group is squeezed into the time of one picture, so that times never go back.
    #expect(ticks.allSatisfy { $0 >= 1 })
    let late = ticks.drop { $0 < 3600 }
    #expect(late.count >= pictures.count - 27 && late.allSatisfy { $0 % 3600 == 0 })
  }

  private func expectEvenSound(_ packets: [MediaFrame]) {
    #expect(packets.allSatisfy { !$0.bytes.isEmpty && $0.lostPacketCount == 0 })
    for (packet, next) in zip(packets, packets.dropFirst()) {
      #expect(next.timestamp &- packet.timestamp == 960)
    }
  }

  private func expectSaneStatistics(_ report: StatisticsReport) {
    #expect(report.transport.srtpCipher?.contains("GCM") == true, "\(report.transport.srtpCipher ?? "none")")
    #expect(report.transport.dtlsState == "connected")
    #expect(report.transport.drops.isEmpty, "\(report.transport.drops)")
    #expect(Set(report.inboundRTP.map(\.kind)) == [.video, .audio])
    for stream in report.inboundRTP {
      #expect(stream.packetsLost == 0)
      #expect(stream.framesReceived >= (stream.kind == .video ? 75 : 150))
      #expect(stream.packetsReceived >= stream.framesReceived)
      #expect(stream.bytesReceived > stream.packetsReceived)
    }
    #expect(report.transport.bytesReceived > report.inboundRTP.reduce(0) { $0 + $1.bytesReceived })
  }

  private func expectDurations(_ metrics: ConnectionMetrics) {
    let taken: Set<ConnectionStep> = [
      .describeChannel, .getEndpoints, .getICEServers, .connectWebSocket, .gatherHost, .findPair, .handshake,
      .firstFrame,
    ]
    for step in ConnectionStep.allCases {
      guard taken.contains(step) else {
        #expect(metrics[step] == nil, "\(step)")
        continue
      }
      #expect(metrics[step].map { $0 > .zero } == true, "\(step)")
    }
    let parts = (metrics[.findPair] ?? .zero) + (metrics[.handshake] ?? .zero)
    #expect(
      metrics[.firstFrame].map { $0 >= parts } == true, "the first frame comes after path and handshake")
  }

  @Test("Two viewers at once get the same pictures, each from a key frame on")
  func twoViewers() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let viewers = [try await TestViewer("left", on: stage), try await TestViewer("right", on: stage)]
        let first = try await viewers[0].connect()
        let second = try await viewers[1].connect()
        async let left = first.frames(50, of: first.video)
        async let right = second.frames(50, of: second.video)
        for pictures in [try await left, try await right] { expectSampleClip(pictures) }
      }
    }
  }

  @Test("T20 A viewer that asks for key frames gets the running group again, at most twice a second")
  func keyFrameRequests() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let receiver = try await TestViewer("eye", on: stage).connect()
        _ = try await receiver.frames(1, of: receiver.video)
        let start = ContinuousClock.now
        try await within("four restarts") {
          var restarts = 0
          var last: Int?
          for await picture in receiver.video.frames {
            receiver.video.requestKeyFrame()
            let number = try #require(pictureNumbers[picture.bytes])
            defer { last = number }
            guard let last, number != (last + 1) % pictureCount else { continue }
            #expect(picture.isKeyFrame && number == last / 25 * 25, "\(last) is followed by \(number)")
            restarts += 1
            if restarts == 4 { return }
          }
          throw Missed("\(restarts) restarts")
        }
        #expect(ContinuousClock.now - start >= .milliseconds(1500))
      }
    }
  }

  @Test("A master that ends says goodbye: the viewer's connection closes at once, without a time-out")
  func goodbye() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { master in
        let receivers = [
          try await TestViewer("left", on: stage).connect(),
          try await TestViewer("right", on: stage).connect(),
        ]
        for receiver in receivers { _ = try await receiver.frames(5, of: receiver.video) }
        try await master.end()
        // A path that merely went quiet would be noticed after five seconds and given up after thirty.
        for receiver in receivers {
          let states = try await receiver.wait(for: .closed, seconds: 4)
          #expect(!states.contains(.disconnected) && !states.contains(.failed))
        }
      }
    }
  }

  @Test("Media goes on after the viewer has left the channel and the service has gone")
  func signalingIsOnlyForTheStart() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let viewer = try await TestViewer("eye", on: stage)
        let receiver = try await viewer.connect()
        try await viewer.leave()
        await stage.server.shutdown()
        expectSampleClip(try await receiver.frames(60, of: receiver.video))
      }
    }
  }
}
