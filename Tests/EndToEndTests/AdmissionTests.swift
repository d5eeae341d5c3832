// SPDX-License-Identifier: Apache-2.0

import KVSApplications
import KinesisVideo
import LocalKinesisVideo
import Logging
import SDP
import SansIO
import Testing
import WebRTC
import WebRTCCore

@Suite("A master decides whom it serves", .timeLimit(.minutes(5)))
struct AdmissionTests {
  @Test(
    "A viewer beyond the limit is told so, the log says it once, and a place that becomes free is given away")
  func limit() async throws {
    try await Stage.use { stage in
      try await stage.withMaster(viewersMax: 1) { _ in
        let first = try await TestViewer("first", on: stage).connect()
        let late = try await TestViewer("late", on: stage)
        for _ in 0..<3 {
          let refused = try await late.makeReceiver()
          late.send(offer: refused.offer)
          let answer = try await late.nextAnswer()
          #expect(TestReceiver.ports(in: answer) == [0, 0])
          try await refused.take(answer: answer)
          await refused.connection.close()
        }
        #expect(stage.log.count(of: "--max-viewers") == 1)
        await first.connection.close()
        try await stage.departure(of: "first")
        let admitted = try await late.connect()
        _ = try await admitted.frames(5, of: admitted.video)
      }
    }
  }

  @Test(
    "A viewer that offers again under its id takes its own place: the old connection closes, the new one plays"
  )
  func replacement() async throws {
    try await Stage.use { stage in
      try await stage.withMaster(viewersMax: 1) { _ in
        let viewer = try await TestViewer("eye", on: stage)
        let old = try await viewer.connect()
        _ = try await old.frames(1, of: old.video)
        let new = try await viewer.connect()
        try await old.wait(for: .closed, seconds: 4)
        let pictures = try await new.frames(30, of: new.video)
        #expect(pictures.first?.isKeyFrame == true)
        // The old session's end must not have taken the new one's place with it.
        try await stage.departure(of: "eye")
        _ = try await new.frames(10, of: new.video)
        #expect(new.connection.connectionState == .connected)
      }
    }
  }

  @Test("Of two offers that a viewer sends at once, the later one is served")
  func twoOffersAtOnce() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let viewer = try await TestViewer("eye", on: stage)
        let earlier = try await viewer.makeReceiver()
        let later = try await viewer.makeReceiver(startingWith: .audio)
        for receiver in [earlier, later] { viewer.send(offer: receiver.offer) }
        try await later.take(answer: try await viewer.nextAnswer(startingWith: .audio))
        try await later.wait(for: .connected)
        _ = try await later.frames(5, of: later.video)
        try await stage.departure(of: "eye")
        #expect(stage.log.count(of: "an offer was refused") == 0, "the earlier one was replaced, not refused")
      }
    }
  }

  @Test("T36 Candidates that overtake the offer are kept and used")
  func earlyCandidates() async throws {
    try await Stage.use { stage in
      try await stage.withMaster { _ in
        let viewer = try await TestViewer("eye", on: stage)
        let receiver = try await viewer.makeReceiver()
        let lines = receiver.offer.split(whereSeparator: \.isNewline)
        let candidates = lines.filter { $0.hasPrefix("a=candidate:") }
        #expect(candidates.count == 1)
        for candidate in candidates {
          viewer.send(candidate: ICECandidatePayload(candidate: String(candidate.dropFirst(2)), sdpMid: "0"))
        }
        let bare = lines.filter { !$0.hasPrefix("a=candidate:") }
        viewer.send(offer: bare.map { $0 + "\r\n" }.joined())
        let answer = try await viewer.nextAnswer()
        // The viewer has not taken the answer, so it sends nothing: what reaches it are the master's checks, and
        // they show that the master knows the address.
        try await within("the master's checks") {
          while await stage.viewerLoop.statistics().datagramsReceived == 0 {
            try Task.checkCancellation()
            await Task.yield()
          }
        }
        try await receiver.take(answer: answer)
        try await receiver.wait(for: .connected)
      }
    }
  }

  @Test("A viewer that takes neither H.264 nor Opus is answered, and holds no place")
  func foreignCodecs() async throws {
    try await Stage.use { stage in
      try await stage.withMaster(viewersMax: 1) { _ in
        let stranger = try await TestViewer("stranger", on: stage)
        let receiver = try await stranger.makeReceiver()
        let foreign = receiver.offer.split(whereSeparator: \.isNewline).map { line in
          line.replacing("H264/", with: "X264/").replacing("opus/", with: "sine/") + "\r\n"
        }
        stranger.send(offer: foreign.joined())
        #expect(TestReceiver.ports(in: try await stranger.nextAnswer()) == [0, 0])
        try await stage.departure(of: "stranger")
        #expect(stage.log.count(of: "neither H.264 video nor Opus audio") == 1)
        let guest = try await TestViewer("guest", on: stage).connect()
        _ = try await guest.frames(5, of: guest.video)
      }
    }
  }

  @Test("Offers that cannot be read harm nobody, take no place and do not fill the log")
  func malformedOffers() async throws {
    try await Stage.use { stage in
      try await stage.withMaster(viewersMax: 1) { _ in
        let vandal = try await TestViewer("vandal", on: stage)
        for number in 0..<4 {
          vandal.send(offer: "v=0\r\nnonsense \(number)\r\n")
          try await stage.departure(of: "vandal")
        }
        #expect(stage.log.count(of: "an offer was refused") == 3)
        let guest = try await TestViewer("guest", on: stage).connect()
        _ = try await guest.frames(5, of: guest.video)
      }
    }
  }
}

@Suite("What a master cannot do is one error", .timeLimit(.minutes(2)))
struct MasterErrorTests {
  @Test("Wrong credentials and an unknown channel end a master at once, with the service's own error")
  func refused() async throws {
    try await Stage.use { stage in
      for (master, type, kind) in [
        (stage.master(secret: "wrong"), "InvalidSignatureException", KinesisVideoError.Kind.credentials),
        (stage.master(channel: "unknown"), "ResourceNotFoundException", .unknownChannel),
      ] {
        let error = await #expect(throws: KinesisVideoError.self) {
          try await within("the refusal") { try await master.run() }
        }
        #expect(error?.errorType == type && error?.kind == kind)
      }
      // Whoever gets the error tells it; the log does not tell it a second time.
      #expect(stage.log.count(of: "Exception") == 0)
      #expect(stage.log.count(of: "wrong") == 0)
    }
  }

  @Test("A master that was cancelled before it began ends without an error")
  func cancelledEarly() async throws {
    try await Stage.use { stage in
      let master = stage.master()
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        try await master.run()
      }
      try await within("the end") { try await task.value }
    }
  }

  @Test("A demo whose port is taken says which flag to change")
  func portTaken() async throws {
    try await Stage.use { stage in
      let port = stage.httpURL.split(separator: ":").last.map(String.init)
      let demo = try await Self.demo(port: port, readyFile: nil)
      let error = await #expect(throws: LocalServerError.self) { try await demo.run() }
      #expect(error?.description.contains("--port") == true)
    }
  }

  @Test("A demo whose master cannot go on ends its service too")
  func demoWithoutMaster() async throws {
    let demo = try await Self.demo(port: "0", readyFile: "/nowhere/ready.json")
    await #expect(throws: UsageError.self) { try await within("the end") { try await demo.run() } }
  }

  private static func demo(port: String?, readyFile: String?) async throws -> DemoProgram {
    try await DemoProgram(
      flags: DemoFlags(host: nil, port: port, maxViewers: nil, metrics: false, readyFile: readyFile),
      settings: try await Settings.load(configFile: nil),
      logger: Logger(label: "demo") { _ in SwiftLogNoOpLogHandler() })
  }
}
