// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import KVSApplications
  import KinesisVideo
  import LocalKinesisVideo
  import Synchronization
  import Testing
  import WebRTC

  /// A viewer's connection with one data channel and no media.
  private struct DataViewer {
    let connection: PeerConnection
    let channel: DataChannel
    let answer: String

    init(
      _ clientID: String, on stage: Stage, _ parameters: DataChannelParameters = .init(label: "test")
    ) async throws {
      let viewer = try await TestViewer(clientID, on: stage)
      connection = try PeerConnection(
        configuration: PeerConnectionConfiguration(sharesSockets: false), on: stage.viewerLoop)
      channel = try await connection.createDataChannel(parameters)
      viewer.send(offer: try await connection.setLocalDescription().sdp)
      answer = try await viewer.nextAnswer(startingWith: .application)
      try await connection.setRemoteDescription(SessionDescriptionInit(type: .answer, sdp: answer))
    }

    func waitUntilOpen() async throws {
      try await within("the channel is open") { [channel] in try await channel.waitUntilOpen() }
    }

    /// The next messages.
    func messages(_ count: Int) async throws -> [DataChannelMessage] {
      try await within("\(count) messages") { [channel] in
        var messages: [DataChannelMessage] = []
        for await message in channel.messages {
          messages.append(message)
          if messages.count == count { return messages }
        }
        throw Missed("\(messages.count) messages instead of \(count)")
      }
    }

    func answer(to text: String) async throws -> String? {
      try await channel.send(text)
      return try await messages(1)[0].text
    }
  }

  @Suite("A master and its viewers' data channels", .timeLimit(.minutes(5)))
  struct DataChannelEndToEndTests {
    @Test("A text is answered and logged in one line; an answer and bytes are not answered")
    func texts() async throws {
      try await Stage.use { stage in
        try await stage.withMaster { _ in
          let viewer = try await DataViewer("talker", on: stage)
          try await viewer.waitUntilOpen()
          let text = "hello\n\u{1b}[31mred"
          #expect(try await viewer.answer(to: text) == "Received \(text.utf8.count) bytes, ECHO: \(text)")
          try await viewer.channel.send([1, 2, 3])
          try await viewer.channel.send("Received 5 bytes, ECHO: hello")
          #expect(try await viewer.answer(to: "") == "Received 0 bytes, ECHO: ", "nothing came before it")
          #expect(stage.log.count(of: #"hello\u{a}\u{1b}[31mred"#) == 1)
          #expect(stage.log.count(of: "a binary message came") == 1)
          await viewer.connection.close()
          try await stage.departure(of: "talker")
        }
      }
    }

    @Test("AWS' test page gets its times and the timeline, in order and in this century")
    func timeline() async throws {
      try await Stage.use { stage in
        try await stage.withMaster { _ in
          let viewer = try await DataViewer("page", on: stage, .init(label: "kvsDataChannel"))
          try await viewer.waitUntilOpen()
          func message(_ members: [(String, Int?)]) -> String {
            "{"
              + (["\"content\":\"x\""] + members.map { "\"\($0)\":\"\($1.map(String.init) ?? "")\"" })
              .joined(separator: ",") + "}"
          }
          func number(_ name: String, in text: String?) -> Int {
            let rest = text?.components(after: "\"\(name)\":") ?? ""
            return Int(rest.drop { $0 == "\"" }.prefix { $0.isNumber }) ?? -1
          }
          let first = try await viewer.answer(
            to: message([
              ("firstMessageFromViewerTs", 1000), ("firstMessageFromMasterTs", nil),
              ("secondMessageFromViewerTs", nil), ("secondMessageFromMasterTs", nil),
              ("lastMessageFromViewerTs", nil),
            ]))
          let firstTime = number("firstMessageFromMasterTs", in: first)
          #expect(number("firstMessageFromViewerTs", in: first) == 1000)
          #expect((1_600_000_000_000...4_000_000_000_000).contains(firstTime))
          let second = try await viewer.answer(
            to: message([
              ("firstMessageFromViewerTs", 1000), ("firstMessageFromMasterTs", firstTime),
              ("secondMessageFromViewerTs", 2000), ("secondMessageFromMasterTs", nil),
              ("lastMessageFromViewerTs", nil),
            ]))
          let secondTime = number("secondMessageFromMasterTs", in: second)
          #expect(secondTime >= firstTime)
          try await viewer.channel.send(
            message([
              ("firstMessageFromViewerTs", 1000), ("firstMessageFromMasterTs", firstTime),
              ("secondMessageFromViewerTs", 2000), ("secondMessageFromMasterTs", secondTime),
              ("lastMessageFromViewerTs", 3000),
            ]))
          let told = try await viewer.messages(3).map(\.text)
          let steps = [
            ("signalingStartTime", 0), ("describeChannelStartTime", 0), ("describeChannelEndTime", 0),
            ("getSignalingChannelEndpointEndTime", 0), ("getIceServerConfigEndTime", 0),
            ("connectEndTime", 0),
            ("signalingEndTime", 0), ("offerReceiptTime", 0), ("sendAnswerTime", 0),
            ("peerConnectionEndTime", 1),
          ]
          let times = steps.map { number($0.0, in: told[$0.1]) } + [firstTime]
          #expect(times.allSatisfy { $0 > 1_600_000_000_000 } && times == times.sorted(), "\(told)")
          #expect(number("peerConnectionStartTime", in: told[1]) >= number("offerReceiptTime", in: told[0]))
          #expect(
            number("candidateGatheringEndTime", in: told[2])
              >= number("candidateGatheringStartTime", in: told[2]))
          await viewer.connection.close()
        }
      }
    }

    @Test("An echoing master gives everything back as it came: text, bytes, nothing; long, and unordered")
    func echo() async throws {
      try await Stage.use { stage in
        try await stage.withMaster(dataChannels: .echo) { _ in
          let viewer = try await DataViewer("echo", on: stage)
          try await viewer.waitUntilOpen()
          let sent = [
            DataChannelMessage(text: "Received 5 bytes, ECHO: hello"), DataChannelMessage(text: ""),
            DataChannelMessage([]), DataChannelMessage([0, 255]),
            DataChannelMessage((0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }),
            DataChannelMessage(text: #"{"firstMessageFromViewerTs":"1"}"#),
          ]
          for message in sent { try await viewer.channel.send(message) }
          #expect(try await viewer.messages(sent.count) == sent)
          let other = try await viewer.connection.createDataChannel(
            .init(label: "loose", isOrdered: false, reliability: .retransmissions(3)))
          try await within("the second channel is open") { try await other.waitUntilOpen() }
          for number in 0..<100 { try await other.send("\(number)") }
          let back = try await within("all of them") {
            var back: Set<String> = []
            for await message in other.messages {
              back.insert(message.text ?? "")
              if back.count == 100 { break }
            }
            return back
          }
          #expect(back == Set((0..<100).map(String.init)))
          await viewer.connection.close()
        }
      }
    }

    @Test("A viewer that does not read its echo is held back itself, and nobody else")
    func backPressure() async throws {
      try await Stage.use { stage in
        try await stage.withMaster(dataChannels: .echo) { _ in
          let lazy = try await DataViewer("lazy", on: stage)
          let eager = try await DataViewer("eager", on: stage)
          try await lazy.waitUntilOpen()
          try await eager.waitUntilOpen()
          // All windows and buffers on the way hold some 10 MB; far more cannot be sent without a reader.
          let chunk = [UInt8](repeating: 7, count: 64 * 1024)
          let sent = Atomic(0)
          let flood = Task {
            while sent.load(ordering: .relaxed) < 1000 {
              try await lazy.channel.send(chunk)
              sent.add(1, ordering: .relaxed)
            }
          }
          // The other viewer's messages go there and back while the flood swells, and when it stands still.
          var (seen, stillFor, number) = (0, 0, 0)
          while stillFor < 200 {
            try await eager.channel.send("\(number)")
            let answer = try await eager.messages(1)[0].text
            #expect(answer == "\(number)")
            number += 1
            let count = sent.load(ordering: .relaxed)
            stillFor = count == seen && count > 0 ? stillFor + 1 : 0
            seen = count
          }
          #expect(seen < 500)
          flood.cancel()
          await #expect(throws: DataChannelError.cancelled) { try await flood.value }
          await lazy.connection.close()
          await eager.connection.close()
        }
      }
    }

    @Test("A master without data channels refuses them, and serves pictures all the same")
    func refused() async throws {
      try await Stage.use { stage in
        try await stage.withMaster(dataChannels: .refuse) { _ in
          let viewer = try await DataViewer("talker", on: stage)
          #expect(TestReceiver.ports(in: viewer.answer) == [0])
          await #expect(throws: DataChannelError.notOpen) {
            try await within("the refusal") { try await viewer.channel.waitUntilOpen() }
          }
          let receiver = try await TestViewer("eye", on: stage).connect()
          _ = try await receiver.frames(5, of: receiver.video)
        }
      }
    }
  }

  extension String {
    /// What comes after the first occurrence of a text.
    fileprivate func components(after text: String) -> Substring? {
      firstRange(of: text).map { self[$0.upperBound...] }
    }
  }
#endif
